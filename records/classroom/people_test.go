package classroom_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

var nobody identity.UserID

func names(people []*classroom.Person) (list []string) {
	for _, p := range people {
		list = append(list, p.Name)
	}
	return list
}

func (z *zone) group(device int, name string) classroom.GroupID {
	z.t.Helper()
	id, err := classroom.AddGroup(z.t.Context(), z.devices[device], nobody, name, "")
	if err != nil {
		z.t.Fatal(err)
	}
	return id
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPeople(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	class := z.group(0, "3A")
	ada := z.add(0, "ada", classroom.RoleLearner, class)
	z.add(0, "Zoe", classroom.RoleLearner, class)
	bob := z.add(0, "Bob", classroom.RoleLearner, class)
	z.add(0, "Tess", classroom.RoleTeacher, class)
	r := z.people(0)
	if d := cmp.Diff([]string{"ada", "Bob", "Tess", "Zoe"}, names(r.People)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ada", "Bob", "Zoe"}, names(r.Class(class).Learners())); d != "" {
		t.Error(d)
	}
	name := "Ada"
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, ada, classroom.PersonEdit{Name: &name}))
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, bob, classroom.PersonEdit{Leave: []classroom.GroupID{class}}))
	ok(t, classroom.RenameGroup(t.Context(), z.devices[0], nobody, class, "3B"))
	r = z.people(0)
	if d := cmp.Diff([]string{"Ada", "Zoe"}, names(r.Class(class).Learners())); d != "" || r.Class(class).Name != "3B" {
		t.Errorf("class %q: %s", r.Class(class).Name, d)
	}
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, bob, classroom.PersonEdit{Enter: []classroom.GroupID{class}}))
	if !slices.Contains(z.people(0).Person(bob).Groups, class) {
		t.Error("absent after having been added again")
	}
}

func TestMembershipOnTwoDevices(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	class := z.group(0, "3A")
	ada := z.add(0, "Ada", classroom.RoleLearner, class)
	z.pull(1, 0)
	// Device 1 removes what it sees, while device 0 removes and adds again.
	ok(t, classroom.EditPerson(t.Context(), z.devices[1], nobody, ada, classroom.PersonEdit{Leave: []classroom.GroupID{class}}))
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, ada, classroom.PersonEdit{Leave: []classroom.GroupID{class}}))
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, ada, classroom.PersonEdit{Enter: []classroom.GroupID{class}}))
	z.pull(0, 1)
	z.pull(1, 0)
	for device := range 2 {
		if len(z.people(device).Person(ada).Groups) != 1 {
			t.Errorf("on device %d the removal won over an addition it had not seen", device)
		}
	}
	ok(t, classroom.EditPerson(t.Context(), z.devices[1], nobody, ada, classroom.PersonEdit{Leave: []classroom.GroupID{class}}))
	z.pull(0, 1)
	if len(z.people(0).Person(ada).Groups) != 0 {
		t.Error("still present after a removal that saw all additions")
	}
}

func TestHideAndUnhide(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	class := z.group(0, "3A")
	ada := z.add(0, "Ada", classroom.RoleLearner, class)
	for range 2 { // delete, create, delete again
		ok(t, classroom.Hide(t.Context(), z.devices[0], nobody, classroom.UserTarget(ada), "left"))
		r := z.people(0)
		if len(r.People) != 0 || len(r.Class(class).Members) != 0 || !r.Person(ada).Hidden {
			t.Error("hidden, and still shown")
		}
		ok(t, classroom.Unhide(t.Context(), z.devices[0], nobody, classroom.UserTarget(ada)))
		if len(z.people(0).People) != 1 {
			t.Error("not shown again")
		}
	}
	ok(t, classroom.Hide(t.Context(), z.devices[0], nobody, classroom.GroupTarget(class), ""))
	if len(z.people(0).Classes) != 0 {
		t.Error("a hidden class is shown")
	}
	err := classroom.Hide(t.Context(), z.devices[0], nobody, classroom.UserTarget(identity.UserID{9}), "")
	if !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("hiding nobody: %v", err)
	}
}

