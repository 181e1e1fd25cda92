package classroom

import (
	"context"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of commands. What they wrap says more, and what to do.
var (
	// ErrNotAdministrates: only a device that administrates the zone may give
	// roles and set the passwords of teachers and administrators.
	ErrNotAdministrates = errors.New("this device does not administrate the zone: do it on one that does, or let the coordinator name this one")
	// ErrNotClassroom: this device may keep progress, but not change people
	// and groups.
	ErrNotClassroom = errors.New("this device may not change people and groups: do it on another, or let the coordinator allow it")
	// ErrInput: what was asked for cannot be recorded.
	ErrInput = errors.New("not accepted")
	// ErrUnknown: there is no such person or group.
	ErrUnknown = errors.New("not known here")
)

// writer is one command's share of a commit. It refuses to write what this
// device may not author, which every replica would ignore.
type writer struct {
	*records.Draft
	replica *records.Replica
	actor   identity.UserID // who acts, if it is not the learner
}

// write runs a command as one atomic, durable write.
func write(ctx context.Context, r *records.Replica, actor identity.UserID, what string, f func(*writer) error) error {
	err := r.Write(ctx, func(d *records.Draft) error { return f(&writer{d, r, actor}) })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// mayAuthor reports whether what this device writes in records of a kind
// counts.
func mayAuthor(ros *roster.Roster, device identity.DeviceID, k records.Kind) error {
	switch {
	case ros.MayAuthor(device, k.Class()):
		return nil
	case k.Class() == roster.ClassClassroom:
		return ErrNotClassroom
	}
	return ErrNotAdministrates
}

// MayEnrol reports whether a device may change people and groups, and staff as well.
func MayEnrol(ros *roster.Roster, device identity.DeviceID) (people, staff bool) {
	return mayAuthor(ros, device, KindUser) == nil, mayAuthor(ros, device, KindRole) == nil
}

// put writes a register.
func (w *writer) put(k records.RegisterKey, body message.Message) error {
	return w.write(records.Record{Kind: k.Kind, Register: true, Key: []byte(k.Key), Learner: k.Learner}, body)
}

// event writes an event.
func (w *writer) event(k records.Kind, learner identity.UserID, body message.Message) error {
	return w.write(records.Record{Kind: k, Learner: learner}, body)
}

func (w *writer) write(rec records.Record, body message.Message) error {
	err := mayAuthor(w.Roster(), w.replica.Device(), rec.Kind)
	if err != nil {
		return err
	}
	if s, ok := body.(salted); ok {
		if err := w.Random(s.salt()[:]); err != nil {
			return fmt.Errorf("draw salt: %w", err)
		}
	}
	if rec.Body, err = message.Encode(body, records.MaxBodyBytes); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	rec.Actor = w.actor
	_, err = w.Put(rec)
	return err
}

// source is what this device's own versions count for in a lane.
func (w *writer) source(lane identity.Lane, learner identity.UserID) Source {
	return Source{w.replica.Certificate().Log(lane), learner}
}

// own returns what this incarnation has written in a register so far, or a
// zero body. Whoever writes the register again starts from it, and so keeps
// the fields that this release does not know.
func own[B any, P bodyOf[B]](w *writer, k records.RegisterKey) (body B, register records.OwnRegister, err error) {
	register, ok, err := w.Own(k)
	if err != nil || !ok {
		return body, register, err
	}
	if err := message.Decode(register.Body, P(&body), records.MaxBodyBytes); err != nil {
		return body, register, fmt.Errorf("read own %v register, written by another release: %w", k.Kind, err)
	}
	return body, register, nil
}

// ownCount is own for a register that counts. If the version is one that was
// published again for an earlier incarnation, it is set aside, and counting
// starts from zero.
func ownCount[B any, P interface {
	*B
	carrier
}](w *writer, k records.RegisterKey) (B, error) {
	body, register, err := own[B, P](w, k)
	if o := register.Envelope.Origin; err == nil && o != nil {
		formers := *P(&body).formers()
		*P(&body).formers() = nil
		formers = append(formers, Former{o.Log, message.Append(nil, P(&body))})
		body = *new(B)
		*P(&body).formers() = formers
	}
	return body, err
}

// progressOf gives add all that is held of a register of a person, in every
// log and under each of the person's IDs, and returns this log's own version,
// to go on from.
func progressOf[B any, P interface {
	*B
	carrier
}](w *writer, person []identity.UserID, k records.RegisterKey, add func(created int64, v Version[B])) (body B, err error) {
	created := w.Roster().Created
	for _, id := range person {
		p := records.RegisterPrefix{Kind: k.Kind, Learner: &id, Key: &k.Key}
		if err := scan[B, P](&w.View, p, func(_ *records.RegisterRow, v Version[B]) { add(created, v) }); err != nil {
			return body, err
		}
	}
	return ownCount[B, P](w, k)
}

// newID fills a new random identifier.
func (w *writer) newID(id []byte) error {
	if err := w.Random(id); err != nil {
		return fmt.Errorf("draw identifier: %w", err)
	}
	return nil
}
