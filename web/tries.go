package web

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"
)

// Limits of wrong passwords. Nobody is ever locked out: who guesses waits, at
// most maxWaitHere from one address for one name, and hardly from other
// addresses, so that no child can shut out another.
const (
	freeTriesHere = 5  // of one name from one address
	freeTriesAll  = 30 // of one name from anywhere
	maxWaitHere   = time.Minute
	maxWaitAll    = 4 * time.Second
	triesForgot   = 15 * time.Minute
	maxTries      = 10_000 // entries
)

// tries counts wrong passwords for each name, and for each name and address.
type tries struct {
	mu   sync.Mutex
	list map[[16]byte]try
}

type try struct {
	wrong int
	last  time.Time
}

// tryKeys returns under what the tries of one name from one address count.
func tryKeys(username, address string) (here, all [16]byte) {
	name := strings.ToLower(strings.Join(strings.Fields(username), " "))
	h := sha256.Sum256([]byte(name + "\x00" + address))
	a := sha256.Sum256([]byte(name))
	return [16]byte(h[:16]), [16]byte(a[:16])
}

// wait returns how long it takes until the next try counts, or 0.
func (t *tries) wait(username, address string, now time.Time) time.Duration {
	here, all := tryKeys(username, address)
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(
		t.list[here].wait(freeTriesHere, maxWaitHere, now),
		t.list[all].wait(freeTriesAll, maxWaitAll, now))
}

func (t try) wait(free int, most time.Duration, now time.Time) time.Duration {
	elapsed := now.Sub(t.last)
	if t.wrong < free || elapsed < 0 || elapsed > triesForgot {
		return 0
	}
	return max(0, min(most, time.Second<<min(t.wrong-free, 10))-elapsed)
}

// wrong notes a wrong password.
func (t *tries) wrong(username, address string, now time.Time) {
	here, all := tryKeys(username, address)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list == nil || len(t.list) >= maxTries {
		t.clean(now)
	}
	for _, k := range [][16]byte{here, all} {
		e := t.list[k]
		if elapsed := now.Sub(e.last); elapsed < 0 || elapsed > triesForgot {
			e.wrong = 0
		}
		t.list[k] = try{min(e.wrong+1, 1000), now}
	}
}

// right forgets what was wrong before.
func (t *tries) right(username, address string) {
	here, _ := tryKeys(username, address)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.list, here)
}

// clean makes room.
func (t *tries) clean(now time.Time) {
	kept := map[[16]byte]try{}
	for k, e := range t.list {
		if elapsed := now.Sub(e.last); elapsed >= 0 && elapsed <= triesForgot && len(kept) < maxTries/2 {
			kept[k] = e
		}
	}
	t.list = kept
}
