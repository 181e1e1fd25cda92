package mesh

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// maxAlarms is how many alarms of a session may wait to be heeded: as many as
// a Hello can cause, and some.
const maxAlarms = wire.MaxHeld + 32

// converse runs a session over a connection until it ends, and closes the
// connection. at is the address that was dialled on the LAN, if it was. began,
// if not nil, is called with the link when it has a session.
func (n *Node) converse(ctx context.Context, conn Conn, at discovery.Address, once bool, began func(*peerLink)) (exchange.Report, error) {
	sessionCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := watch(conn, n.cfg.Clock)
	l := &peerLink{
		peer: conn.Peer().ID(), conn: watched, address: at, since: n.cfg.Clock.Now(), stop: stop,
		stranger: !n.admission(conn.Peer()).Admits(),
	}
	log := n.cfg.Logger.With("peer", l.peer.Short(), "transport", conn.Transport())
	alarms := make(chan exchange.Alarm, maxAlarms)
	session, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: conn.Peer(), Admission: n.admission, Codec: n.cfg.Codec,
			Software: n.cfg.Software, Timing: n.cfg.Timing,
			OneShot: once, Satisfied: n.receipted, Routes: n.routes,
		},
		Replica: n.cfg.Replica, Stream: watched, Limits: n.cfg.Limits, Clock: n.cfg.Clock,
		Alarm: func(a exchange.Alarm) {
			select {
			case alarms <- a:
			default: // the same will be raised by the next session
			}
		},
	})
	if err != nil {
		conn.Close()
		return exchange.Report{}, err
	}
	l.session = session
	if err := n.links.add(l); err != nil {
		turnAway(conn, n.cfg.Clock, err)
		return exchange.Report{}, err
	}
	defer n.links.remove(l)
	n.beginCounting(l)
	defer n.endCounting(l)
	if began != nil {
		began(l)
	}
	var heeding sync.WaitGroup
	heeding.Go(func() { n.heed(ctx, l, log, alarms) })
	err = session.Run(sessionCtx)
	n.remember(l)
	close(alarms)
	heeding.Wait()
	n.logEnd(l, log)
	if c, ok := errors.AsType[*link.CloseError](watched.end); ok && c.Remote && c.Code == link.CodeBusy {
		err = errBusy
	}
	return session.Report(), err
}

// watchedConn remembers what a session cannot tell.
type watchedConn struct {
	Conn
	clock exchange.Clock
	heard atomic.Pointer[time.Time] // when something was last read
	end   error                     // of the last Read, once the session is over
}

func watch(conn Conn, clock exchange.Clock) *watchedConn {
	w := &watchedConn{Conn: conn, clock: clock}
	now := clock.Now()
	w.heard.Store(&now)
	return w
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.end = err
	} else {
		now := w.clock.Now()
		w.heard.Store(&now)
	}
	return n, err
}

// admission is what the roster says of a peer. The time of day is not asked:
// nobody vouches for a device's clock, and the roster's own is a floor.
func (n *Node) admission(peer identity.DevicePublic) exchange.Standing {
	return exchange.Judge(n.cfg.Replica.Roster(), peer, 0)
}

// receipted reports whether everything that this device has written, in all its
// incarnations, is known to be safe with the coordinator.
func (n *Node) receipted() bool {
	for _, h := range n.cfg.Replica.HeadsOf(n.cfg.Identity.Public().ID()) {
		if n.cfg.Replica.Receipted(h.Log) < h.Counter {
			return false
		}
	}
	return true
}

// heed deals with the alarms of a session, those that it raised at its very end
// included. If this device begins a new incarnation for them, or sets a log aside,
// the session ends: it speaks for what was before.
func (n *Node) heed(ctx context.Context, l *peerLink, log *slog.Logger, alarms <-chan exchange.Alarm) {
	for a := range alarms {
		if n.alarms.first(a) {
			log.Warn("alarm", "kind", a.Kind, "log", a.Log.Short(), "error", a.Err)
			n.cfg.Alarm(a)
		}
		if a.Kind != exchange.AlarmCopy && a.Head == nil {
			continue
		}
		var head records.Head
		if a.Head != nil {
			head = *a.Head
		}
		before := n.cfg.Replica.Certificate()
		if a.Kind == exchange.AlarmCopy && l.session.Report().Certificate.Author != before.Author {
			continue // the copies tell their logs apart already
		}
		if changed, err := n.cfg.Behind(ctx, head, l.peer); err != nil {
			log.Error("cannot continue as a new incarnation; restart the device if this goes on", "error", err)
		} else if changed {
			l.stop(&exchange.EndError{Code: wire.CodeReplaced, Words: "continues as a new incarnation"})
		}
	}
}

func (n *Node) logEnd(l *peerLink, log *slog.Logger) {
	r := l.session.Report()
	level := slog.LevelInfo
	switch {
	case r.Blame != "":
		level = slog.LevelWarn
	case !accepted(r):
		level = slog.LevelDebug
	}
	log.Log(context.Background(), level, "session ended", "code", r.Code, "words", r.Words, "by_peer", r.Remote, "blame", r.Blame,
		"sent", r.RecordsSent, "received", r.RecordsReceived, "bytes_sent", r.BytesSent, "bytes_received", r.BytesReceived)
}
