package classroom

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Dump writes the merged state as JSON Lines, the same for replicas that hold
// the same: first the registers, merged over all logs, by kind, learner and
// key; then the events, by log and counter. Of secrets it writes only whether
// they are set. What this release cannot read is written as it is stored.
//
// Only what counts is written, as views show it: give it a view of
// [records.Replica.ReadPromoted], which does not show what is staged. Dump needs memory for one
// register at a time.
func Dump(v *records.View, w io.Writer) error {
	d := newDumper(v, w)
	kinds, err := v.Kinds()
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	for _, k := range kinds {
		if err := d.registers(k); err != nil {
			return fmt.Errorf("dump registers of kind %v: %w", k, err)
		}
	}
	if err := v.AllEvents(d.event); err != nil {
		return fmt.Errorf("dump events: %w", err)
	}
	if err := d.out.Flush(); err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	return nil
}

type dumper struct {
	view *records.View
	out  *bufio.Writer
	json *json.Encoder

	key      records.RegisterKey
	versions []dumpVersion // of the register key
}

func newDumper(v *records.View, w io.Writer) *dumper {
	d := &dumper{view: v, out: bufio.NewWriterSize(w, 64<<10)}
	d.json = json.NewEncoder(d.out)
	d.json.SetEscapeHTML(false)
	return d
}

// dumpPlace is what a dump says of an entry besides its body.
type dumpPlace struct {
	Log     identity.LogID      `json:"log"`
	Counter uint64              `json:"counter"`
	Device  identity.DeviceID   `json:"device"`
	Actor   identity.UserID     `json:"actor,omitzero"`
	Clock   string              `json:"clock"`
	At      int64               `json:"at"` // milliseconds since 1970
	Quality records.TimeQuality `json:"quality"`
	Origin  *dumpOrigin         `json:"origin,omitempty"`
}

type dumpOrigin struct {
	Log     identity.LogID `json:"log"`
	Counter uint64         `json:"counter"`
}

func placeOf(log identity.LogID, device identity.DeviceID, counter uint64, e *records.Envelope) dumpPlace {
	p := dumpPlace{
		Log: log, Counter: counter, Device: device,
		Actor: e.Actor, Clock: e.Clock.String(), At: e.Wall, Quality: e.Quality,
	}
	if o := e.Origin; o != nil {
		p.Origin = &dumpOrigin{o.Log, o.Counter}
	}
	return p
}

// dumpVersion is one version of a register that this release cannot read.
type dumpVersion struct {
	dumpPlace
	Raw []byte `json:"raw"`

	row records.RegisterRow
}

// dumpRegister is the line of a register.
type dumpRegister struct {
	Kind     string          `json:"kind"`
	Learner  identity.UserID `json:"learner,omitzero"`
	Key      string          `json:"key,omitempty"`
	Merged   any             `json:"merged,omitempty"`
	Versions []dumpVersion   `json:"versions,omitempty"` // that cannot be read
}

// dumpEvent is the line of an event.
type dumpEvent struct {
	Kind    string          `json:"kind"`
	Learner identity.UserID `json:"learner,omitzero"`
	dumpPlace
	Body any    `json:"body,omitempty"`
	Raw  []byte `json:"raw,omitempty"`
}

func dumpKind(k records.Kind) string {
	if name, ok := KindName(k); ok {
		return name
	}
	return k.String()
}

func (d *dumper) event(row records.EventRow) error {
	line := dumpEvent{
		Kind: dumpKind(row.Envelope.Kind), Learner: row.Envelope.Learner,
		dumpPlace: placeOf(row.Log, row.Device, row.Counter, row.Envelope),
	}
	if body, ok := Describe(row.Envelope.Kind, row.Body); ok {
		line.Body = body
	} else {
		line.Raw = row.Body
	}
	return d.json.Encode(line)
}

