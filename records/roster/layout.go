package roster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/classmesh/classmesh/records/identity"
)

// MaxRosterBytes is the size of the longest encoded roster.
const MaxRosterBytes = 1 << 20

const format = 1

// Encode returns the roster's one encoding. Numbers are big-endian; counts
// and lengths stand before what they count:
//
//	 0  format, 1
//	 1  zone (16)
//	17  public key of the coordinator (32)
//	49  epoch: life (4), number (8)
//	61  created (8)
//	69  signed (8)
//	77  era (2)
//	79  key number (4)
//	83  policy: lease in days (2)
//	85  name: length (1), UTF-8
//	    devices: count (2), then each
//	        public key (32)
//	        role (1)
//	        state (1)
//	        lease until (8)
//	        name: length (1), UTF-8
//	        incarnations: count (2), then each: sequence (8), author key (32)
//	    closures: count (2), then each
//	        log (32)
//	        number (8)
//	        branches: count (1), then each: start (8), counter (8), log fingerprint (32)
//	    later: length (2), bytes that this version does not interpret
//	    Ed25519 by the coordinator's key over all before (64)
func (r *Roster) Encode() []byte { return append(r.signed(), r.Signature[:]...) }

// The sizes of the parts, without what they count.
const (
	rosterBytes      = 85 + 1 + 2 + 2 + 2 + identity.SignatureBytes
	deviceBytes      = 32 + 1 + 1 + 8 + 1 + 2
	incarnationBytes = 8 + 32
	closureBytes     = 32 + 8 + 1
	branchBytes      = 8 + 8 + 32
)

func (r *Roster) encodedBytes() int {
	n := rosterBytes + len(r.Name) + len(r.Later)
	for i := range r.Devices {
		n += deviceBytes + len(r.Devices[i].Name) + len(r.Devices[i].Incarnations)*incarnationBytes
	}
	for i := range r.Closures {
		n += closureBytes + len(r.Closures[i].Branches)*branchBytes
	}
	return n
}

func (r *Roster) signed() []byte {
	b := make([]byte, 0, r.encodedBytes())
	b = append(b, format)
	b = append(b, r.Zone[:]...)
	b = append(b, r.Coordinator[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Epoch.Life)
	b = binary.BigEndian.AppendUint64(b, r.Epoch.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Signed))
	b = binary.BigEndian.AppendUint16(b, r.Era)
	b = binary.BigEndian.AppendUint32(b, r.KeyNumber)
	b = binary.BigEndian.AppendUint16(b, r.Policy.LeaseDays)
	b = append(append(b, byte(len(r.Name))), r.Name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Devices)))
	for i := range r.Devices {
		b = r.Devices[i].append(b)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Closures)))
	for i := range r.Closures {
		b = r.Closures[i].append(b)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Later)))
	return append(b, r.Later...)
}

func (d *Device) append(b []byte) []byte {
	b = append(b, d.Key[:]...)
	b = append(b, byte(d.Role), byte(d.State))
	b = binary.BigEndian.AppendUint64(b, uint64(d.LeaseUntil))
	b = append(append(b, byte(len(d.Name))), d.Name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Incarnations)))
	for _, in := range d.Incarnations {
		b = binary.BigEndian.AppendUint64(b, in.Sequence)
		b = append(b, in.Author[:]...)
	}
	return b
}

func (c *Closure) append(b []byte) []byte {
	b = append(b, c.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Number)
	b = append(b, byte(len(c.Branches)))
	for _, br := range c.Branches {
		b = append(b, br.Start[:]...)
		b = binary.BigEndian.AppendUint64(b, br.Counter)
		b = append(b, br.Fingerprint[:]...)
	}
	return b
}

// Decode reads what Encode gives and nothing else; it keeps nothing of b. It
// does not verify the signature: that is [Roster.Verify]. Errors wrap
// [ErrNewerFormat] or [ErrRoster].
func Decode(b []byte) (Roster, error) {
	r, err := decode(b)
	if err != nil {
		return Roster{}, fmt.Errorf("decode roster: %w", err)
	}
	return r, nil
}

