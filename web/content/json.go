package content

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxJSONDepth is more than any manifest needs, with its topics nested as deep
// as they may be.
const maxJSONDepth = 64

// jsonName is what a field or a key of a manifest may be called. Capitals are
// out because encoding/json would take "Title" for "title".
var jsonName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// container is an object or a list that is being read.
type container struct {
	names map[string]bool // of an object, those seen; nil for a list
	name  string          // of the value that comes next; "" when a name does
	index int             // of the value that comes next in a list
}

// checkJSON makes sure that data is one JSON value and refuses what
// encoding/json would pass over in silence: a name that is there twice, names
// in capitals, text behind the end.
func checkJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []container
	for {
		t, err := d.Token()
		if err == io.EOF {
			return fmt.Errorf("%sends too early", place(open))
		}
		if err != nil {
			return fmt.Errorf("%s%w", place(open), err)
		}

		top := len(open) - 1
		if name, ok := t.(string); ok && top >= 0 && open[top].names != nil && open[top].name == "" {
			switch {
			case !jsonName.MatchString(name):
				return fmt.Errorf("%s%.64q cannot be a name here", place(open), name)
			case open[top].names[name]:
				return fmt.Errorf("%s%s is there twice", place(open), name)
			}
			open[top].names[name] = true
			open[top].name = name
			continue
		}

		switch t {
		case json.Delim('{'):
			open = append(open, container{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, container{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if len(open) > maxJSONDepth {
			return fmt.Errorf("%snested more than %d deep", place(open), maxJSONDepth)
		}
		if d, ok := t.(json.Delim); ok && (d == '{' || d == '[') {
			continue
		}
		// A value has ended.
		if len(open) > 0 {
			open[len(open)-1].name = ""
			open[len(open)-1].index++
			continue
		}
		if _, err := d.Token(); err != io.EOF {
			return errors.New("more text after the end")
		}
		return nil
	}
}

// place names the value that is being read, as a beginning for an error.
func place(open []container) string {
	var b strings.Builder
	for _, c := range open {
		switch {
		case c.names == nil:
			fmt.Fprintf(&b, "[%d]", c.index)
		case c.name != "" && b.Len() > 0:
			b.WriteString(": " + c.name)
		default:
			b.WriteString(c.name)
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String()
}