// registers writes the registers of one kind: all versions of one follow each
// other.
func (d *dumper) registers(k records.Kind) error {
	err := d.view.Registers(records.RegisterPrefix{Kind: k}, func(row records.RegisterRow) error {
		if row.Key != d.key {
			if err := d.flush(); err != nil {
				return err
			}
			d.key = row.Key
		}
		row.Body = slices.Clone(row.Body)
		d.versions = append(d.versions, dumpVersion{placeOf(row.Log, row.Device, row.Counter, row.Envelope), row.Body, row})
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush()
}

// flush writes the line of the register whose versions are collected.
func (d *dumper) flush() error {
	if len(d.versions) == 0 {
		return nil
	}
	slices.SortFunc(d.versions, func(a, b dumpVersion) int {
		return cmp.Or(a.Log.Compare(b.Log), cmp.Compare(a.Counter, b.Counter))
	})
	line := dumpRegister{Kind: dumpKind(d.key.Kind), Learner: d.key.Learner, Key: dumpKey(d.key)}
	if merge := dumpMerges[d.key.Kind]; merge != nil {
		line.Merged, line.Versions = merge(d.view.Roster().Created, d.versions)
	} else {
		line.Versions = d.versions
	}
	d.versions = d.versions[:0]
	return d.json.Encode(line)
}

// dumpKey gives the last part of a register's key in words if it has the form
// that the kind asks for, otherwise in hex.
func dumpKey(k records.RegisterKey) string {
	switch k.Kind {
	case KindGroup, KindMembership, KindRole:
		if id, ok := groupOf(k.Key); ok {
			return id.String()
		}
	case KindAssignment:
		if id := (AssignmentID{}); len(k.Key) == len(id) {
			copy(id[:], k.Key)
			return id.String()
		}
	case KindAlias:
		if id := (identity.UserID{}); len(k.Key) == len(id) {
			copy(id[:], k.Key)
			return id.String()
		}
	case KindTombstone:
		if t, ok := targetOf(k); ok {
			if inner := dumpKey(t.key); inner != "" {
				return dumpKind(t.key.Kind) + " " + inner
			}
			return dumpKind(t.key.Kind)
		}
	case KindVideoProgress, KindExerciseProgress:
		return k.Key
	case KindActivityDay:
		if day, activity, ok := dayOfKey(k.Key); ok {
			return fmt.Sprintf("%v %d", day, activity)
		}
	}
	if k.Key == "" {
		return ""
	}
	return "hex:" + hex.EncodeToString([]byte(k.Key))
}

// dumpMerges gives, for each kind of register, how its versions are merged
// and shown.
var dumpMerges = map[records.Kind]func(created int64, versions []dumpVersion) (merged any, unread []dumpVersion){
	KindUser: merged(func(_ int64, v []Version[User]) any {
		s := MergeUser(v...)
		return struct {
			Name     Setting[string] `json:"name"`
			Username Setting[string] `json:"username"`
			Language Setting[string] `json:"language"`
			Notes    Setting[string] `json:"notes"`
		}{s.Name.newest(), s.Username.newest(), s.Language.newest(), s.Notes.newest()}
	}),
	KindLearnerSecret: merged(dumpSecret),
	KindStaffSecret:   merged(dumpSecret),
	KindGroup: merged(func(_ int64, v []Version[Group]) any {
		s := MergeGroup(v...)
		return struct {
			Name        Setting[string] `json:"name"`
			Description Setting[string] `json:"description"`
		}{s.Name.newest(), s.Description.newest()}
	}),
	KindMembership: merged(func(_ int64, v []Version[Membership]) any {
		p := MergeMembership(v...)
		return struct {
			Present bool  `json:"present"`
			Added   []Tag `json:"added"`
			Removed []Tag `json:"removed"`
		}{p.Present(), tagsOf(p.added), tagsOf(p.removed)}
	}),
	KindRole: merged(func(_ int64, v []Version[RoleGrant]) any {
		return struct {
			Role Setting[Role] `json:"role"`
		}{MergeRole(v...).newest()}
	}),
	KindAssignment: merged(func(_ int64, v []Version[Assignment]) any { return dumpAssignment(MergeAssignment(v...)) }),
	KindAlias: merged(func(_ int64, v []Version[Alias]) any {
		return struct {
			Revoked Setting[Flag] `json:"revoked"`
		}{MergeAlias(v...).newest()}
	}),
	KindTombstone: merged(func(_ int64, v []Version[Tombstone]) any {
		return struct {
			Hidden Setting[Flag] `json:"hidden"`
		}{MergeTombstone(v...).newest()}
	}),
	KindVideoProgress: merged(func(created int64, v []Version[VideoProgress]) any {
		s := MergeVideo(created, v...)
		return struct {
			Watched        []Span          `json:"watched"`
			PlayedS        uint64          `json:"played_s"`
			Completions    uint64          `json:"completions"`
			Position       Setting[uint32] `json:"position"`
			Language       Setting[string] `json:"language"`
			Points         uint64          `json:"points"`
			Completion     *Completion     `json:"completion"`
			LastCompletion int64           `json:"last_completion"`
		}{
			append([]Span{}, s.Watched...), s.PlayedS.Total(), s.Completions.Total(), s.Position.newest(),
			s.Language.newest(), s.Points(), s.Completion.completion(), s.LastCompletion,
		}
	}),
	KindExerciseProgress: merged(func(created int64, v []Version[ExerciseProgress]) any {
		s := MergeExercise(created, v...)
		recent := make([]bool, 0, len(s.Recent))
		for _, a := range slices.Backward(s.Recent) {
			recent = append(recent, a.Right)
		}
		return struct {
			Attempts   uint64      `json:"attempts"`
			Right      uint64      `json:"right"`
			ActiveMS   uint64      `json:"active_ms"`
			Points     uint64      `json:"points"`
			Recent     []bool      `json:"recent"` // oldest first
			Completion *Completion `json:"completion"`
		}{s.Attempts.Total(), s.Right.Total(), s.ActiveMS.Total(), s.Points(), recent, s.Completion.completion()}
	}),
	KindActivityDay: merged(func(_ int64, v []Version[ActivityDay]) any {
		s := MergeDay(v...)
		return struct {
			Count      uint64 `json:"count"`
			ActiveMS   uint64 `json:"active_ms"`
			LastActive int64  `json:"last_active"`
		}{s.Count.Total(), s.ActiveMS.Total(), s.LastActive}
	}),
}

// merged decodes the versions that can be, and has them merged.
func merged[B any, P bodyOf[B]](merge func(created int64, versions []Version[B]) any) func(int64, []dumpVersion) (any, []dumpVersion) {
	return func(created int64, versions []dumpVersion) (any, []dumpVersion) {
		var readable []Version[B]
		var unread []dumpVersion
		for i := range versions {
			if v, ok := readVersion[B, P](&versions[i].row); ok {
				readable = append(readable, v)
			} else {
				unread = append(unread, versions[i])
			}
		}
		if readable == nil {
			return nil, unread
		}
		return merge(created, readable), unread
	}
}

func dumpSecret(_ int64, v []Version[Secret]) any {
	return struct {
		Password Setting[PasswordHash] `json:"password"`
	}{MergeSecret(v...).Password.newest()}
}

func dumpAssignment(s AssignmentState) any {
	recipients, items := []Recipient{}, []AssignmentItem{}
	for r, present := range s.Recipients {
		r.Present = present.newest()
		recipients = append(recipients, r)
	}
	for content, position := range s.Items {
		items = append(items, AssignmentItem{content, position.newest()})
	}
	slices.SortFunc(recipients, func(a, b Recipient) int {
		return cmp.Or(slices.Compare(a.ID[:], b.ID[:]), cmp.Compare(flagOf(a.IsGroup), flagOf(b.IsGroup)))
	})
	slices.SortFunc(items, func(a, b AssignmentItem) int { return cmp.Compare(a.Content, b.Content) })
	return struct {
		Title      Setting[string]  `json:"title"`
		Visible    Setting[Flag]    `json:"visible"`
		Due        Setting[uint64]  `json:"due"`
		Recipients []Recipient      `json:"recipients"`
		Items      []AssignmentItem `json:"items"`
	}{s.Title.newest(), s.Visible.newest(), s.Due.newest(), recipients, items}
}

// newest returns the setting that holds.
func (l Latest[T]) newest() (s Setting[T]) {
	if len(l) > 0 {
		s = l[0].Setting
	}
	return s
}

// completion returns what is to be shown of a first completion.
func (f *First) completion() *Completion {
	if f == nil {
		return nil
	}
	return &f.Completion
}
