package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/mesh/wire"
)

// SessionConfig is what a [Session] is made of. Config.Peer, Config.Admission,
// Config.Codec, Replica, Stream and Limits are required; Config.Local is taken
// from Replica.
type SessionConfig struct {
	Config
	Replica Replica
	// Stream is the authenticated channel, such as a link.Conn. Run closes it.
	// Close must wake a Read and a Write that are waiting, and after a failed
	// Write, Read must fail as well once what had arrived was read.
	Stream io.ReadWriteCloser
	Limits *Limits
	Clock  Clock // nil: SystemClock
	// Alarm is told what those who look after the device must know. It is
	// called by Run and must not block. Nil: nobody is told.
	Alarm func(Alarm)

	// Reader and Hello are given together if the peer's Hello was read before,
	// by [ReadHello], to find out of which zone it is.
	Reader *wire.Reader
	Hello  *wire.Hello
}

// ReadHello reads the Hello with which a peer begins. The caller bounds how
// long that may take. What does not begin with a Hello is [wire.ErrMessage].
func ReadHello(r *wire.Reader) (*wire.Hello, error) {
	m, _, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		return nil, fmt.Errorf("read hello: the peer began with type %d: %w", m.Type(), wire.ErrMessage)
	}
	return hello, nil
}

// EndError is how a session ended that did not end well.
type EndError struct {
	Code   wire.Code
	Words  string
	Remote bool // the peer ended it
}

// Error says who ended the session, and why.
func (e *EndError) Error() string {
	by := "this side"
	if e.Remote {
		by = "the peer"
	}
	s := fmt.Sprintf("session ended by %s (%v)", by, e.Code)
	if e.Words != "" {
		s += ": " + e.Words
	}
	return s
}

// Session runs a [Machine] over a stream and a replica.
type Session struct {
	cfg     SessionConfig
	machine *Machine
	worker  worker
	crew    *crew
	mail    *mailbox
	out     *outbox
	timers  [timers]struct {
		generation int
		stop       func()
	}

	sent, received atomic.Uint64
	stalled        atomic.Bool // a write did not move in time
	mu             sync.Mutex  // guards what follows and the machine, which only Run changes
	report         Report
}

// NewSession returns a session that [Session.Run] runs, once.
func NewSession(cfg SessionConfig) (*Session, error) {
	switch {
	case cfg.Replica == nil || cfg.Stream == nil || cfg.Limits == nil || cfg.Codec == nil || cfg.Admission == nil:
		return nil, errors.New("new session: Replica, Stream, Limits, Codec and Admission are required")
	case (cfg.Hello == nil) != (cfg.Reader == nil):
		return nil, errors.New("new session: Hello and Reader belong together")
	}
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	if cfg.Alarm == nil {
		cfg.Alarm = func(Alarm) {}
	}
	cfg.Config.Local = cfg.Replica
	mail := newMailbox()
	cfg.Config.Wake = func() { mail.put(Woken{}) }
	s := &Session{
		cfg:     cfg,
		machine: New(cfg.Config),
		worker:  worker{replica: cfg.Replica, codec: cfg.Codec, limits: cfg.Limits},
		crew:    newCrew(),
		mail:    mail,
		out:     newOutbox(),
	}
	if cfg.Hello != nil { // it came over this stream, before
		s.received.Store(uint64(len(wire.AppendFrame(nil, cfg.Hello))))
	}
	s.report = s.machine.Report()
	return s, nil
}

// Report returns what there is to say about the session so far. It may be
// called at any time.
func (s *Session) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.BytesSent, r.BytesReceived = s.sent.Load(), s.received.Load()
	return r
}

// Compare has both sides compared in full as soon as nothing is left to ask for,
// instead of when that is due, and what is lacking here fetched. It may be called
// at any time, and returns at once.
func (s *Session) Compare() { s.mail.put(Compare{}) }

// readAhead is how many messages the machine is told at a time: of those that come in
// one packet, what they ask for is done at the same time.
const readAhead = 4

// farewell is how long the last messages may take to be written.
const farewell = 3 * time.Second

// Run exchanges until one side ends the session, the stream breaks, or ctx is
// done, which ends the session with CodeStopping, or as the cause of ctx says
// if that is an [*EndError]. It returns when everything that it started has
// ended and the stream is closed: nil if the session was ended in good order (CodeDone, CodeStopping or CodeReplaced, by whichever
// side), otherwise an [*EndError].
func (s *Session) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	in := make(chan Event, readAhead-1)
	closeStream := sync.OnceValue(s.cfg.Stream.Close)
	written := make(chan struct{})

	stop := s.cfg.Replica.Watch(func(c Change) { s.mail.put(Changed{c}) })
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { s.read(work, in) })
	group.Go(s.sumAhead)
	group.Go(func() {
		defer close(written)
		s.write(work, func() { closeStream() })
	})

	end := s.converse(ctx, work, in)

	s.out.close()
	late := s.cfg.Clock.AfterFunc(farewell, func() { closeStream() })
	<-written
	late()
	cancel()
	closeStream() // wakes the reader
	for i := range s.timers {
		if stop := s.timers[i].stop; stop != nil {
			stop()
		}
	}
	s.crew.end()
	group.Wait()
	if end.Code == wire.CodeDone || end.Code == wire.CodeStopping || end.Code == wire.CodeReplaced {
		return nil
	}
	return &EndError{end.Code, end.Words, end.Remote}
}

