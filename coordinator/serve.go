package coordinator

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// maxSessionsOfDevice is how many starts and incarnations of one device may
// have a session at a time: more than one only while there are copies of it.
const maxSessionsOfDevice = 4

// pruneEvery is after how many sessions of a zone old records are deleted.
const pruneEvery = 512

// serving is one connection that is served.
type serving struct {
	conn   *link.Conn
	cancel context.CancelCauseFunc

	author identity.AuthorPublic // of the device's incarnation
	start  identity.StartID
}

// replaced ends a session that a newer one takes the place of.
var replaced = &exchange.EndError{Code: wire.CodeReplaced, Words: "a newer session of this device goes on"}

// Serve speaks the exchange with whoever is at the other end, until one side
// ends it or ctx does, and closes the connection. It waits for Run to have
// begun.
func (c *Coordinator) Serve(ctx context.Context, conn *link.Conn) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &serving{conn: conn, cancel: cancel}
	leave, err := c.enterServing(s)
	if err != nil {
		conn.CloseWithError(link.CodeStopping, "stopping")
		return
	}
	defer leave()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		conn.CloseWithError(link.CodeBusy, "too many sessions at the coordinator; try again later")
		return
	}
	select {
	case <-c.prepared:
		c.greet(ctx, s)
	case <-ctx.Done():
		conn.CloseWithError(link.CodeStopping, "stopping")
	}
}

func (c *Coordinator) enterServing(s *serving) (leave func(), err error) {
	done, err := c.enter()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving[s] = struct{}{}
	if c.stopping {
		s.cancel(ErrStopped)
	}
	return func() {
		c.mu.Lock()
		delete(c.serving, s)
		c.mu.Unlock()
		done()
	}, nil
}

// greet reads the Hello, which says of which zone the peer is.
func (c *Coordinator) greet(ctx context.Context, s *serving) {
	conn := s.conn
	logger := c.cfg.Logger.With("device", conn.Peer().ID().Short(), "remote", conn.RemoteAddr().String())
	unhurried := context.AfterFunc(ctx, func() { conn.CloseWithError(link.CodeStopping, "stopping") })
	conn.SetReadDeadline(time.Now().Add(c.cfg.Timing.Greeting))
	reader := wire.NewReader(conn)
	hello, err := exchange.ReadHello(reader)
	if !unhurried() {
		return // ctx ended
	}
	switch {
	case errors.Is(err, wire.ErrMessage):
		logger.Debug("a peer does not keep to the protocol", "error", err)
		bye(conn, wire.CodeProtocol, "a session begins with a Hello")
		return
	case err != nil:
		logger.Debug("a peer said nothing", "error", err)
		conn.CloseWithError(link.CodeFault, "nothing was heard")
		return
	}
	conn.SetReadDeadline(time.Time{})

	z, err := c.zones.acquire(ctx, hello.Zone)
	switch {
	case errors.Is(err, ErrNotFound):
		logger.Info("a device of an unknown zone was sent away", "zone", hello.Zone)
		bye(conn, wire.CodeUnknown, "")
		return
	case err != nil:
		if ctx.Err() == nil {
			logger.Error("a zone could not be opened for a session", "zone", hello.Zone, "error", err)
		}
		bye(conn, wire.CodeFault, "the coordinator cannot open the zone")
		return
	}
	defer c.zones.release(z)
	z.converse(ctx, s, reader, hello)
}

// bye ends a connection before there is a session.
func bye(conn *link.Conn, code wire.Code, words string) {
	conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
	conn.Write(wire.AppendFrame(nil, wire.NewBye(code, words))) // whether it arrives is the peer's concern
	conn.Close()
}

// converse runs the session, with its record.
func (z *zone) converse(ctx context.Context, s *serving, reader *wire.Reader, hello *wire.Hello) {
	c, peer := z.c, s.conn.Peer()
	device := peer.ID()
	logger := z.logger.With("device", device.Short())
	session, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: peer,
			Admission: func(p identity.DevicePublic) exchange.Standing {
				return exchange.Judge(z.replica.Roster(), p, c.cfg.Now().UnixMilli())
			},
			Codec: c.codec, Software: c.cfg.Software, Timing: c.cfg.Timing,
		},
		Replica: z.replica, Stream: s.conn, Limits: c.limits,
		Alarm:  func(a exchange.Alarm) { z.alarm(logger, a) },
		Reader: reader, Hello: hello,
	})
	if err != nil {
		logger.Error("a session could not be made", "error", err)
		bye(s.conn, wire.CodeFault, "a fault of this side")
		return
	}
	record := Session{
		Zone: z.id, Device: device, Incarnation: hello.Certificate.Sequence, Start: hello.Start,
		Remote: s.conn.RemoteAddr().String(), Transport: string(s.conn.Transport()), Software: hello.Software,
		Opened: c.cfg.Now(), Outcome: OutcomeOpen,
	}
	genuine := hello.Certificate.Device == peer && hello.Certificate.Zone == z.id
	known := genuine && z.replica.Roster().MayConnect(device) == nil
	if known {
		z.begin(s, device, hello)
		defer z.end(s, device)
		z.meet(ctx, hello.Certificate)
		z.open(ctx, &record)
	}
	c.tally.began(session)
	err = session.Run(ctx)
	report := session.Report()
	if !known && report.Standing.Admits() {
		z.open(ctx, &record) // it brought the roster that lists it
	}
	z.closeRecord(ctx, &record, report, context.Cause(ctx))
	c.tally.ended(session, record.Outcome)
	logger.Info("session ended", "outcome", record.Outcome, "records_sent", report.RecordsSent, "records_received", report.RecordsReceived, "error", err)
}

