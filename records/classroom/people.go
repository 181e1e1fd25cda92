package classroom

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Person is somebody with one or, joined by aliases, several user IDs.
type Person struct {
	ID       identity.UserID   `json:"id"`  // the smallest of IDs
	ShownID  identity.UserID   `json:"-"`   // the one of which name, username and language are
	IDs      []identity.UserID `json:"ids"` // ascending
	Name     string            `json:"name"`
	Username string            `json:"username"`
	Language string            `json:"language"`
	Role     Role              `json:"role"` // the highest of those given in any scope
	Groups   []GroupID         `json:"groups"`
	Hidden   bool              `json:"hidden"` // all IDs are
	// Namesake: somebody else who is not hidden has the same username. Legal,
	// because two devices may have given it, but to be shown to a teacher.
	Namesake bool `json:"namesake"`
}

// Class is a group with the people in it.
type Class struct {
	ID          GroupID   `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Hidden      bool      `json:"hidden"`
	Members     []*Person `json:"-"` // who are not hidden, by name
}

// Roll is everybody in the zone, merged.
type Roll struct {
	People  []*Person // who are not hidden, by name
	Classes []*Class  // that are not hidden, by name

	Hidden        []*Person // by name
	HiddenClasses []*Class  // by name

	byID     map[identity.UserID]*Person
	shut     map[identity.UserID]bool // hidden or without a user record, whatever becomes of the person
	classes  map[GroupID]*Class
	accounts map[string][]account // by folded username
}

// account is one user ID to sign in with.
type account struct {
	id     identity.UserID
	person *Person
}

// Person returns who has a user ID, hidden or not, or nil.
func (r *Roll) Person(id identity.UserID) *Person { return r.byID[id] }

// Account returns who signs in with a user ID, or nil: nobody does with one that is hidden.
// That goes for the ID alone, too: if two devices join it to another and hide it at the same
// time, the person is there, under the other.
func (r *Roll) Account(id identity.UserID) *Person {
	if p := r.byID[id]; p != nil && !p.Hidden && !r.shut[id] {
		return p
	}
	return nil
}

// Named returns who signs in with a username: staff first, then by ID.
func (r *Roll) Named(username string) (people []*Person) {
	for _, a := range r.named(username) {
		if !slices.Contains(people, a.person) {
			people = append(people, a.person)
		}
	}
	return people
}

// named returns the accounts with a username that are not hidden, staff first: however many
// learners are given the username of one who teaches, that person comes before them.
func (r *Roll) named(username string) (accounts []account) {
	for _, a := range r.accounts[foldName(username)] {
		if r.Account(a.id) != nil {
			accounts = append(accounts, a)
		}
	}
	slices.SortStableFunc(accounts, func(a, b account) int { return cmp.Compare(b.person.Role, a.person.Role) })
	return accounts
}

// Class returns a group, hidden or not, or nil.
func (r *Roll) Class(id GroupID) *Class { return r.classes[id] }

// foldName gives the form in which usernames and names of classes are
// compared.
func foldName(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// People reads who is in the zone: one range scan for each kind.
func People(v *records.View) (*Roll, error) {
	users, err := mergeUsers(v)
	if err != nil {
		return nil, err
	}
	roles, err := readRoles(v)
	if err != nil {
		return nil, err
	}
	joined, err := readAliases(v, roles)
	if err != nil {
		return nil, err
	}
	hidden, err := readHidden(v, roles)
	if err != nil {
		return nil, err
	}
	r := &Roll{
		byID:     make(map[identity.UserID]*Person, len(users)),
		shut:     map[identity.UserID]bool{},
		classes:  map[GroupID]*Class{},
		accounts: make(map[string][]account, len(users)),
	}
	for id := range users {
		if r.byID[id] == nil {
			r.addPerson(id, joined[id], users, roles, hidden)
		}
	}
	if err := r.readClasses(v, hidden); err != nil {
		return nil, err
	}
	return r, r.readMembers(v)
}

// addPerson makes a person of the IDs joined to id, which have a user record.
func (r *Roll) addPerson(id identity.UserID, joined []identity.UserID, users map[identity.UserID]*UserState, roles map[identity.UserID]Role, hidden map[Target]bool) {
	p := &Person{ID: id, IDs: []identity.UserID{id}}
	if joined != nil {
		p.ID, p.IDs = joined[0], joined
	}
	for _, id := range p.IDs {
		r.byID[id] = p
		r.shut[id] = users[id] == nil || hidden[UserTarget(id)]
		if u := users[id]; u != nil {
			folded := foldName(u.Username.Value())
			r.accounts[folded] = append(r.accounts[folded], account{id, p})
			p.Role = max(p.Role, roles[id])
		}
	}
	if id, ok := shownID(p.IDs, users, hidden); ok {
		u := users[id]
		p.ShownID, p.Name, p.Username, p.Language = id, u.Name.Value(), u.Username.Value(), u.Language.Value()
		p.Hidden = hidden[UserTarget(id)]
	}
	if p.Hidden {
		r.Hidden = append(r.Hidden, p)
	} else {
		r.People = append(r.People, p)
	}
}

func (r *Roll) readClasses(v *records.View, hidden map[Target]bool) error {
	states := map[GroupID]*GroupState{}
	err := scan(v, records.RegisterPrefix{Kind: KindGroup}, func(row *records.RegisterRow, ver Version[Group]) {
		id, ok := groupOf(row.Key.Key)
		if !ok {
			return
		}
		if states[id] == nil {
			states[id] = new(GroupState)
		}
		states[id].add(&ver)
	})
	for id, s := range states {
		c := &Class{ID: id, Name: s.Name.Value(), Description: s.Description.Value(), Hidden: hidden[GroupTarget(id)]}
		r.classes[id] = c
		if c.Hidden {
			r.HiddenClasses = append(r.HiddenClasses, c)
		} else {
			r.Classes = append(r.Classes, c)
		}
	}
	byName := func(a, b *Class) int {
		return cmp.Or(cmp.Compare(foldName(a.Name), foldName(b.Name)), slices.Compare(a.ID[:], b.ID[:]))
	}
	slices.SortFunc(r.Classes, byName)
	slices.SortFunc(r.HiddenClasses, byName)
	return err
}

func (r *Roll) readMembers(v *records.View) error {
	memberships := map[membershipKey]Presence{}
	err := scan(v, records.RegisterPrefix{Kind: KindMembership}, func(row *records.RegisterRow, ver Version[Membership]) {
		if g, ok := groupOf(row.Key.Key); ok {
			k := membershipKey{row.Key.Learner, g}
			memberships[k] = memberships[k].Merge(presence(&ver))
		}
	})
	for k, present := range memberships {
		p, c := r.byID[k.user], r.classes[k.group]
		if p == nil || c == nil || !present.Present() || slices.Contains(p.Groups, k.group) {
			continue
		}
		p.Groups = append(p.Groups, k.group)
		if !p.Hidden {
			c.Members = append(c.Members, p)
		}
	}
	for _, p := range r.byID {
		slices.SortFunc(p.Groups, func(a, b GroupID) int { return slices.Compare(a[:], b[:]) })
	}
	r.sort()
	return err
}

type membershipKey struct {
	user  identity.UserID
	group GroupID
}

// sort puts people into the order of their names, and marks namesakes.
func (r *Roll) sort() {
	folded := make(map[*Person]string, len(r.People)+len(r.Hidden))
	for _, p := range r.People {
		folded[p] = foldName(p.Name)
	}
	for _, p := range r.Hidden {
		folded[p] = foldName(p.Name)
	}
	byName := func(a, b *Person) int { return cmp.Or(cmp.Compare(folded[a], folded[b]), a.ID.Compare(b.ID)) }
	slices.SortFunc(r.People, byName)
	slices.SortFunc(r.Hidden, byName)
	for _, c := range r.Classes {
		slices.SortFunc(c.Members, byName)
	}
	for _, accounts := range r.accounts {
		slices.SortFunc(accounts, func(a, b account) int { return a.id.Compare(b.id) })
		shown := slices.DeleteFunc(slices.Clone(accounts), func(a account) bool { return r.Account(a.id) == nil })
		for _, a := range shown {
			if slices.ContainsFunc(shown, func(b account) bool { return b.person != a.person }) {
				a.person.Namesake = true
			}
		}
	}
}

// Alike returns the other learners who may be the same person: two devices may have added
// somebody under the same name or username. They are by name.
func (r *Roll) Alike(p *Person) (alike []*Person) {
	same := func(a, b string) bool { return a != "" && foldName(a) == foldName(b) }
	for _, other := range r.People {
		if other != p && !other.Role.IsStaff() && (same(p.Name, other.Name) || same(p.Username, other.Username)) {
			alike = append(alike, other)
		}
	}
	return alike
}

// Learners returns the members of a class who have the role of learner.
func (c *Class) Learners() []*Person {
	return slices.DeleteFunc(slices.Clone(c.Members), func(p *Person) bool { return p.Role.IsStaff() })
}

// mergeUsers returns the users who have a username. One who has none yet was only changed
// by a log that is here, and added by one that is to come.
func mergeUsers(v *records.View) (map[identity.UserID]*UserState, error) {
	users := map[identity.UserID]*UserState{}
	err := scan(v, records.RegisterPrefix{Kind: KindUser}, func(row *records.RegisterRow, ver Version[User]) {
		u := users[row.Key.Learner]
		if u == nil {
			u = new(UserState)
			users[row.Key.Learner] = u
		}
		u.add(&ver)
	})
	maps.DeleteFunc(users, func(_ identity.UserID, u *UserState) bool { return u.Username.Value() == "" })
	return users, err
}

// readRoles returns the highest role of everybody who was given one.
func readRoles(v *records.View) (map[identity.UserID]Role, error) {
	grants := map[records.RegisterKey]Latest[Role]{}
	err := scan(v, records.RegisterPrefix{Kind: KindRole}, func(row *records.RegisterRow, ver Version[RoleGrant]) {
		grants[row.Key] = grants[row.Key].with(Written[Role]{ver.Body.Role, ver.Source})
	})
	roles := map[identity.UserID]Role{}
	for k, l := range grants {
		if role := l.Value(); role.IsStaff() {
			roles[k.Learner] = max(roles[k.Learner], role)
		}
	}
	return roles, err
}

// readHidden returns what is hidden. Of staff only tombstones count that a
// device wrote which administrates: no other can shut a teacher out.
func readHidden(v *records.View, roles map[identity.UserID]Role) (map[Target]bool, error) {
	states := map[Target]Latest[Flag]{}
	err := scan(v, records.RegisterPrefix{Kind: KindTombstone}, func(row *records.RegisterRow, ver Version[Tombstone]) {
		t, ok := targetOf(row.Key)
		if !ok || roles[row.Key.Learner].IsStaff() && !v.Roster().MayAuthor(row.Device, roster.ClassAdministrates) {
			return
		}
		states[t] = states[t].with(Written[Flag]{ver.Body.Hidden, ver.Source})
	})
	hidden := make(map[Target]bool, len(states))
	for t, l := range states {
		if l.Value() != No {
			hidden[t] = true
		}
	}
	return hidden, err
}
