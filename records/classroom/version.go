package classroom

import (
	"cmp"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// Source is what counts for itself: one log, on behalf of one user ID. (A
// person whose two user IDs are joined by an alias has two in each log.)
//
// Two branches of a forked log are one source: where each tells a number, the
// larger counts. A register published again in a later incarnation belongs to
// the source where it stood first.
type Source struct {
	Log     identity.LogID
	Learner identity.UserID
}

// Compare orders sources by log, then learner.
func (s Source) Compare(t Source) int {
	return cmp.Or(s.Log.Compare(t.Log), s.Learner.Compare(t.Learner))
}

// Version is what one source says of a register: its newest version there.
type Version[B any] struct {
	Source  Source
	Counter uint64 // of the entry, in the log that Source names
	Body    B
}

// bodyOf is the pointer type of a body, through which it is read and written.
type bodyOf[B any] interface {
	*B
	message.Message
}

// readVersion interprets a row. It reports false if this release cannot read
// the body; such a record is kept and listed, and blocks nothing. The body may
// share memory with the row.
func readVersion[B any, P bodyOf[B]](row *records.RegisterRow) (v Version[B], ok bool) {
	if message.DecodeShared(row.Body, P(&v.Body), records.MaxBodyBytes) != nil {
		return v, false
	}
	v.Source = Source{row.Log, row.Key.Learner}
	v.Counter = row.Counter
	if o := row.Envelope.Origin; o != nil {
		v.Source.Log, v.Counter = o.Log, o.Counter
	}
	return v, true
}

// scan visits the versions of the registers that p selects, in one range scan.
func scan[B any, P bodyOf[B]](v *records.View, p records.RegisterPrefix, fn func(*records.RegisterRow, Version[B])) error {
	return v.Registers(p, func(row records.RegisterRow) error {
		if ver, ok := readVersion[B, P](&row); ok {
			fn(&row, ver)
		}
		return nil
	})
}

// Former is what an earlier incarnation of the same device had counted in a
// register when it was published again in this one. It is kept apart because a
// new incarnation counts from zero; it stands for a version of its own, with
// Log as source. This release writes none: what it publishes again stands in logs
// that nobody counts in.
type Former struct {
	Log  identity.LogID `json:"log"`
	Body []byte         `json:"body"` // encoded, without former versions of its own
}

// maxFormers bounds how many earlier incarnations a register remembers.
const maxFormers = 16

// Fields lists the message's fields.
func (f *Former) Fields(v *message.Visitor) {
	v.Fixed(1, f.Log[:])
	v.Bytes(2, &f.Body, records.MaxBodyBytes)
}

// carrier is a body that counts, and so must keep former versions apart.
type carrier interface {
	message.Message
	formers() *[]Former
}

// expand visits a version and the former versions that it carries.
func expand[B any, P interface {
	*B
	carrier
}](v Version[B], fn func(Version[B])) {
	fn(v)
	for _, f := range *P(&v.Body).formers() {
		former := Version[B]{Source: Source{f.Log, v.Source.Learner}}
		if message.DecodeShared(f.Body, P(&former.Body), records.MaxBodyBytes) == nil {
			fn(former)
		}
	}
}

// decodes reads a body and reports whether this release can.
func decodes(b []byte, body message.Message) bool {
	return message.Decode(b, body, records.MaxBodyBytes) == nil
}