// begin lists a session, and ends those that it takes the place of.
func (z *zone) begin(s *serving, device identity.DeviceID, hello *wire.Hello) {
	s.author, s.start = hello.Certificate.Author, hello.Start
	z.mu.Lock()
	defer z.mu.Unlock()
	list := slices.DeleteFunc(z.live[device], func(old *serving) bool {
		same := old.author == s.author && old.start == s.start
		if same {
			old.cancel(replaced)
		}
		return same
	})
	for len(list) >= maxSessionsOfDevice {
		list[0].cancel(replaced)
		list = list[1:]
	}
	z.live[device] = append(list, s)
	if z.broken.Load() {
		s.cancel(&exchange.EndError{Code: wire.CodeFault, Words: "a fault of this side"})
	}
}

func (z *zone) end(s *serving, device identity.DeviceID) {
	z.mu.Lock()
	defer z.mu.Unlock()
	list := slices.DeleteFunc(z.live[device], func(other *serving) bool { return other == s })
	if z.live[device] = list; len(list) == 0 {
		delete(z.live, device)
	}
}

// meet lists the incarnation of a device that has met the coordinator, and
// renews its lease, in one roster if either says something new.
func (z *zone) meet(ctx context.Context, cert identity.Certificate) {
	err := z.edit(ctx, func(r *roster.Roster) (*roster.Roster, error) {
		next, err := r, error(nil)
		if d, _ := r.Device(cert.Device.ID()); len(d.Incarnations) < maxEnds {
			next, err = r.ListIncarnation(cert)
		}
		if err != nil {
			z.logger.Warn("an incarnation is not admitted", "device", cert.Device.ID().Short(), "error", err)
			next = r
		}
		return next.RenewLease(cert.Device.ID(), z.c.leaseStart(next))
	})
	if err != nil {
		// Records are taken all the same: they matter more than the lease.
		z.logger.Error("an incarnation could not be listed or a lease renewed", "device", cert.Device.ID().Short(), "error", err)
	}
}

// leaseStart is the time from which a lease runs that is given by a successor
// of r, in milliseconds since 1970. Everybody judges leases by the latest time
// that the coordinator has signed, so its clock, set back, must not shorten
// them.
func (c *Coordinator) leaseStart(r *roster.Roster) int64 {
	return max(c.cfg.Now().UnixMilli(), r.Signed)
}

// open stores the record of a session that begins. Without room for it the
// session goes on all the same.
func (z *zone) open(ctx context.Context, record *Session) {
	var err error
	if record.Number, err = z.c.cfg.Storage.OpenSession(context.WithoutCancel(ctx), *record); err != nil {
		z.logger.Error("the record of a session could not be stored", "error", err)
		return
	}
	if record.Number%pruneEvery == 0 {
		z.prune(ctx)
	}
}

// closeRecord stores how a session ended.
func (z *zone) closeRecord(ctx context.Context, record *Session, r exchange.Report, cause error) {
	record.Closed, record.Outcome, record.Words = z.c.cfg.Now(), outcomeOf(r, cause), cmp.Or(r.Blame, r.Words)
	record.Protocol = r.Version
	record.RecordsSent, record.RecordsReceived = r.RecordsSent, r.RecordsReceived
	record.BytesSent, record.BytesReceived, record.Equal = r.BytesSent, r.BytesReceived, r.Equal
	if record.Number == 0 {
		return
	}
	if err := z.c.cfg.Storage.CloseSession(context.WithoutCancel(ctx), *record); err != nil {
		z.logger.Error("the record of a session could not be closed", "error", err)
	}
}

// outcomeOf puts how a session ended in a word.
func outcomeOf(r exchange.Report, cause error) Outcome {
	switch {
	case errors.Is(cause, replaced) || r.Code == wire.CodeReplaced:
		return OutcomeReplaced
	case r.Blame != "":
		return OutcomeBlamed
	}
	switch r.Code {
	case wire.CodeDone:
		return OutcomeDone
	case wire.CodeStopping:
		return OutcomeStopped
	case wire.CodeUnknown, wire.CodeRevoked:
		return OutcomeRefused
	case wire.CodeTimeout:
		return OutcomeBroken
	case wire.CodeFault:
		if r.Remote {
			return OutcomeBroken
		}
		return OutcomeFailed
	}
	return OutcomeBlamed
}

// alarm tells those who look after the coordinator, and heals what can be.
func (z *zone) alarm(logger *slog.Logger, a exchange.Alarm) {
	logger.Warn("a session raised an alarm", "alarm", a.Kind.String(), "error", a.Err)
	switch {
	case errors.Is(a.Err, roster.ErrConflictingRoster):
		z.conflict.Store(true)
	case a.Head != nil: // of a log that is held otherwise here, perhaps the coordinator's own
		z.behind.Store(a.Head)
	default:
		return
	}
	z.c.schedule(z)
}
