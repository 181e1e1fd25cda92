package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// format is the first byte of a saved book. Another layout gets another number.
const format = 1

// MaxBookBytes bounds a saved book.
const MaxBookBytes = 3 + MaxEntries*(identity.HashBytes+1+MaxAddressBytes+3*8)

// ErrBook is wrapped by errors about bytes that are not a saved book.
var ErrBook = errors.New("not a saved address book")

// Decode reads a saved book:
//
//	0  format, 1
//	1  number of entries, at most MaxEntries (2)
//	3  entries, strictly ascending by device and address:
//	   device, zero if not known (32)
//	   length of the address (1), and the address in its one spelling
//	   first seen, last seen, last success: Unix seconds (8 each), the last 0
//	   for never
//
// All integers are big-endian. Failures and waits are not kept: after a restart
// everything is tried again. Errors wrap [ErrBook].
func Decode(b []byte) ([]Entry, error) {
	if len(b) > MaxBookBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrBook, len(b))
	}
	if len(b) < 3 || b[0] != format {
		return nil, fmt.Errorf("%w of this version", ErrBook)
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	b = b[3:]
	const least = identity.HashBytes + 1 + 3*8
	if n > MaxEntries || len(b) < n*least {
		return nil, fmt.Errorf("%w: %d entries announced", ErrBook, n)
	}
	entries := make([]Entry, 0, n)
	for i := range n {
		if len(b) < least {
			return nil, fmt.Errorf("%w: cut off in entry %d", ErrBook, i)
		}
		var e Entry
		e.Device = identity.DeviceID(b[:identity.HashBytes])
		size := int(b[identity.HashBytes])
		b = b[identity.HashBytes+1:]
		if len(b) < size+3*8 {
			return nil, fmt.Errorf("%w: cut off in entry %d", ErrBook, i)
		}
		a, err := ParseAddress(string(b[:size]))
		if err != nil || string(a) != string(b[:size]) {
			return nil, fmt.Errorf("%w: entry %d has no address", ErrBook, i)
		}
		e.Address = a
		b = b[size:]
		for _, t := range []*time.Time{&e.FirstSeen, &e.LastSeen, &e.LastSuccess} {
			s := binary.BigEndian.Uint64(b)
			b = b[8:]
			if s > maxSeconds {
				return nil, fmt.Errorf("%w: entry %d has a time that cannot be", ErrBook, i)
			}
			if s > 0 {
				*t = time.Unix(int64(s), 0)
			}
		}
		e.Heard[Remembered] = e.LastSeen
		if e.LastSeen.IsZero() {
			return nil, fmt.Errorf("%w: entry %d was never seen", ErrBook, i)
		}
		if i > 0 {
			last := entries[i-1]
			if c := last.Device.Compare(e.Device); c > 0 || c == 0 && last.Address.compare(e.Address) >= 0 {
				return nil, fmt.Errorf("%w: entry %d is out of order", ErrBook, i)
			}
		}
		entries = append(entries, e)
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrBook, len(b))
	}
	return entries, nil
}

// maxSeconds is the year 10000: a time after it is no time.
const maxSeconds = 253402300800

// seconds returns Unix seconds from 1 up, or 0 for the zero time.
func seconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(min(max(t.Unix(), 1), maxSeconds))
}
