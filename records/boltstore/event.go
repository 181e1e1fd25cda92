package boltstore

import (
	"encoding/binary"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// groupCounters is how many counters one row of the index of events covers: about
// as many as a run, which is opened as a whole.
const groupCounters = 1024

// eventKey is the key of a row of the index of events.
type eventKey [16 + 1 + 4 + 8]byte

func newEventKey(env *records.Envelope, s records.Slot, counter uint64) (k eventKey) {
	copy(k[:], env.Learner[:])
	k[16] = byte(env.Kind.Lane())
	binary.BigEndian.PutUint32(k[17:], uint32(s))
	binary.BigEndian.PutUint64(k[21:], counter/groupCounters)
	return k
}

func (t *readTx) Events(learner identity.UserID, lane identity.Lane, fn func(records.Slot, records.Entry) error) error {
	prefix := append(learner[:len(learner):len(learner)], byte(lane))
	return t.scan(events, prefix, nil, func(k, _ []byte) (bool, error) {
		if len(k) != len(eventKey{}) {
			return false, damagedKey(events, k)
		}
		slot := records.Slot(binary.BigEndian.Uint32(k[17:]))
		first := binary.BigEndian.Uint64(k[21:]) * groupCounters
		return false, t.Entries(slot, first, first+groupCounters-1, func(e records.Entry) error {
			env, err := records.DecodeEnvelope(e.Envelope)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", e.Counter, records.ErrDamaged, err)
			}
			if env.Register || env.Learner != learner || env.Kind.Lane() != lane {
				return nil
			}
			return fn(slot, e)
		})
	})
}
