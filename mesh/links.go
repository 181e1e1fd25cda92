package mesh

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// peerLink is a connection with its session.
type peerLink struct {
	peer     identity.DeviceID
	conn     *watchedConn
	since    time.Time
	address  discovery.Address       // that was dialled, on the LAN
	stranger bool                    // not a member when it came
	stop     context.CancelCauseFunc // ends the session
	session  *exchange.Session
}

// heard returns when the peer last said something.
func (l *peerLink) heard() time.Time { return *l.conn.heard.Load() }

// accepted reports whether both sides have found that they belong together:
// who does not accept this device does not say Hello to it.
func (l *peerLink) accepted() bool { return accepted(l.session.Report()) }

func accepted(r exchange.Report) bool { return r.Version != 0 && r.Standing.Admits() }

// Why a connection gets no session.
var (
	// errReplaced: the other connection between the two devices is kept.
	errReplaced = errors.New("another connection to the same device is kept")
	// errBusy: there are as many sessions as there may be.
	errBusy = errors.New("too many connections")
)

// maxStrangers is how many connections there may be of devices that the roster
// does not list: they have a few seconds to show a roster that does.
const maxStrangers = 8

// links are the connections that have a session: one for each device, and while
// one takes the place of another, the one that is ending.
type links struct {
	self identity.DeviceID
	most int

	mu        sync.Mutex
	current   map[identity.DeviceID]*peerLink
	running   int // sessions, ending ones included
	strangers int // those of them that are of strangers
}

func newLinks(self identity.DeviceID, most int) *links {
	return &links{self: self, most: most, current: map[identity.DeviceID]*peerLink{}}
}

// add lets a connection have a session, ending that of the connection whose
// place it takes; or says why it may not.
func (s *links) add(l *peerLink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current[l.peer]
	switch {
	case old != nil && !s.prefers(l, old):
		return errReplaced
	case s.running >= s.most || l.stranger && s.strangers >= maxStrangers:
		return errBusy
	}
	if old != nil {
		old.stop(&exchange.EndError{Code: wire.CodeReplaced, Words: errReplaced.Error()})
	}
	s.current[l.peer] = l
	s.running++
	if l.stranger {
		s.strangers++
	}
	return nil
}

// sameMoment is how far apart two connections may be of which both sides dialled
// one without knowing of the other's.
const sameMoment = 3 * time.Second

// prefers reports whether a new connection takes the place of an old one. When
// both sides have dialled in one moment, both keep the connection that the
// smaller device ID has dialled. Who dials while there has been a connection for
// a while, or has dialled twice, has lost the first.
func (s *links) prefers(l, old *peerLink) bool {
	if l.conn.Dialled() == old.conn.Dialled() || l.since.Sub(old.since) >= sameMoment {
		return true
	}
	return l.conn.Dialled() == (s.self.Compare(l.peer) < 0)
}

func (s *links) remove(l *peerLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[l.peer] == l {
		delete(s.current, l.peer)
	}
	s.running--
	if l.stranger {
		s.strangers--
	}
}

// has reports whether there is a connection to a device.
func (s *links) has(d identity.DeviceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current[d] != nil
}

// end ends the connection to a device, if there is one.
func (s *links) end(d identity.DeviceID, why *exchange.EndError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.current[d]; l != nil {
		l.stop(why)
	}
}

// all returns the connections that are current.
func (s *links) all() []*peerLink {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*peerLink, 0, len(s.current))
	for _, l := range s.current {
		list = append(list, l)
	}
	return list
}

// turnAway closes a connection that gets no session, in words that a session
// at the other end understands.
func turnAway(conn Conn, clock exchange.Clock, why error) {
	if !errors.Is(why, errReplaced) {
		conn.CloseWithError(link.CodeBusy, why.Error())
		return
	}
	// Who does not read does not keep this side waiting.
	late := clock.AfterFunc(turnAwayWait, func() { conn.Close() })
	defer late()
	conn.Write(wire.AppendFrame(nil, wire.NewBye(wire.CodeReplaced, why.Error())))
	conn.Close()
}

// turnAwayWait bounds the writing of one small message.
const turnAwayWait = time.Second
