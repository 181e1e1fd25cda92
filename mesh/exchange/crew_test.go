package exchange

import (
	"sync"
	"testing"
	"testing/synctest"
)

// What a crew is given runs at once, however much runs already; a few of its goroutines
// are there for more, and all of them end with it.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		c := newCrew()
		const many = 3 * spare
		var mu sync.Mutex
		for range 2 {
			running, release := 0, make(chan struct{})
			for range many {
				c.run(func() {
					mu.Lock()
					running++
					mu.Unlock()
					<-release
				})
			}
			synctest.Wait()
			if running != many {
				t.Errorf("%d of %d run", running, many)
			}
			close(release)
			synctest.Wait()
			if len(c.idle) != spare {
				t.Errorf("%d goroutines wait for more, want %d", len(c.idle), spare)
			}
		}
		done, release := false, make(chan struct{})
		c.run(func() { <-release; done = true })
		synctest.Wait()
		if len(c.idle) != spare-1 {
			t.Errorf("%d goroutines wait while one of %d works", len(c.idle), spare)
		}
		close(release)
		c.end()
		if !done {
			t.Error("the crew ended before what it was given")
		}
	})
}
