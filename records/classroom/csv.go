package classroom

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of an import.
const (
	MaxImportRows  = 10_000
	MaxImportBytes = 8 << 20
)

// RowError says what is wrong with a row of a file, and what to do.
type RowError struct {
	Line int // in the file, from 1
	Err  error
}

// Error gives "line 7: …".
func (e RowError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e RowError) Unwrap() error { return e.Err }

// importRow is one row, taken apart.
type importRow struct {
	line                            int
	name, username, password, class string
	language                        string
	role                            Role
	hasRole                         bool
}

// column is a column of the file.
type column int

const (
	columnName column = iota
	columnUsername
	columnPassword
	columnClass
	columnRole
	columnLanguage
	columnCount
)

// columnNames are the headers by which a column is known; the first is its
// name in messages. Case, spaces and underscores do not matter.
var columnNames = [columnCount][]string{
	columnName:     {"full name", "name"},
	columnUsername: {"username", "user", "login"},
	columnPassword: {"password"},
	columnClass:    {"class", "group"},
	columnRole:     {"role"},
	columnLanguage: {"language"},
}

// readUserRows reads a CSV file of users. It reports rows at fault in bad; err
// is about the file as a whole.
func readUserRows(in io.Reader) (rows []importRow, bad []RowError, err error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxImportBytes+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read file: %w", err)
	case len(data) > MaxImportBytes:
		return nil, nil, fmt.Errorf("the file is larger than %d MiB: split it: %w", MaxImportBytes>>20, ErrInput)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if line := badUTF8Line(data); line > 0 {
		return nil, nil, fmt.Errorf("line %d: the file is not in UTF-8: save it as \"CSV UTF-8\": %w", line, ErrInput)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma = separator(data)
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("the first line must name the columns, %s: %w", `such as "full name,username,password,class,role,language"`, ErrInput)
	}
	columns, err := readHeader(header)
	if err != nil {
		return nil, nil, err
	}
	width := len(header)
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, bad, nil
		}
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			bad = append(bad, RowError{parse.StartLine, fmt.Errorf("quotation marks do not match: put each in twice, within quotation marks: %w", ErrInput)})
		} else if err != nil {
			return nil, nil, fmt.Errorf("read file: %w", err)
		} else if line, _ := r.FieldPos(0); strings.TrimSpace(strings.Join(fields, "")) != "" {
			row, err := readUserRow(fields, width, columns)
			if row.line = line; err != nil {
				bad = append(bad, RowError{line, err})
			} else {
				rows = append(rows, row)
			}
		}
		if len(rows)+len(bad) > MaxImportRows {
			return nil, nil, fmt.Errorf("the file has more than %d rows: split it: %w", MaxImportRows, ErrInput)
		}
	}
}

// badUTF8Line returns the first line that is not UTF-8, or 0.
func badUTF8Line(data []byte) int {
	if utf8.Valid(data) {
		return 0
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) {
			return i + 1
		}
	}
	return 1
}

// separator returns the one that the first line uses most.
func separator(data []byte) rune {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	best, most := ',', bytes.Count(first, []byte(","))
	for _, c := range ";\t" {
		if n := bytes.Count(first, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}

// readHeader returns where each column is, or −1.
func readHeader(header []string) (at [columnCount]int, err error) {
	for c := range at {
		at[c] = -1
	}
	for i, title := range header {
		folded := foldName(strings.ReplaceAll(title, "_", " "))
		for c, names := range columnNames {
			if !slices.Contains(names, folded) && !slices.Contains(names, strings.ReplaceAll(folded, " ", "")) {
				continue
			}
			if at[c] >= 0 {
				return at, fmt.Errorf("line 1: there are two columns for %q: leave one out: %w", names[0], ErrInput)
			}
			at[c] = i
		}
	}
	for _, c := range []column{columnName, columnUsername} {
		if at[c] < 0 {
			return at, fmt.Errorf("line 1: there is no column %q: name the columns in the first line: %w", columnNames[c][0], ErrInput)
		}
	}
	return at, nil
}

func readUserRow(fields []string, width int, at [columnCount]int) (row importRow, err error) {
	if len(fields) > width {
		return row, fmt.Errorf("%d columns where the first line has %d: put what contains the separator into quotation marks: %w", len(fields), width, ErrInput)
	}
	get := func(c column) string {
		if i := at[c]; i >= 0 && i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	row.name, row.username = get(columnName), get(columnUsername)
	row.password, row.class, row.language = get(columnPassword), get(columnClass), get(columnLanguage)
	row.hasRole = get(columnRole) != ""
	if err := checkText("full name", row.name, MaxNameBytes); err != nil {
		return row, err
	}
	if err := checkText("username", row.username, MaxUsernameBytes); err != nil {
		return row, err
	}
	if row.class != "" {
		if err := checkText("class", row.class, MaxNameBytes); err != nil {
			return row, err
		}
	}
	if err := checkLanguage(row.language); err != nil {
		return row, err
	}
	if len(row.password) > MaxPasswordBytes {
		return row, fmt.Errorf("the password is longer than %d bytes: %w", MaxPasswordBytes, ErrInput)
	}
	if row.role, err = ParseRole(get(columnRole)); err != nil {
		return row, fmt.Errorf("role %q: %w", get(columnRole), err)
	}
	return row, nil
}