func TestJoinedUsers(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	one, two := z.add(0, "Ada", classroom.RoleLearner), z.add(1, "Ada", classroom.RoleLearner)
	z.pull(0, 1)
	if r := z.people(0); len(r.People) != 2 || !r.People[0].Namesake || !r.People[1].Namesake {
		t.Errorf("two people with one username: %v", names(r.People))
	}
	for range 5 {
		z.answer(0, one, "ex", true)
		z.answer(0, two, "ex", true)
	}
	ok(t, classroom.Join(t.Context(), z.devices[0], nobody, one, two, true, "one child"))
	r := z.people(0)
	if len(r.People) != 1 || r.People[0].Namesake || len(r.People[0].IDs) != 2 || r.Person(one) != r.Person(two) {
		t.Errorf("joined: %v", names(r.People))
	}
	if e := z.progress(0, two).Exercises[0]; e.Attempts != 10 || e.Points != 8*13 || len(e.Recent) != 10 {
		t.Errorf("joined progress %+v", e)
	}
	ok(t, classroom.Join(t.Context(), z.devices[0], nobody, two, one, false, ""))
	if e := z.progress(0, two).Exercises[0]; e.Attempts != 5 || len(z.people(0).People) != 2 {
		t.Errorf("parted again: %+v", e)
	}
}

// TestPart takes a person apart who was put together from three, on two devices.
func TestPart(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	ids := []identity.UserID{z.add(0, "Ada", classroom.RoleLearner), z.add(0, "Ada", classroom.RoleLearner), z.add(0, "Ada", classroom.RoleLearner)}
	bob, bobby := z.add(0, "Bob", classroom.RoleLearner), z.add(0, "Bobby", classroom.RoleLearner)
	ok(t, classroom.Join(t.Context(), z.devices[0], nobody, bob, bobby, true, ""))
	z.pull(1, 0)
	ok(t, classroom.Join(t.Context(), z.devices[0], nobody, ids[0], ids[1], true, ""))
	ok(t, classroom.Join(t.Context(), z.devices[1], nobody, ids[2], ids[1], true, ""))
	z.pull(1, 0)
	z.pull(0, 1)
	if p := z.people(0).Person(ids[2]); len(p.IDs) != 3 {
		t.Fatalf("put together from %d", len(p.IDs))
	}
	ok(t, classroom.Part(t.Context(), z.devices[0], nobody, ids[1], "three children"))
	z.pull(1, 0)
	for device := range 2 {
		r := z.people(device)
		for _, id := range ids {
			if p := r.Person(id); len(p.IDs) != 1 || !p.Namesake {
				t.Errorf("device %d: %+v", device, p)
			}
		}
		if r.Person(bob) != r.Person(bobby) {
			t.Errorf("device %d: others were parted as well", device)
		}
	}
}

// TestAlike: who may be the same child is asked about learners who are shown.
func TestAlike(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	add := func(name, username string, role classroom.Role) identity.UserID {
		id, err := classroom.AddUser(t.Context(), z.devices[0], z.gate, nobody, classroom.NewUser{Name: name, Username: username, Role: role})
		ok(t, err)
		return id
	}
	ada := add("Ada L", "ada", classroom.RoleLearner)
	add("ada  l", "adal", classroom.RoleLearner)
	add("A. Lovelace", "ADA", classroom.RoleLearner)
	add("Bob", "bob", classroom.RoleLearner)
	add("Ada L", "ada.l", classroom.RoleTeacher)
	gone := add("Ada L", "ada2", classroom.RoleLearner)
	ok(t, classroom.Hide(t.Context(), z.devices[0], nobody, classroom.UserTarget(gone), ""))
	r := z.people(0)
	if d := cmp.Diff([]string{"A. Lovelace", "ada  l"}, names(r.Alike(r.Person(ada)))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Ada L"}, names(r.Hidden)); d != "" {
		t.Error(d)
	}
}