func decode(b []byte) (r Roster, err error) {
	if len(b) > MaxRosterBytes {
		return r, tooLarge(len(b))
	}
	in := reader{rest: b}
	switch f := in.uint8(); {
	case f > format:
		return r, fmt.Errorf("format %d, this version reads %d: %w", f, format, ErrNewerFormat)
	case f != format:
		return r, fmt.Errorf("format %d, this version reads %d: %w", f, format, ErrRoster)
	}
	in.fill(r.Zone[:])
	in.fill(r.Coordinator[:])
	r.Epoch = Epoch{Life: in.uint32(), Number: in.uint64()}
	r.Created = int64(in.uint64())
	r.Signed = int64(in.uint64())
	r.Era = in.uint16()
	r.KeyNumber = in.uint32()
	r.Policy.LeaseDays = in.uint16()
	r.Name = string(in.take(int(in.uint8())))
	if n := in.count(int(in.uint16()), deviceBytes); n > 0 {
		r.Devices = make([]Device, n)
		for i := range r.Devices {
			r.Devices[i].read(&in)
		}
	}
	if n := in.count(int(in.uint16()), closureBytes); n > 0 {
		r.Closures = make([]Closure, n)
		for i := range r.Closures {
			r.Closures[i].read(&in)
		}
	}
	if n := int(in.uint16()); n > 0 {
		r.Later = bytes.Clone(in.take(n))
	}
	in.fill(r.Signature[:])
	if in.short {
		return r, fmt.Errorf("cut short: %w", ErrRoster)
	}
	if len(in.rest) > 0 {
		return r, fmt.Errorf("%d bytes too many: %w", len(in.rest), ErrRoster)
	}
	return r, r.check()
}

func (d *Device) read(in *reader) {
	in.fill(d.Key[:])
	d.Role = Role(in.uint8())
	d.State = State(in.uint8())
	d.LeaseUntil = int64(in.uint64())
	d.Name = string(in.take(int(in.uint8())))
	if n := in.count(int(in.uint16()), incarnationBytes); n > 0 {
		d.Incarnations = make([]Incarnation, n)
		for i := range d.Incarnations {
			d.Incarnations[i].Sequence = in.uint64()
			in.fill(d.Incarnations[i].Author[:])
		}
	}
}

func (c *Closure) read(in *reader) {
	in.fill(c.Log[:])
	c.Number = in.uint64()
	if n := in.count(int(in.uint8()), branchBytes); n > 0 {
		c.Branches = make([]Branch, n)
		for i := range c.Branches {
			in.fill(c.Branches[i].Start[:])
			c.Branches[i].Counter = in.uint64()
			in.fill(c.Branches[i].Fingerprint[:])
		}
	}
}

// check reports what keeps r from being the content of a roster. Decoded and
// edited rosters pass it, so whatever the coordinator can make, others can
// read.
func (r *Roster) check() error {
	switch n := r.encodedBytes(); {
	case n > MaxRosterBytes:
		return tooLarge(n)
	case r.Epoch.Life == 0 || r.Epoch.Number == 0:
		return fmt.Errorf("epoch %v: %w", r.Epoch, ErrRoster)
	case r.Created < 0 || r.Signed < 0:
		return fmt.Errorf("a time before 1970: %w", ErrRoster)
	case len(r.Devices) > math.MaxUint16 || len(r.Closures) > math.MaxUint16 || len(r.Later) > math.MaxUint16:
		return fmt.Errorf("too many devices or closures: %w", ErrRoster)
	}
	if err := checkName(r.Name); err != nil {
		return fmt.Errorf("name of the zone: %w", err)
	}
	if err := r.checkDevices(); err != nil {
		return err
	}
	for i := range r.Closures {
		c := &r.Closures[i]
		if i > 0 && r.Closures[i-1].Log.Compare(c.Log) >= 0 {
			return fmt.Errorf("closure %d is out of order: %w", i, ErrRoster)
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("closure of %s: %w", c.Log.Short(), err)
		}
	}
	return nil
}

