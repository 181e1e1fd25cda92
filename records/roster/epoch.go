package roster

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrEpoch is wrapped by errors about texts that are not an epoch.
var ErrEpoch = errors.New("not a valid epoch")

// Epoch numbers the rosters of a zone. The coordinator begins a new life when
// it was restored from a backup, because it may have signed numbers that it
// no longer knows of. Both parts begin with 1; the zero value stands for
// having no roster.
type Epoch struct {
	Life   uint32
	Number uint64
}

// Compare orders epochs: by life, within it by number.
func (e Epoch) Compare(f Epoch) int {
	return cmp.Or(cmp.Compare(e.Life, f.Life), cmp.Compare(e.Number, f.Number))
}

// Newer reports whether a is later than b.
func Newer(a, b Epoch) bool { return a.Compare(b) > 0 }

// NextLife returns the epoch with which a coordinator begins a new life after
// it was shown seen under its own signature.
func NextLife(seen Epoch) Epoch { return Epoch{Life: seen.Life + 1, Number: 1} }

// IsZero reports whether e stands for having no roster.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String returns "life.number".
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Life, e.Number) }

// ParseEpoch is the inverse of String; it takes no other spelling.
func ParseEpoch(s string) (Epoch, error) {
	life, number, _ := strings.Cut(s, ".")
	l, err1 := strconv.ParseUint(life, 10, 32)
	n, err2 := strconv.ParseUint(number, 10, 64)
	e := Epoch{Life: uint32(l), Number: n}
	if err1 != nil || err2 != nil || e.String() != s {
		return Epoch{}, fmt.Errorf("want two numbers with a dot between: %w", ErrEpoch)
	}
	return e, nil
}

// MarshalText is String.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseEpoch.
func (e *Epoch) UnmarshalText(t []byte) (err error) { *e, err = ParseEpoch(string(t)); return err }