// TestEditJoinedPerson: what is changed is what is shown, under whichever ID, and a group
// is left under each.
func TestEditJoinedPerson(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	r, ctx := z.devices[0], t.Context()
	class, club, other := z.group(0, "3A"), z.group(0, "club"), z.group(0, "3B")
	ids := []identity.UserID{z.add(0, "Ada", classroom.RoleLearner, class, club), z.add(0, "Ada", classroom.RoleLearner, class)}
	slices.SortFunc(ids, identity.UserID.Compare)
	// The smaller ID is hidden, and then joined: the person is shown as the other.
	ok(t, classroom.Hide(ctx, r, nobody, classroom.UserTarget(ids[0]), ""))
	ok(t, classroom.Join(ctx, r, nobody, ids[0], ids[1], true, ""))
	edit := func(e classroom.PersonEdit) error { return classroom.EditPerson(ctx, r, nobody, ids[0], e) }
	name, username, language := "Ada Lovelace", "lovelace", "fr"
	ok(t, edit(classroom.PersonEdit{Name: &name, Username: &username, Language: &language, Leave: []classroom.GroupID{class}, Enter: []classroom.GroupID{club, other}}))
	p := z.people(0).Person(ids[1])
	if p.Name != name || p.Username != username || p.Language != language || p.Hidden {
		t.Errorf("after the edit: %+v", p)
	}
	want := []classroom.GroupID{club, other}
	slices.SortFunc(want, func(a, b classroom.GroupID) int { return slices.Compare(a[:], b[:]) })
	if d := cmp.Diff(want, p.Groups); d != "" {
		t.Error(d)
	}
	ok(t, edit(classroom.PersonEdit{Leave: []classroom.GroupID{club}}))
	if p = z.people(0).Person(ids[1]); len(p.Groups) != 1 {
		t.Errorf("after entering twice and leaving once: in %d groups", len(p.Groups))
	}

	// All of it or nothing.
	before := r.State().Rows
	empty, better := " ", "Countess"
	if err := edit(classroom.PersonEdit{Name: &better, Username: &empty, Leave: []classroom.GroupID{other}}); !errors.Is(err, classroom.ErrInput) {
		t.Errorf("no user name: %v", err)
	}
	if err := edit(classroom.PersonEdit{Name: &better, Enter: []classroom.GroupID{{9}}}); !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("a group that is not: %v", err)
	}
	if err := classroom.EditPerson(ctx, r, nobody, identity.UserID{9}, classroom.PersonEdit{Name: &better}); !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
	if d := cmp.Diff(before, r.State().Rows); d != "" {
		t.Errorf("refused, and written: %s", d)
	}
}

// TestPartedPerson: each ID has again what was done under it, also while it was joined; and
// an alias that does not hold while one of the two is staff is taken back with the others.
func TestPartedPerson(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	r, ctx := z.devices[0], t.Context()
	a, b := z.add(0, "Ada", classroom.RoleLearner), z.add(0, "Ada B", classroom.RoleLearner)
	ok(t, classroom.Join(ctx, r, nobody, a, b, true, ""))
	z.answer(0, a, "sums", true)
	if s := z.answer(0, b, "sums", true); s.Attempts.Total() != 2 {
		t.Errorf("together: %d answers", s.Attempts.Total())
	}
	z.answer(0, b, "sums", false)
	for teacher, learner := range map[identity.UserID]identity.UserID{a: b, b: a} {
		ok(t, classroom.Join(ctx, r, nobody, a, b, true, ""))
		ok(t, classroom.SetRole(ctx, r, nobody, teacher, classroom.RoleTeacher))
		ok(t, classroom.Part(ctx, r, nobody, learner, ""))
		ok(t, classroom.SetRole(ctx, r, nobody, teacher, classroom.RoleLearner))
		for id, want := range map[identity.UserID]uint64{a: 1, b: 2} {
			if p := z.people(0).Person(id); len(p.IDs) != 1 {
				t.Errorf("still together: %+v", p)
			}
			if got := z.progress(0, id).Exercises[0].Attempts; got != want {
				t.Errorf("parted: %d answers, want %d", got, want)
			}
		}
	}
}

// TestChangedBeforeAdded: somebody whose record of being added is still to come is nobody
// yet, and like nobody.
func TestChangedBeforeAdded(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom, roster.RoleClassroom)
	ids := []identity.UserID{z.add(0, "Ada", classroom.RoleLearner), z.add(0, "Ben", classroom.RoleLearner)}
	z.pull(1, 0)
	language := "fr"
	for _, id := range ids {
		ok(t, classroom.EditPerson(t.Context(), z.devices[1], nobody, id, classroom.PersonEdit{Language: &language}))
	}
	z.pullThose(2, 1, func(row records.VectorRow) bool { // what the second device has written itself
		counter, _ := z.devices[0].Frontier(row.BranchRef)
		return counter == 0
	})
	if z.devices[2].State().Rows == nil {
		t.Fatal("nothing came")
	}
	if roll := z.people(2); len(roll.People) != 0 || roll.Person(ids[0]) != nil {
		t.Errorf("there are %d people", len(roll.People))
	}
	z.pull(2, 0)
	if roll := z.people(2); len(roll.People) != 2 || roll.People[0].Language != "fr" || roll.Alike(roll.People[0]) != nil {
		t.Errorf("there are %d people", len(roll.People))
	}
}