func (r *Roster) checkDevices() error {
	var last identity.DeviceID
	authors := map[identity.AuthorPublic]bool{}
	for i := range r.Devices {
		d := &r.Devices[i]
		id := d.ID()
		if i > 0 && last.Compare(id) >= 0 {
			return fmt.Errorf("device %d is out of order: %w", i, ErrRoster)
		}
		last = id
		if err := d.check(authors); err != nil {
			return fmt.Errorf("device %s: %w", id.Short(), err)
		}
		if d.Key == r.Coordinator {
			return fmt.Errorf("device %s is the coordinator: %w", id.Short(), ErrRoster)
		}
	}
	return nil
}

// check adds the device's authors to those that belong to a device already.
func (d *Device) check(authors map[identity.AuthorPublic]bool) error {
	if err := checkName(d.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if d.LeaseUntil < 0 {
		return fmt.Errorf("lease ends before 1970: %w", ErrRoster)
	}
	if len(d.Incarnations) > math.MaxUint16 {
		return fmt.Errorf("%d incarnations: %w", len(d.Incarnations), ErrRoster)
	}
	for i, in := range d.Incarnations {
		if in.Sequence == 0 || i > 0 && compareIncarnations(d.Incarnations[i-1], in) >= 0 {
			return fmt.Errorf("incarnation %d is out of order: %w", i, ErrRoster)
		}
		if authors[in.Author] {
			return fmt.Errorf("incarnation %d is listed twice: %w", i, ErrRoster)
		}
		authors[in.Author] = true
	}
	return nil
}

func (c *Closure) check() error {
	if c.Number == 0 || len(c.Branches) > math.MaxUint8 {
		return fmt.Errorf("number %d, %d branches: %w", c.Number, len(c.Branches), ErrRoster)
	}
	for i, br := range c.Branches {
		if br.Counter == 0 || i > 0 && compareBranches(c.Branches[i-1], br) >= 0 {
			return fmt.Errorf("branch %d is empty or out of order: %w", i, ErrRoster)
		}
	}
	return nil
}

func checkName(s string) error {
	if len(s) > MaxNameBytes || !utf8.ValidString(s) {
		return fmt.Errorf("want at most %d bytes of UTF-8: %w", MaxNameBytes, ErrRoster)
	}
	return nil
}

func tooLarge(n int) error {
	return fmt.Errorf("%d bytes, at most %d: %w", n, MaxRosterBytes, ErrRoster)
}

func compareBranches(a, b Branch) int { return slices.Compare(a.Start[:], b.Start[:]) }

// reader takes parts off the front of rest. After the first part that is not
// there, short is set and everything reads as zero.
type reader struct {
	rest  []byte
	short bool
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if r.short = r.short || n > len(r.rest); r.short {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fill(b []byte) { copy(b, r.take(len(b))) }

func (r *reader) uint8() uint8 {
	var b [1]byte
	r.fill(b[:])
	return b[0]
}

func (r *reader) uint16() uint16 {
	var b [2]byte
	r.fill(b[:])
	return binary.BigEndian.Uint16(b[:])
}

func (r *reader) uint32() uint32 {
	var b [4]byte
	r.fill(b[:])
	return binary.BigEndian.Uint32(b[:])
}

func (r *reader) uint64() uint64 {
	var b [8]byte
	r.fill(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// count returns n if that many rows of at least each bytes can follow, so
// that no memory is taken for rows that are not there.
func (r *reader) count(n, each int) int {
	if r.short = r.short || n > len(r.rest)/each; r.short {
		return 0
	}
	return n
}
