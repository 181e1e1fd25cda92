package classroom_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/roster"
)

func (z *zone) importUsers(device int, file string, partial bool) (classroom.ImportResult, error) {
	z.t.Helper()
	return classroom.ImportUsers(z.t.Context(), z.devices[device], z.gate, strings.NewReader(file), classroom.ImportOptions{Partial: partial})
}

func TestImport(t *testing.T) {
	for name, file := range map[string]string{
		"plain":      "full name,username,password,class,role\nAda Lovelace,ada,pw1,3A,learner\nTess Tall,tess,pw2,3A,teacher\nBob,bob,pw3,,\n",
		"Excel":      "\ufeffRole;Class;Password;User name;Full Name\r\nlearner;3A;pw1;ada;Ada Lovelace\r\nTeacher;3A;pw2;tess;Tess Tall\r\n;;pw3;bob;Bob\r\n",
		"tabs":       "username\tfull_name\tpassword\tclass\trole\nada\tAda Lovelace\tpw1\t3A\t\ntess\tTess Tall\tpw2\t3A\tteacher\nbob\tBob\tpw3",
		"quoted":     "name,username,password,class,role\n\"Ada Lovelace\",\"ada\",\"pw1\",\"3A\",\n\n\"Tess Tall\",tess,pw2,3a ,TEACHER\nBob,bob,pw3\n,,,,\n",
		"more there": "full name,username,gender,password,class,role\nAda Lovelace,ada,f,pw1,3A,learner\nTess Tall,tess,,pw2,3A,teacher\nBob,bob,m,pw3,,\n",
	} {
		t.Run(name, func(t *testing.T) {
			z := newZone(t, roster.RoleAdministrates)
			got, err := z.importUsers(0, file, false)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(classroom.ImportResult{Added: 3, Classes: 1}, got); d != "" {
				t.Error(d)
			}
			r := z.people(0)
			if d := cmp.Diff([]string{"Ada Lovelace", "Bob", "Tess Tall"}, names(r.People)); d != "" {
				t.Fatal(d)
			}
			if len(r.Classes) != 1 || r.Classes[0].Name != "3A" || len(r.Classes[0].Members) != 2 || r.People[2].Role != classroom.RoleTeacher {
				t.Errorf("classes %+v", r.Classes)
			}
			if p, _, err := z.gate.Authenticate(t.Context(), z.devices[0], "tess", "pw2"); err != nil || p.Name != "Tess Tall" {
				t.Errorf("sign in: %v", err)
			}
			before := z.devices[0].State().Rows
			if got, err = z.importUsers(0, file, false); err != nil || got.Unchanged != 3 || got.Added+got.Changed+got.Classes != 0 {
				t.Errorf("the same file again: %+v, %v", got, err)
			}
			if d := cmp.Diff(before, z.devices[0].State().Rows); d != "" {
				t.Errorf("the same file again wrote something: %s", d)
			}
		})
	}
}