// TestSmallestIDUnknown: somebody of whose IDs the smallest is still to come can be given a
// password, removed, and joined with somebody else.
func TestSmallestIDUnknown(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom, roster.RoleClassroom)
	ctx, r := t.Context(), z.devices[2]
	for range 40 {
		z.add(0, "Ada", classroom.RoleLearner)
	}
	z.pull(1, 0)
	smallest := slices.MinFunc(z.people(1).People, func(a, b *classroom.Person) int { return a.ID.Compare(b.ID) }).ID
	own, other := z.add(1, "Ada B", classroom.RoleLearner), z.add(1, "Ben", classroom.RoleLearner)
	ok(t, classroom.Join(ctx, z.devices[1], nobody, smallest, own, true, ""))
	z.pullThose(2, 1, func(row records.VectorRow) bool { // what the second device has written
		counter, _ := z.devices[0].Frontier(row.BranchRef)
		return counter == 0
	})
	roll := z.people(2)
	p := roll.Person(own)
	if p.ID != smallest || p.Name != "Ada B" || roll.Account(smallest) != nil || roll.Account(own) != p {
		t.Fatalf("%+v", p)
	}
	ok(t, classroom.SetPassword(ctx, r, z.gate, nobody, p.ID, "secret"))
	if _, in := z.signsIn(2, p.Username, "secret"); !in {
		t.Error("the new password is not that of the ID which is here")
	}
	ok(t, classroom.Join(ctx, r, nobody, p.ID, other, true, ""))
	ok(t, classroom.Hide(ctx, r, nobody, classroom.UserTarget(p.ID), ""))
	if roll := z.people(2); len(roll.People) != 0 || len(roll.Hidden) != 1 || len(roll.Hidden[0].IDs) != 3 {
		t.Errorf("%d people, and %d removed", len(roll.People), len(roll.Hidden))
	}
	if err := classroom.SetPassword(ctx, r, z.gate, nobody, identity.UserID{9}, "x"); !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
}

// TestRenamedTheSame: a name that a group has already is not written again, and none is given
// to a group that is not.
func TestRenamedTheSame(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	r, ctx, class := z.devices[0], t.Context(), z.group(0, "3A")
	before := r.State().Rows
	ok(t, classroom.RenameGroup(ctx, r, nobody, class, " 3A "))
	if err := classroom.RenameGroup(ctx, r, nobody, classroom.GroupID{9}, "3B"); !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("a group that is not: %v", err)
	}
	if _, err := classroom.AddUser(ctx, r, z.gate, nobody, classroom.NewUser{Name: "Ada", Username: "ada", Groups: []classroom.GroupID{{9}}}); !errors.Is(err, classroom.ErrUnknown) {
		t.Errorf("added to a group that is not: %v", err)
	}
	if d := cmp.Diff(before, r.State().Rows); d != "" {
		t.Errorf("written: %s", d)
	}
	ok(t, classroom.RenameGroup(ctx, r, nobody, class, "3B"))
	if got := z.people(0).Class(class).Name; got != "3B" {
		t.Errorf("renamed to %q", got)
	}
}

