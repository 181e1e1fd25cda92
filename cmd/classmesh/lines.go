package main

import (
	"bufio"
	"encoding/json"
	"io"
)

// printJSON writes a value as one line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// readLines decodes JSON values, one a line, and calls fn with each.
func readLines[T any](r io.Reader, fn func(T) error) error {
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var v T
		if err := d.Decode(&v); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}
