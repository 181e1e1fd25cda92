package records

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

// Limits of a segment. The author ends one after SegmentCounters counters or
// SegmentBytes written, whichever is first; so none holds more than
// MaxSegmentBytes.
const (
	SegmentCounters = 4096
	SegmentBytes    = 256 << 10
	MaxSegmentBytes = SegmentBytes + MaxBodyBytes
)

// RowBytes is the size of an encoded Row.
const RowBytes = 8 + 4 + identity.HashBytes

// pageRows is the number of rows that are hashed together.
const pageRows = 64

var (
	labelPage        = identity.NewLabel("classmesh 1 segment page")
	labelFingerprint = identity.NewLabel("classmesh 1 log fingerprint")
)

// ErrRows is wrapped by errors about segment lists that no log can have.
var ErrRows = errors.New("not a valid segment list")

// Row is one line of a log's segment list: a segment that has live entries.
// It spans the counters from First up to the next row's First, or to the
// head's counter. Encoded it is First (8), Live (4), Checksum (32), big-endian.
type Row struct {
	First    uint64
	Live     uint32 // number of live entries, at least 1
	Checksum identity.Hash
}

func compareRows(a, b Row) int { return cmp.Compare(a.First, b.First) }

// AppendRows appends the encoding of rows to b.
func AppendRows(b []byte, rows []Row) []byte {
	for _, r := range rows {
		b = binary.BigEndian.AppendUint64(b, r.First)
		b = binary.BigEndian.AppendUint32(b, r.Live)
		b = append(b, r.Checksum[:]...)
	}
	return b
}

// DecodeRows reads what AppendRows wrote and checks that the rows rise and
// keep the limits of a segment.
func DecodeRows(b []byte) ([]Row, error) {
	if len(b)%RowBytes != 0 {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrRows)
	}
	rows := make([]Row, len(b)/RowBytes)
	last := uint64(0)
	for i := range rows {
		r := &rows[i]
		r.First = binary.BigEndian.Uint64(b)
		r.Live = binary.BigEndian.Uint32(b[8:])
		copy(r.Checksum[:], b[12:])
		b = b[RowBytes:]
		if r.First <= last || r.Live == 0 || r.Live > SegmentCounters {
			return nil, fmt.Errorf("row %d: first %d after %d, %d live: %w", i, r.First, last, r.Live, ErrRows)
		}
		last = r.First
	}
	return rows, nil
}

// Fingerprint returns the log fingerprint of a segment list: the hash of the
// hashes of its pages of 64 rows.
func Fingerprint(rows []Row) identity.Hash {
	pages := make([]byte, 0, (len(rows)/pageRows+1)*identity.HashBytes)
	var buf [pageRows * RowBytes]byte
	for len(rows) > 0 {
		n := min(pageRows, len(rows))
		h := labelPage.Hash(AppendRows(buf[:0], rows[:n]))
		pages = append(pages, h[:]...)
		rows = rows[n:]
	}
	return labelFingerprint.Hash(pages)
}