// TestStaffAreSafeFromClassroomDevices: a stolen device of a classroom can
// neither promote anybody nor get at a teacher's account.
func TestStaffAreSafeFromClassroomDevices(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates, roster.RoleClassroom, roster.RolePlain)
	ctx := t.Context()
	admin, classroomDevice, plain := z.devices[0], z.devices[1], z.devices[2]
	tess, err := classroom.AddUser(ctx, admin, z.gate, nobody, classroom.NewUser{Name: "Tess", Username: "tess", Password: "secret", Role: classroom.RoleTeacher})
	ok(t, err)
	ada := z.add(0, "Ada", classroom.RoleLearner)
	z.pull(1, 0)
	z.pull(2, 0)
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = classroom.AddUser(ctx, classroomDevice, z.gate, nobody, classroom.NewUser{Name: "X", Username: "x", Role: classroom.RoleTeacher})
	refused("add a teacher", err, classroom.ErrNotAdministrates)
	refused("promote", classroom.SetRole(ctx, classroomDevice, nobody, ada, classroom.RoleAdministrator), classroom.ErrNotAdministrates)
	refused("set a teacher's password", classroom.SetPassword(ctx, classroomDevice, z.gate, nobody, tess, "mine"), classroom.ErrNotAdministrates)
	refused("hide a teacher", classroom.Hide(ctx, classroomDevice, nobody, classroom.UserTarget(tess), ""), classroom.ErrNotAdministrates)
	refused("join a teacher", classroom.Join(ctx, classroomDevice, nobody, tess, ada, true, ""), classroom.ErrInput)
	_, err = classroom.AddGroup(ctx, plain, nobody, "3A", "")
	refused("a group by a plain device", err, classroom.ErrNotClassroom)

	// What a device says that does not keep to the commands.
	forge := func(rec records.Record, body message.Message) {
		t.Helper()
		rec.Register, rec.Body = true, message.Append(nil, body)
		ok(t, classroomDevice.Write(ctx, func(d *records.Draft) error { _, err := d.Put(rec); return err }))
	}
	hash, err := z.gate.Hash(ctx, "mine")
	ok(t, err)
	const late = records.Clock(1 << 30)
	forge(records.Record{Kind: classroom.KindLearnerSecret, Learner: tess}, &classroom.Secret{Password: classroom.Setting[classroom.PasswordHash]{Clock: late, Value: hash}})
	forge(records.Record{Kind: classroom.KindStaffSecret, Learner: tess}, &classroom.Secret{Password: classroom.Setting[classroom.PasswordHash]{Clock: late, Value: hash}})
	forge(records.Record{Kind: classroom.KindRole, Learner: ada}, &classroom.RoleGrant{Role: classroom.Setting[classroom.Role]{Clock: late, Value: classroom.RoleAdministrator}})
	kind := classroom.KindUser
	forge(records.Record{Kind: classroom.KindTombstone, Learner: tess, Key: []byte{byte(kind >> 8), byte(kind)}},
		&classroom.Tombstone{Hidden: classroom.Setting[classroom.Flag]{Clock: late, Value: classroom.Yes}})
	small, large := ada, tess
	if small.Compare(large) > 0 {
		small, large = large, small
	}
	forge(records.Record{Kind: classroom.KindAlias, Learner: small, Key: large[:]}, &classroom.Alias{Revoked: classroom.Setting[classroom.Flag]{Clock: late}})
	z.pull(0, 1)
	for device := range 2 {
		r := z.people(device)
		if r.Person(ada).Role != classroom.RoleLearner || r.Person(tess).Role != classroom.RoleTeacher || r.Person(tess).Hidden || r.Person(ada) == r.Person(tess) {
			t.Errorf("device %d: Ada %+v, Tess %+v", device, r.Person(ada), r.Person(tess))
		}
		if _, _, err := z.gate.Authenticate(ctx, z.devices[device], "tess", "mine"); !errors.Is(err, classroom.ErrSignIn) {
			t.Errorf("device %d: signing in as a teacher with a forged secret: %v", device, err)
		}
		if p, _, err := z.gate.Authenticate(ctx, z.devices[device], "tess", "secret"); err != nil || p.ID != tess {
			t.Errorf("device %d: the teacher is shut out: %v", device, err)
		}
	}
}

// TestFieldsOfLaterReleasesSurvive: editing a register keeps what this release
// does not know of its own former version.
func TestFieldsOfLaterReleasesSurvive(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	id := identity.UserID{5}
	body := append(message.Append(nil, &classroom.User{
		Name:     classroom.Setting[string]{Clock: 1, Value: "Ada"},
		Username: classroom.Setting[string]{Clock: 1, Value: "ada"},
	}), later...)
	progress := append(message.Append(nil, &classroom.ExerciseProgress{Attempts: 3}), later...)
	ok(t, z.devices[0].Write(t.Context(), func(d *records.Draft) error {
		_, err := d.Put(records.Record{Kind: classroom.KindUser, Register: true, Learner: id, Body: body})
		if err == nil {
			_, err = d.Put(records.Record{Kind: classroom.KindExerciseProgress, Register: true, Learner: id, Key: []byte("ex"), Body: progress})
		}
		return err
	}))
	name := "Ada L."
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, id, classroom.PersonEdit{Name: &name}))
	if s := z.answer(0, id, "ex", true); s.Attempts.Total() != 4 {
		t.Errorf("%d attempts", s.Attempts.Total())
	}
	for _, kind := range []records.Kind{classroom.KindUser, classroom.KindExerciseProgress} {
		err := z.devices[0].Read(t.Context(), func(v *records.View) error {
			return v.Registers(records.RegisterPrefix{Kind: kind}, func(row records.RegisterRow) error {
				if row.Counter == 1 || !slices.Equal(row.Body[len(row.Body)-len(later):], later) {
					t.Errorf("%v: version %d is %x", kind, row.Counter, row.Body)
				}
				return nil
			})
		})
		ok(t, err)
	}
	if got := z.people(0).Person(id); got.Name != "Ada L." || got.Username != "ada" {
		t.Errorf("edited: %+v", got)
	}
}

