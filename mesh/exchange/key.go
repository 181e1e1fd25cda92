package exchange

import (
	"errors"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/roster"
)

// keying is what is known of the peer's zone keys.
type keying struct {
	theirs  uint32 // the highest that the peer holds, as far as is known
	heard   uint32 // the last that it sent
	waiting []byte // to be stored: another is, or there was no room
	storing bool
}

// tellKey gives the peer the newest zone key that the roster names, if it is a
// member that may receive and has an older one. A key that the roster does not
// name yet waits for the roster that does: that may be the very one which
// removes the peer from the zone. Only the coordinator, which made them, is
// given any.
func (m *Machine) tellKey() {
	r := m.cfg.Local.Roster()
	for _, k := range m.cfg.Local.Keys() {
		if k.Number > r.KeyNumber && m.cfg.Peer != r.Coordinator {
			continue
		}
		if k.Number > m.key.theirs && m.judge() == Member {
			m.key.theirs = k.Number
			m.send(&wire.Key{Encoded: k.Encode()})
		}
		return
	}
}

// hearKey takes a zone key. Of several that come while one is stored the newest
// is what matters.
func (m *Machine) hearKey(msg *wire.Key) {
	k, err := roster.DecodeZoneKey(msg.Encoded)
	switch {
	case errors.Is(err, roster.ErrNewerFormat):
		m.raise(Alarm{Kind: AlarmKey, Err: err})
		return
	case err != nil:
		m.blame(wire.CodeMismatch, err.Error())
		return
	case k.Number <= m.key.heard:
		m.blame(wire.CodeProtocol, "zone keys that do not ascend")
		return
	}
	m.key.heard, m.key.theirs = k.Number, max(k.Number, m.key.theirs)
	m.key.waiting = msg.Encoded
	m.storeKey()
}

func (m *Machine) storeKey() {
	if m.key.storing || m.key.waiting == nil {
		return
	}
	encoded := m.key.waiting
	m.key.storing, m.key.waiting = true, nil
	m.begin(func(id uint64) Effect { return AcceptKey{id, encoded} }, func(d Done) {
		m.key.storing = false
		if m.phase != open {
			return
		}
		switch judgeError(d.Err) {
		case fine:
		case invalid:
			m.blame(wire.CodeMismatch, d.Err.Error())
			return
		case conflicting:
			m.raise(Alarm{Kind: AlarmKey, Err: d.Err})
		case full:
			m.raise(Alarm{Kind: AlarmFull, Err: d.Err})
			m.setTimer(TimerRetry)
			if m.key.waiting == nil {
				m.key.waiting = encoded
			}
			return
		default:
			m.fault(d.Err)
			return
		}
		m.storeKey()
	})
}

// keyDue reports whether the peer has a newer zone key that may still come.
func (m *Machine) keyDue() bool {
	held := m.key.heard
	if keys := m.cfg.Local.Keys(); len(keys) > 0 {
		held = max(held, keys[0].Number)
	}
	return m.hello.KeyNumber > held
}
