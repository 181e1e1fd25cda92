package records

import "fmt"

// Clock is a Lamport clock: an era (16 bits), raised only by the coordinator,
// above a count (48 bits). It orders writes to the same field; it has nothing
// to do with the time of day.
type Clock uint64

// MaxClockStep is how far one accept may raise the count; an entry beyond it
// is listed as insane and does not move the clock.
const MaxClockStep = 1 << 32

const countBits = 48

// NewClock composes a clock. The count must be below 2⁴⁸.
func NewClock(era uint16, count uint64) Clock { return Clock(uint64(era)<<countBits | count) }

// Era returns the era.
func (c Clock) Era() uint16 { return uint16(c >> countBits) }

// Count returns the count within the era.
func (c Clock) Count() uint64 { return uint64(c) & (1<<countBits - 1) }

// String returns "era.count".
func (c Clock) String() string { return fmt.Sprintf("%d.%d", c.Era(), c.Count()) }