// TestFormerIncarnation: a register published again for an earlier
// incarnation is not counted on, but kept beside what is counted anew.
func TestFormerIncarnation(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	old := classroom.ExerciseProgress{Attempts: 6, Right: 6, Points: 78, Limit: 104, ClockSteps: []uint64{1, 1, 1, 1, 1, 1}, RightBits: 63}
	ok(t, z.devices[0].Write(t.Context(), func(d *records.Draft) error {
		_, err := d.Put(records.Record{
			Kind: classroom.KindExerciseProgress, Register: true, Learner: pupil, Key: []byte("ex"), Body: message.Append(nil, &old),
			Origin: &records.Origin{Log: identity.LogID{9}, Counter: 4},
		})
		return err
	}))
	z.answer(0, pupil, "ex", true)
	s := z.answer(0, pupil, "ex", true)
	if s.Attempts.Total() != 8 || !s.Complete() || s.Points() != 104 {
		t.Errorf("6 former and 2 new answers: %d attempts, %d points", s.Attempts.Total(), s.Points())
	}
	if d := cmp.Diff(s.Summary("ex"), z.progress(0, pupil).Exercises[0]); d != "" {
		t.Error(d)
	}
}

// TestEditsDoNotOverwriteEachOther: an edit of one field leaves the others to
// whoever set them, and writing what is so already writes nothing.
func TestEditsDoNotOverwriteEachOther(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	ada := z.add(0, "Ada", classroom.RoleLearner)
	z.pull(1, 0)
	name, notes, same := "Ada Lovelace", "sits in front", "Ada"
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, ada, classroom.PersonEdit{Name: &name}))
	ok(t, classroom.EditPerson(t.Context(), z.devices[1], nobody, ada, classroom.PersonEdit{Notes: &notes, Name: &same}))
	z.pull(1, 0)
	z.pull(0, 1)
	for device := range 2 {
		if p := z.people(device).Person(ada); p.Name != name {
			t.Errorf("device %d: %q", device, p.Name)
		}
	}
	before := z.devices[0].State().Rows
	ok(t, classroom.EditPerson(t.Context(), z.devices[0], nobody, ada, classroom.PersonEdit{Name: &name}))
	if d := cmp.Diff(before, z.devices[0].State().Rows); d != "" {
		t.Errorf("writing what is so already: %s", d)
	}
}

// standings reads how far the learners of a class are, by name.
func standings(z *zone, on int, class classroom.GroupID, contents []string) (learners []*classroom.Person, list []classroom.Standing) {
	roll := read(z, on, classroom.People)
	learners = roll.Class(class).Learners()
	for _, p := range learners {
		list = append(list, read(z, on, func(v *records.View) (classroom.Standing, error) {
			return classroom.ReadStanding(v, p.IDs, contents)
		}))
	}
	return learners, list
}

func TestStanding(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates, roster.RolePlain)
	class := z.group(0, "3A")
	ada, bob := z.add(0, "Ada", classroom.RoleLearner, class), z.add(0, "Bob", classroom.RoleLearner, class)
	z.add(0, "Tess", classroom.RoleTeacher, class)
	z.add(0, "Eve", classroom.RoleLearner)
	for range 8 {
		z.answer(0, ada, "ex", true)
	}
	z.watch(0, ada, "film", 0, 50)
	z.pull(1, 0)
	for range 21 {
		z.answer(1, bob, "ex", false)
	}
	z.pull(0, 1)
	learners, list := standings(z, 0, class, []string{"ex", "film", "none"})
	if len(learners) != 2 || learners[0].ID != ada || learners[1].ID != bob {
		t.Fatalf("learners %+v", learners)
	}
	want := [][]classroom.Cell{
		{{Status: classroom.StatusComplete, Points: 104, Attempts: 8}, {Status: classroom.StatusInProgress, Points: 375}, {}},
		{{Status: classroom.StatusStruggling, Attempts: 21}, {}, {}},
	}
	for i, s := range list {
		if d := cmp.Diff(want[i], s.Cells); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(z.progress(0, learners[i].ID).Totals, s.Totals); d != "" {
			t.Errorf("standing and progress disagree: %s", d)
		}
	}
}
