package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// switches are what can be cut off and put back in a demo, and work that can be
// done there.
type switches struct {
	ctx   context.Context // of the demo
	seats []*seat
	clock func() time.Time

	mu sync.Mutex // one change at a time

	notesMu sync.Mutex
	next    int         // counts the work that was done
	notes   []*workNote // the last, newest first
}

// workNote is a piece of work and where it has arrived.
type workNote struct {
	Number   int
	Learner  string
	Room     string
	Arrivals []arrival
}

// maxNotes is how many pieces of work are remembered.
const maxNotes = 6

// everybody stands for all devices where a number is asked for.
const everybody = 0

// errNoDevice: there is no device of that number.
var errNoDevice = errors.New("there is no such device")

// of returns the devices that a number, or everybody, stands for.
func (s *switches) of(number int) ([]*seat, error) {
	if number == everybody {
		return s.seats, nil
	}
	if number < 0 || number > len(s.seats) {
		return nil, fmt.Errorf("%w: %d; they are 1 to %d", errNoDevice, number, len(s.seats))
	}
	return s.seats[number-1 : number], nil
}

// cut cuts devices off, or connects them again.
func (s *switches) cut(w way, number int, out bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seats, err := s.of(number)
	if err != nil {
		return err
	}
	for _, seat := range seats {
		seat.cut(w, out)
	}
	if !out && w == wayLAN {
		s.callAgain()
	}
	return nil
}

// callAgain lets all devices call at once who did not answer.
func (s *switches) callAgain() {
	for _, seat := range s.seats {
		seat.use(func(dev *device) error {
			dev.lan.book.NetworkChanged()
			return nil
		})
	}
}

// power switches devices on or off.
func (s *switches) power(number int, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seats, err := s.of(number)
	if err != nil {
		return err
	}
	return s.powerOf(seats, on)
}

func (s *switches) powerOf(seats []*seat, on bool) error {
	for _, seat := range seats {
		if !on {
			if err := seat.switchOff(); err != nil {
				return fmt.Errorf("switch %s off: %w", seat.name, err)
			}
			continue
		}
		if seat.isOn() {
			continue
		}
		if err := seat.switchOn(s.ctx); err != nil {
			return fmt.Errorf("switch %s on: %w", seat.name, err)
		}
		for _, other := range s.seats {
			if other != seat {
				seat.introduce(other)
				other.introduce(seat)
			}
		}
	}
	return nil
}

// toggle cuts a device off or connects it again; of everybody: cuts all off,
// unless all are cut off.
func (s *switches) toggle(w way, number int) (out bool, err error) {
	seats, err := s.of(number)
	if err != nil {
		return false, err
	}
	for _, seat := range seats {
		out = out || !seat.cables.isOut(seat.id, w)
	}
	return out, s.cut(w, number, out)
}

// restore puts everything back.
func (s *switches) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.powerOf(s.seats, true)
	for _, seat := range s.seats {
		for w := range ways {
			seat.cut(w, false)
		}
	}
	s.callAgain()
	return err
}

// views tell how things stand with all devices.
func (s *switches) views() []seatView {
	list := make([]seatView, len(s.seats))
	for i, seat := range s.seats {
		list[i] = seat.view(i + 1)
	}
	return list
}

// arrival is word that a device has what was done on another.
type arrival struct {
	Name  string        // of the device, or what else has it
	After time.Duration // since it was saved
}

// String says it in words.
func (a arrival) String() string {
	if a.After < time.Second {
		return fmt.Sprintf("%s has it after %d ms", a.Name, max(1, a.After.Milliseconds()))
	}
	return fmt.Sprintf("%s has it after %.1f s", a.Name, a.After.Seconds())
}

