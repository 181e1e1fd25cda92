package web

import (
	"context"
	"sync"

	"github.com/classmesh/classmesh/records/identity"
)

// maxRepeats is how many requests are remembered, those of all people
// together: hours of work of a school.
const maxRepeats = 8192

// repeats remembers what was answered to recent requests that carry an ID, so
// that one which is sent again, because the answer was lost, counts once. Of
// two that come at the same time, the second waits for the first.
type repeats struct {
	mu    sync.Mutex
	list  map[repeatKey]*repeat
	order []repeatKey // oldest first
}

// repeatKey is who has sent which request. When IDs are joined or parted, the person's
// questions begin elsewhere and may come once more: answers to former ones are none to them.
type repeatKey struct {
	account identity.UserID
	person  string // all IDs, one after the other
	id      string
}

// request names a request of who makes the visit.
func (v *visit) request(id string) repeatKey {
	var person []byte
	for i := range v.person.IDs {
		person = append(person, v.person.IDs[i][:]...)
	}
	return repeatKey{v.account, string(person), id}
}

// repeat is one request. done is closed when the rest is set; a request that
// failed is not remembered.
type repeat struct {
	done   chan struct{}
	ask    any // comparable
	answer any
	err    error
}

// once runs f, unless the same account has sent a request with the same ID
// before: then it returns the former answer, and repeated. An ID that was used
// for another request is [errIDReused]. No ID: f always runs.
func (r *repeats) once(ctx context.Context, k repeatKey, ask any, f func() (any, error)) (answer any, repeated bool, err error) {
	if k.id == "" {
		answer, err = f()
		return answer, false, err
	}
	r.mu.Lock()
	if e := r.list[k]; e != nil {
		r.mu.Unlock()
		if e.ask != ask {
			return nil, false, errIDReused
		}
		select {
		case <-e.done:
			return e.answer, true, e.err
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	if r.list == nil {
		r.list = map[repeatKey]*repeat{}
	}
	e := &repeat{done: make(chan struct{}), ask: ask}
	r.list[k] = e
	r.order = append(r.order, k)
	for len(r.order) > maxRepeats {
		delete(r.list, r.order[0])
		r.order = r.order[1:]
	}
	r.mu.Unlock()

	e.err = errInterrupted // should f panic
	defer func() {
		if e.err != nil {
			r.forget(k, e)
		}
		close(e.done)
	}()
	e.answer, e.err = f()
	return e.answer, false, e.err
}

func (r *repeats) forget(k repeatKey, e *repeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list[k] == e {
		delete(r.list, k)
	}
}

// recall returns the answer to a former request, or nil.
func (r *repeats) recall(k repeatKey) any {
	r.mu.Lock()
	e := r.list[k]
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	select {
	case <-e.done:
		return e.answer
	default:
		return nil
	}
}
