package mesh

import (
	"context"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
)

// How long a log is left to another device although nothing moves.
const (
	// patience is how long word that a log is safe may stay away, and up to half
	// as long again, so that not all lose it at once.
	patience = time.Minute
	// A log is then exchanged by this device itself for firstHold, which
	// doubles with each time that this has to be, up to longestHold.
	firstHold   = time.Minute
	longestHold = 10 * time.Minute
	// shareEvery is how often that is looked at.
	shareEvery = 5 * time.Second
)

// logView is what a sharer knows of a log that another device exchanges.
type logView struct {
	log                identity.LogID
	counter, receipted uint64
}

// sharer judges by receipts whether the devices that are to exchange logs with
// the coordinator do so, and takes the logs of those that do not. It does no I/O
// and has no clock.
type sharer struct {
	draw func(n int) int
	logs map[identity.LogID]*left
}

// left is a log that is left to another device.
type left struct {
	receipted uint64        // when it last moved
	since     time.Time     // it is not safe, and has not moved, since; zero: it is safe
	wait      time.Duration // how long that is borne
	until     time.Time     // this device exchanges it itself
	hold      time.Duration // how long it last did; 0: it never had to
}

func newSharer(draw func(n int) int) *sharer {
	return &sharer{draw: draw, logs: map[identity.LogID]*left{}}
}

// step returns the logs that this device exchanges although another one should.
func (s *sharer) step(now time.Time, logs []logView) (also []identity.LogID) {
	seen := map[identity.LogID]bool{}
	for _, v := range logs {
		seen[v.log] = true
		l := s.logs[v.log]
		if l == nil {
			l = &left{}
			s.logs[v.log] = l
		}
		switch {
		case v.receipted >= v.counter:
			l.since = time.Time{}
			if now.Sub(l.until) > longestHold {
				l.hold = 0 // that was long ago
			}
		case l.since.IsZero() || v.receipted != l.receipted:
			l.since, l.wait = now, patience+time.Duration(s.draw(1000))*patience/2000
		case now.Sub(l.since) >= l.wait:
			l.hold = min(max(2*l.hold, firstHold), longestHold)
			l.since, l.until = now, now.Add(l.hold+time.Duration(s.draw(1000))*l.hold/4000)
		}
		l.receipted = v.receipted
		if l.until.After(now) {
			also = append(also, v.log)
		}
	}
	for log := range s.logs {
		if !seen[log] {
			delete(s.logs, log) // it is this device's to exchange now
		}
	}
	return also
}

// runSharing tells the session with the coordinator, if there is one, with whom
// it is shared, until ctx is done.
func (n *Node) runSharing(ctx context.Context) {
	for n.passes(ctx, shareEvery) {
		n.mu.Lock()
		l := n.uplink.link
		n.mu.Unlock()
		if l != nil && l.accepted() {
			n.share(l)
		}
	}
}

// share tells a session with the coordinator with whom it is shared.
func (n *Node) share(l *peerLink) {
	if n.lan == nil {
		return
	}
	var with exchange.Sharing
	now := n.cfg.Clock.Now()
	for _, c := range n.lan.candidates(now) {
		if c.uplink && c.likely {
			with.Among = append(with.Among, c.device)
		}
	}
	own := map[identity.LogID]bool{}
	for _, lane := range identity.Lanes {
		own[n.cfg.Replica.Certificate().Log(lane)] = true
	}
	for _, h := range n.cfg.Replica.HeadsOf(n.self()) {
		own[h.Log] = true
	}
	var others []logView
	for _, row := range n.cfg.Replica.State().Rows {
		author, _ := n.cfg.Replica.AuthorOf(row.Log)
		if !own[row.Log] && !exchange.Carries(n.self(), with.Among, row.Log, author.Device.ID()) {
			others = append(others, logView{row.Log, row.Counter, n.cfg.Replica.Receipted(row.Log)})
		}
	}
	n.mu.Lock()
	with.Also = n.sharer.step(now, others)
	n.mu.Unlock()
	l.session.Share(with)
}