// work lets a learner answer a question on a device, and returns who it was. Then
// arrived is called, from another goroutine, for each device that has the answer
// and for the coordinator, until all have it or the demo ends.
func (s *switches) work(number int, arrived func(arrival)) (learner string, err error) {
	if number < 1 || number > len(s.seats) {
		return "", fmt.Errorf("%w: %d; they are 1 to %d", errNoDevice, number, len(s.seats))
	}
	s.notesMu.Lock()
	note := &workNote{Number: s.next, Room: s.seats[number-1].name}
	s.next++
	s.notesMu.Unlock()
	at := s.seats[number-1]
	var wrote []records.LogState
	err = at.use(func(dev *device) error {
		before := counters(dev)
		if learner, err = answerQuestion(s.ctx, dev, note.Number); err != nil {
			return err
		}
		for _, l := range dev.replica.Logs() {
			if l.Own && l.Counter > before[l.BranchRef] {
				wrote = append(wrote, l)
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("let somebody work on %s: %w", at.name, err)
	}
	since := s.clock()
	note.Learner = learner
	s.notesMu.Lock()
	s.notes = append([]*workNote{note}, s.notes[:min(len(s.notes), maxNotes-1)]...)
	s.notesMu.Unlock()
	go s.follow(at, wrote, since, func(a arrival) {
		s.notesMu.Lock()
		note.Arrivals = append(note.Arrivals, a)
		s.notesMu.Unlock()
		arrived(a)
	})
	return learner, nil
}

// lately returns the last pieces of work, newest first.
func (s *switches) lately() (list []workNote) {
	s.notesMu.Lock()
	defer s.notesMu.Unlock()
	for _, n := range s.notes {
		note := *n
		note.Arrivals = slices.Clone(n.Arrivals)
		list = append(list, note)
	}
	return list
}

func counters(dev *device) map[records.BranchRef]uint64 {
	m := map[records.BranchRef]uint64{}
	for _, l := range dev.replica.Logs() {
		m[l.BranchRef] = l.Counter
	}
	return m
}

// follow tells when what was written on a device has arrived elsewhere.
func (s *switches) follow(at *seat, wrote []records.LogState, since time.Time, arrived func(arrival)) {
	waiting := slices.DeleteFunc(slices.Clone(s.seats), func(o *seat) bool { return o == at })
	safe := false
	// Soon it is looked often; what takes long is not told to the millisecond.
	for every := time.Millisecond; (len(waiting) > 0 || !safe) && pause(s.ctx, every) == nil; every = min(every+every/50+1, 250*time.Millisecond) {
		waiting = slices.DeleteFunc(waiting, func(o *seat) bool {
			has := o.use(func(dev *device) error { return holds(counters(dev), wrote) }) == nil
			if has {
				arrived(arrival{o.name, s.clock().Sub(since)})
			}
			return has
		})
		if !safe && at.use(func(dev *device) error { return receipted(dev, wrote) }) == nil {
			safe = true
			arrived(arrival{"the centre", s.clock().Sub(since)})
		}
	}
}

// errNotThere: not all has arrived.
var errNotThere = errors.New("not there yet")

func holds(has map[records.BranchRef]uint64, wrote []records.LogState) error {
	for _, l := range wrote {
		if has[l.BranchRef] < l.Counter {
			return errNotThere
		}
	}
	return nil
}

func receipted(dev *device, wrote []records.LogState) error {
	for _, l := range wrote {
		if dev.replica.Receipted(l.Log) < l.Counter {
			return errNotThere
		}
	}
	return nil
}

// answerQuestion lets the n-th learner, counted round and round, answer a
// question. It returns the learner's name.
func answerQuestion(ctx context.Context, dev *device, n int) (string, error) {
	library, err := shippedLibrary()
	if err != nil {
		return "", err
	}
	var learners []*classroom.Person
	err = dev.replica.Read(ctx, func(v *records.View) error {
		roll, err := classroom.People(v)
		if err != nil {
			return err
		}
		for _, p := range roll.People {
			if p.Role == classroom.RoleLearner {
				learners = append(learners, p)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var exercises []*content.Exercise
	for _, c := range library.Contents() {
		if c.Exercise != nil {
			exercises = append(exercises, c.Exercise)
		}
	}
	if len(learners) == 0 || len(exercises) == 0 {
		return "", errors.New("it has no learners yet")
	}
	who, e := learners[n%len(learners)], exercises[n%len(exercises)]
	item, seed := e.Items()[n%len(e.Items())], uint64(n)
	answer, chosen, correct, err := solve(e, item, seed)
	if err != nil {
		return "", err
	}
	_, err = classroom.RecordAttempt(ctx, dev.replica, classroom.MarkedAnswer{
		Learner: who.ID, Exercise: e.ID, Item: item, Seed: seed, Answer: answer, Chosen: chosen, Correct: correct,
		Taken: 12 * time.Second, Language: "en", Needed: e.Needed, Base: e.Points,
	})
	return who.Name, err
}

// solve finds the answer to a question as a patient child would: by trying.
func solve(e *content.Exercise, item string, seed uint64) (answer string, chosen, correct bool, err error) {
	q, err := e.Question(item, seed, "en")
	if err != nil {
		return "", false, false, err
	}
	var tries []string
	for _, o := range q.Options {
		tries = append(tries, o.ID)
	}
	chosen = len(tries) > 0
	for n := 0; !chosen && n <= 100; n++ {
		tries = append(tries, fmt.Sprint(n))
	}
	for _, try := range tries {
		if m, err := e.Mark(item, seed, try); err == nil && m.Correct {
			return try, chosen, true, nil
		}
	}
	return tries[0], chosen, false, nil
}