// sumAhead has the checksums of a long vector computed, or those of what has changed
// since they last were, while the peer's Hello is on its way.
func (s *Session) sumAhead() {
	if here := s.cfg.Replica.State(); len(here.Rows) >= s.machine.sumsFrom {
		here.Sums(bucketsOf(len(here.Rows)))
	}
}

// converse tells the machine what happens, until it says Close.
func (s *Session) converse(ctx, work context.Context, in <-chan Event) Close {
	if end, over := s.step(work, Started{Wall: s.cfg.Clock.Now().UnixMilli()}); over {
		return end
	}
	if s.cfg.Hello != nil {
		if end, over := s.step(work, Received{s.cfg.Hello}); over {
			return end
		}
	}
	stopping := ctx.Done()
	for {
		var events []Event
		select {
		case e := <-in:
			events = received(append(events, e), in)
		case <-s.mail.wake:
			events = s.mail.take()
		case <-stopping:
			events = append(events, stopFor(context.Cause(ctx)))
		}
		for _, e := range events {
			if f, ok := e.(firing); ok {
				if s.timers[f.timer].generation != f.generation {
					continue // stopped or started anew meanwhile
				}
				e = Fired{f.timer}
			}
			if end, over := s.step(work, e); over {
				return end
			}
		}
	}
}

// received adds what else has come to events, up to readAhead.
func received(events []Event, in <-chan Event) []Event {
	for len(events) < readAhead {
		select {
		case e := <-in:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

// stopFor says how a session ends whose context is done.
func stopFor(cause error) Stop {
	if end, ok := errors.AsType[*EndError](cause); ok {
		return Stop{end.Code, end.Words}
	}
	return Stop{wire.CodeStopping, "stopping"}
}

// firing is a timer that has run out, as it was when it was set.
type firing struct {
	timer      Timer
	generation int
}

func (firing) event() {}

// step tells the machine one event and does what it wants.
func (s *Session) step(work context.Context, e Event) (end Close, over bool) {
	s.mu.Lock()
	effects := s.machine.Step(e)
	s.report = s.machine.Report()
	s.mu.Unlock()
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Send:
			s.out.put(effect)
		case SetTimer:
			s.setTimer(effect)
		case StopTimer:
			s.timers[effect.Timer].generation++
		case Raise:
			s.cfg.Alarm(effect.Alarm)
		case Close:
			end, over = effect, true
		default:
			expected := s.worker.expect(effect) // before anything of it runs
			s.crew.run(func() {
				if done, ok := s.worker.do(work, effect, expected); ok {
					s.mail.put(done)
				}
			})
		}
	}
	return end, over
}

func (s *Session) setTimer(e SetTimer) {
	t := &s.timers[e.Timer]
	if t.stop != nil {
		t.stop()
	}
	t.generation++
	f := firing{e.Timer, t.generation}
	t.stop = s.cfg.Clock.AfterFunc(e.After, func() { s.mail.put(f) })
}

// read gives the peer's messages to the machine, in order: while it is busy, no
// more than twice readAhead are taken off the stream.
func (s *Session) read(ctx context.Context, in chan<- Event) {
	r := s.cfg.Reader
	if r == nil {
		r = wire.NewReader(&watchedReader{s: s, in: s.cfg.Stream})
	}
	for {
		m, n, err := r.Read()
		var e Event = Received{m}
		switch {
		case err != nil && s.stalled.Load(): // and so this side has closed it
			e = Stop{wire.CodeTimeout, "the peer does not read"}
		case err != nil:
			e = Lost{err}
		default:
			s.received.Add(uint64(n))
		}
		select {
		case in <- e:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// watchedReader reports now and then that bytes come in, so that a long
// message over a slow line is not taken for silence.
type watchedReader struct {
	s    *Session
	in   io.Reader
	last time.Time
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if now := w.s.cfg.Clock.Now(); n > 0 && now.Sub(w.last) > time.Second {
		w.last = now
		w.s.mail.put(Heard{})
	}
	return n, err
}

// Sizes of writing: small messages are written together, and a write that does
// not move for Timing.Stall ends the session.
const (
	batchBytes = 32 << 10
	pieceBytes = 16 << 10
)

// write writes what is in the outbox until that is closed and empty, or the
// stream fails.
func (s *Session) write(ctx context.Context, abort func()) {
	var buffer []byte
	for {
		queue, last := s.out.take()
		for len(queue) > 0 {
			cost := 0
			buffer = buffer[:0]
			for len(queue) > 0 && len(buffer) < batchBytes {
				buffer = wire.AppendFrame(buffer, queue[0].Message)
				cost += queue[0].Cost
				queue = queue[1:]
			}
			if err := s.writePieces(buffer, abort); err != nil {
				return // the reader learns why: perhaps from a Bye that came before
			}
			s.sent.Add(uint64(len(buffer)))
			s.mail.put(Written{cost})
		}
		if last {
			return
		}
		select {
		case <-s.out.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Session) writePieces(b []byte, abort func()) error {
	stall := s.machine.cfg.Timing.Stall
	for len(b) > 0 {
		n := min(len(b), pieceBytes)
		stop := s.cfg.Clock.AfterFunc(stall, func() {
			s.stalled.Store(true)
			abort()
		})
		_, err := s.cfg.Stream.Write(b[:n])
		stop()
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