func TestImportChanges(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	_, err := z.importUsers(0, "name,username,password,class\nAda,ada,one,3A\nBob,bob,two,3A\n", false)
	ok(t, err)
	ada := z.people(0).People[0]
	ok(t, classroom.SetPassword(t.Context(), z.devices[0], z.gate, nobody, ada.ID, "changed"))
	got, err := z.importUsers(0, "name,username,password,class\nAda L.,ADA,one,3B\nBob,bob,,3A\n", false)
	if d := cmp.Diff(classroom.ImportResult{Changed: 1, Unchanged: 1, Classes: 1}, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if p := z.people(0).Person(ada.ID); p.Name != "Ada L." || len(p.Groups) != 2 {
		t.Errorf("changed: %+v", p)
	}
	if _, _, err := z.gate.Authenticate(t.Context(), z.devices[0], "ada", "changed"); err != nil {
		t.Errorf("the import took back a password: %v", err)
	}
}

// TestImportLanguage: the column says what language the pages speak to somebody; where it
// is empty, that stays.
func TestImportLanguage(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	language := func() string { return z.people(0).People[0].Language }
	for _, step := range []struct {
		row, want string
		changed   int
	}{{"Ada,ada,one,fr", "fr", 0}, {"Ada,ada,,", "fr", 0}, {"Ada,ada,,pt-BR", "pt-BR", 1}, {"Ada,ada,,pt-BR", "pt-BR", 0}} {
		got, err := z.importUsers(0, "name,username,password,language\n"+step.row+"\n", false)
		if err != nil || got.Changed != step.changed || language() != step.want {
			t.Errorf("%s: %+v, %v, in %q", step.row, got, err, language())
		}
	}
	for _, bad := range []string{"x", "en US", "français", "French", "--", "fr-", "f1", "a-b", strings.Repeat("a", 36), "fr" + strings.Repeat("-abcdefgh", 4)} {
		if _, err := z.importUsers(0, "name,username,language\nAda,ada,"+bad+"\n", false); !errors.Is(err, classroom.ErrInput) || language() != "pt-BR" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestImportJoined: of somebody put together from two, the row with the username that is shown
// says the name, and any row the class; the same file again changes nothing.
func TestImportJoined(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	file := "name,username,password,class\nAda,ada,one,3A\nAda B,ada2,two,3B\n"
	_, err := z.importUsers(0, file, false)
	ok(t, err)
	people := z.people(0).People
	ok(t, classroom.Join(t.Context(), z.devices[0], nobody, people[0].ID, people[1].ID, true, ""))
	before := *z.people(0).People[0]
	for range 2 {
		if got, err := z.importUsers(0, file, false); err != nil || got.Changed != 0 || got.Unchanged != 2 {
			t.Errorf("again: %+v, %v", got, err)
		}
	}
	other := map[string]string{"ada": "ada2", "ada2": "ada"}[before.Username]
	if got, err := z.importUsers(0, "name,username,class\nNobody,"+other+",3C\n", false); err != nil || got.Changed != 1 {
		t.Errorf("another class: %+v, %v", got, err)
	}
	got := z.people(0).People[0]
	if got.Name != before.Name || got.Username != before.Username || len(got.Groups) != 3 {
		t.Errorf("%+v", got)
	}

	// Who is to teach is joined with nobody any more: the row is about that one alone.
	_, err = z.importUsers(0, "name,username,password,class,role\nMs Lovelace,"+other+",pw,Staff room,teacher\n", false)
	ok(t, err)
	roll := z.people(0)
	for _, p := range roll.People {
		switch {
		case p.Username == other && (p.Name != "Ms Lovelace" || p.Role != classroom.RoleTeacher):
			t.Errorf("the teacher: %+v", p)
		case p.Username == before.Username && (p.Name != before.Name || p.Role != classroom.RoleLearner):
			t.Errorf("the learner: %+v", p)
		}
	}
}

// TestImportBesideHidden: a username that was removed from somebody is free for another.
func TestImportBesideHidden(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	r, ctx := z.devices[0], t.Context()
	a, b := z.add(0, "Ada", classroom.RoleLearner), z.add(0, "Ada B", classroom.RoleLearner)
	username := z.people(0).Person(a).Username
	ok(t, classroom.Hide(ctx, r, nobody, classroom.UserTarget(a), ""))
	ok(t, classroom.Join(ctx, r, nobody, a, b, true, ""))
	got, err := z.importUsers(0, "name,username,password\nAdam,"+username+",pw\n", false)
	if err != nil || got.Added != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, p := range z.people(0).People {
		if p.Namesake || p.ID != z.people(0).Person(a).ID && p.Name != "Adam" {
			t.Errorf("%+v", p)
		}
	}
}

// BenchmarkImportChanged imports a file in which everybody gets another class, as at the
// beginning of a year.
func BenchmarkImportChanged(b *testing.B) {
	z := newZone(b, roster.RoleAdministrates)
	const n = 300 // hashing their passwords takes longest
	file := func(class string) string {
		var text strings.Builder
		text.WriteString("name,username,class\n")
		for i := range n {
			fmt.Fprintf(&text, "Learner %d,learner%d,%s\n", i, i, class)
		}
		return text.String()
	}
	for i := range n {
		if _, err := classroom.AddUser(b.Context(), z.devices[0], z.gate, nobody, classroom.NewUser{Name: fmt.Sprint("Learner ", i), Username: fmt.Sprint("learner", i), Password: "secret"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if got, err := z.importUsers(0, file(fmt.Sprint("Class ", i)), false); err != nil || got.Changed != n {
			b.Fatalf("%+v, %v", got, err)
		}
	}
}

func TestImportRefusesRows(t *testing.T) {
	const header = "full name,username,password,class,role\n"
	for name, c := range map[string]struct {
		row, want string
	}{
		"no name":        {",x,pw,,", "full name is empty"},
		"no username":    {"X,,pw,,", "username is empty"},
		"no password":    {"X,x,,,", "no password yet"},
		"no such role":   {"X,x,pw,,boss", "learner, teacher or administrator"},
		"too many":       {"X,x,pw,,,more", "6 columns where the first line has 5"},
		"twice":          {"Ada,ADA,pw,,", "stands in line 2 too"},
		"long name":      {strings.Repeat("x", 201) + ",x,pw,,", "too long: at most 200 bytes"},
		"long password":  {"X,x," + strings.Repeat("p", 129) + ",,", "password is longer"},
		"control":        {"X\x07,x,pw,,", "no text"},
		"quotes":         {`X "y" z,x,pw,,`, "quotation marks"},
		"demoted":        {"Tess,tess,pw,,learner", "take the role back first"},
		"name with line": {"\"X\ny\",x,pw,,", "no text"},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZone(t, roster.RoleAdministrates)
			z.add(0, "tess", classroom.RoleTeacher)
			file := header + "Ada,ada,pw,3A,\n" + c.row + "\nBob,bob,pw,3A,\n"
			before := z.devices[0].State().Rows
			_, err := z.importUsers(0, file, false)
			refused, isImport := errors.AsType[*classroom.ImportError](err)
			if !isImport || len(refused.Rows) != 1 || refused.Rows[0].Line != 3 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
			if d := cmp.Diff(before, z.devices[0].State().Rows); d != "" {
				t.Errorf("a refused file wrote something: %s", d)
			}
			got, err := z.importUsers(0, file, true)
			if err != nil || got.Added != 2 || len(got.Refused) != 1 || got.Refused[0].Line != 3 {
				t.Errorf("partial: %+v, %v", got, err)
			}
		})
	}
}

func TestImportRefusesFiles(t *testing.T) {
	many := "name,username,password\n" + strings.Repeat("X,x,pw\n", classroom.MaxImportRows+1)
	for name, c := range map[string]struct{ file, want string }{
		"empty":          {"", "first line must name"},
		"no header":      {"Ada,ada,pw\n", `no column "full name"`},
		"no username":    {"full name,password\nAda,pw\n", `no column "username"`},
		"columns twice":  {"name,full name,username\n", "two columns"},
		"Latin-1":        {"full name,username,password\nAda,ada,pw\nZo\xeb,zoe,pw\n", "line 3: the file is not in UTF-8"},
		"too many rows":  {many, "more than 10000 rows"},
		"too many bytes": {strings.Repeat("x", classroom.MaxImportBytes+1), "larger than 8 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZone(t, roster.RoleAdministrates)
			for _, partial := range []bool{false, true} {
				if _, err := z.importUsers(0, c.file, partial); !errors.Is(err, classroom.ErrInput) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("partial %v: %v", partial, err)
				}
			}
		})
	}
}

func TestImportOfStaffNeedsTheRight(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	file := "full name,username,password,role\nAda,ada,pw,\nTess,tess,pw,teacher\n"
	if _, err := z.importUsers(0, file, false); !errors.Is(err, classroom.ErrNotAdministrates) {
		t.Errorf("error %v", err)
	}
	if got, err := z.importUsers(0, file, true); err != nil || got.Added != 1 || len(got.Refused) != 1 {
		t.Errorf("partial: %+v, %v", got, err)
	}
}

// TestImportAfterHiding: who was hidden is not brought back by an old file,
// and does not stand in the way of somebody new.
func TestImportAfterHiding(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	const file = "full name,username,password\nAda,ada,pw\n"
	for i := range 3 {
		got, err := z.importUsers(0, file, false)
		if err != nil || got.Added != 1 {
			t.Errorf("import %d: %+v, %v", i, got, err)
		}
		ok(t, classroom.Hide(t.Context(), z.devices[0], nobody, classroom.UserTarget(z.people(0).People[0].ID), ""))
	}
	if n := len(z.people(0).People); n != 0 {
		t.Errorf("%d people", n)
	}
}

func ExampleImportError() {
	fmt.Println(&classroom.ImportError{Rows: []classroom.RowError{{Line: 7, Err: errors.New("the full name is empty")}}})
	// Output:
	// nothing was imported: one row is wrong
	//   line 7: the full name is empty
}
