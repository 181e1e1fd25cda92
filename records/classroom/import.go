package classroom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// ImportOptions say how to import.
type ImportOptions struct {
	Partial bool            // take the good rows even if others are bad
	Actor   identity.UserID // who imports, or zero
}

// ImportResult says what an import did.
type ImportResult struct {
	Added     int        `json:"added"`
	Changed   int        `json:"changed"`
	Unchanged int        `json:"unchanged"`
	Classes   int        `json:"classes"` // added
	Refused   []RowError `json:"-"`       // with Partial
}

// ImportError lists the rows because of which nothing of a file was taken.
type ImportError struct{ Rows []RowError }

// Error names the first rows.
func (e *ImportError) Error() string {
	const shown = 10
	var b strings.Builder
	if len(e.Rows) == 1 {
		b.WriteString("nothing was imported: one row is wrong")
	} else {
		fmt.Fprintf(&b, "nothing was imported: %d rows are wrong", len(e.Rows))
	}
	for _, row := range e.Rows[:min(len(e.Rows), shown)] {
		fmt.Fprintf(&b, "\n  %v", row)
	}
	if more := len(e.Rows) - shown; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

// Unwrap returns the rows' errors.
func (e *ImportError) Unwrap() []error {
	errs := make([]error, len(e.Rows))
	for i, row := range e.Rows {
		errs[i] = row
	}
	return errs
}

// ImportUsers adds the people in a CSV file, at most [MaxImportRows], in one
// atomic write. The first line names the columns, in any order: full name,
// username, and if wanted password, class, role (learner, teacher or
// administrator; nothing means learner) and language (a tag such as fr).
// Commas, semicolons or tabs separate.
//
// A row is about whoever has its username and is not hidden. Somebody new is
// added and needs a password. Of somebody known, name, role and language become those
// of the file, where it has them, and the class is added; passwords of people who have one are left
// alone, since they may have been changed after the file was made. So the
// same file twice changes nothing.
//
// A bad row is reported with its line, and nothing is imported
// ([*ImportError]), or with Partial all but the bad rows.
func ImportUsers(ctx context.Context, r *records.Replica, g *Gate, in io.Reader, o ImportOptions) (res ImportResult, err error) {
	rows, bad, err := readUserRows(in)
	if err != nil {
		return res, fmt.Errorf("import users: %w", err)
	}
	// Hashing takes long and must not be done within the write: see first who
	// needs a password, and check again when writing.
	var p importPlan
	err = r.Read(ctx, func(v *records.View) (err error) {
		p, err = planImport(v, r.Device(), rows)
		return err
	})
	if err != nil {
		return res, fmt.Errorf("import users: %w", err)
	}
	if bad = append(bad, p.bad...); len(bad) > 0 && !o.Partial {
		return res, fmt.Errorf("import users: %w", &ImportError{sortedRows(bad)})
	}
	hashes := map[int]PasswordHash{} // by line
	for _, item := range p.items {
		if item.needsPassword {
			if hashes[item.row.line], err = g.Hash(ctx, item.row.password); err != nil {
				return res, fmt.Errorf("import users: line %d: %w", item.row.line, err)
			}
		}
	}
	err = write(ctx, r, o.Actor, "import users", func(w *writer) (err error) {
		if p, err = planImport(&w.View, r.Device(), rows); err != nil {
			return err
		}
		res, err = w.importUsers(p, hashes)
		return err
	})
	res.Refused = sortedRows(bad)
	return res, err
}

func sortedRows(rows []RowError) []RowError {
	slices.SortStableFunc(rows, func(a, b RowError) int { return a.Line - b.Line })
	return rows
}

// importPlan is what a file would do.
type importPlan struct {
	roll  *Roll
	items []importItem
	bad   []RowError
}

// importItem is a good row and the user it is about.
type importItem struct {
	row           importRow
	user          identity.UserID // zero: somebody new
	person        *Person         // nil: somebody new
	needsPassword bool
}

func planImport(v *records.View, device identity.DeviceID, rows []importRow) (p importPlan, err error) {
	if p.roll, err = People(v); err != nil {
		return p, err
	}
	lines := map[string]int{}
	for _, row := range rows {
		folded := foldName(row.username)
		if line, twice := lines[folded]; twice {
			p.refuse(row, fmt.Errorf("username %q stands in line %d too: give one of them another: %w", row.username, line, ErrInput))
			continue
		}
		lines[folded] = row.line
		item, err := p.item(v, device, row)
		if errors.Is(err, ErrInput) || errors.Is(err, ErrNotAdministrates) || errors.Is(err, ErrNotClassroom) {
			p.refuse(row, err)
		} else if err != nil {
			return p, err
		} else {
			p.items = append(p.items, item)
		}
	}
	return p, nil
}

func (p *importPlan) refuse(row importRow, err error) {
	p.bad = append(p.bad, RowError{row.line, err})
}

// item finds whom a row is about and what it asks for.
func (p *importPlan) item(v *records.View, device identity.DeviceID, row importRow) (item importItem, err error) {
	item.row = row
	for _, a := range p.roll.named(row.username) {
		switch {
		case item.person == nil:
			item.user, item.person = a.id, a.person
		case item.person != a.person:
			return item, fmt.Errorf("two people have the username %q: give one of them another: %w", row.username, ErrInput)
		}
	}
	role := row.role
	if item.person != nil {
		if !row.hasRole {
			role = item.person.Role
		}
		if item.person.Role.IsStaff() && !role.IsStaff() {
			return item, fmt.Errorf("%q is a %v: take the role back first, or correct the column: %w", row.username, item.person.Role, ErrInput)
		}
	}
	secret := SecretState{}
	if item.person != nil {
		if secret, err = readSecret(v, item.user, role); err != nil {
			return item, err
		}
	}
	item.needsPassword = secret.Password.Value() == ""
	newRole := role.IsStaff() && (item.person == nil || item.person.Role != role)
	if newRole || item.needsPassword && role.IsStaff() {
		if err := mayAuthor(v.Roster(), device, KindRole); err != nil {
			return item, fmt.Errorf("a %v: %w", role, err)
		}
	}
	if err := mayAuthor(v.Roster(), device, KindUser); err != nil {
		return item, err
	}
	if item.needsPassword && row.password == "" {
		return item, fmt.Errorf("%q has no password yet: give one in the column \"password\": %w", row.username, ErrInput)
	}
	item.row.role = role
	return item, nil
}

func (w *writer) importUsers(p importPlan, hashes map[int]PasswordHash) (res ImportResult, err error) {
	classes := map[string]GroupID{}
	for _, c := range slices.Backward(p.roll.Classes) {
		classes[foldName(c.Name)] = c.ID
	}
	for _, item := range p.items {
		row := item.row
		hash, hashed := hashes[row.line]
		if item.needsPassword && !hashed {
			return res, fmt.Errorf("line %d: people were changed while the file was read: try again: %w", row.line, ErrInput)
		}
		var groups []GroupID
		if row.class != "" {
			id, ok := classes[foldName(row.class)]
			if !ok {
				if id, err = w.addGroup(row.class, ""); err != nil {
					return res, fmt.Errorf("line %d: %w", row.line, err)
				}
				classes[foldName(row.class)] = id
				res.Classes++
			}
			groups = []GroupID{id}
		}
		changed := false
		switch {
		case item.person == nil:
			_, err = w.addUser(&NewUser{Name: row.name, Username: row.username, Language: row.language, Role: row.role, Groups: groups}, hash)
			res.Added++
		default:
			changed, err = w.importChange(&item, hash, groups)
			if changed {
				res.Changed++
			} else {
				res.Unchanged++
			}
		}
		if err != nil {
			return res, fmt.Errorf("line %d: %w", row.line, err)
		}
	}
	return res, nil
}

// importChange makes a known person what the row says, and reports whether
// anything was not so before. What it reads is about this person alone: a file may be about
// everybody, and others wait for the write.
func (w *writer) importChange(item *importItem, hash PasswordHash, groups []GroupID) (changed bool, err error) {
	row, p := item.row, item.person
	ids, shown := p.IDs, p.ShownID
	if row.role != p.Role {
		changed = true
		if err := w.setRole(item.user, row.role); err != nil {
			return changed, err
		}
		if row.role.IsStaff() { // who teaches is joined with nobody
			ids, shown = []identity.UserID{item.user}, item.user
		}
	}
	// Of several IDs the one that is shown says name and language: the file may have a row
	// for each.
	if item.user == shown {
		edit := PersonEdit{Name: &row.name}
		if row.language != "" {
			edit.Language = &row.language
		}
		edited, err := w.editUser(shown, &edit)
		if changed = changed || edited; err != nil {
			return changed, err
		}
	}
	for _, g := range groups {
		entered, err := w.enter(ids, shown, g)
		if changed = changed || entered; err != nil {
			return changed, err
		}
	}
	if item.needsPassword {
		changed = true
		if err := w.setPassword(item.user, row.role, hash); err != nil {
			return changed, err
		}
	}
	return changed, nil
}
