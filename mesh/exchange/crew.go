package exchange

import "sync"

// crew runs a session's operations, each at once. Of its goroutines it keeps a few for
// what follows: a new one would first have to find, step by step, how much stack the work
// takes.
type crew struct {
	next chan func()
	all  sync.WaitGroup
	idle chan struct{} // holds a token for each that waits for more
}

// spare is how many goroutines wait for more. A device has a session with each of
// its peers, a coordinator hundreds.
const spare = 2

func newCrew() *crew {
	return &crew{next: make(chan func()), idle: make(chan struct{}, spare)}
}

// run runs f in a goroutine.
func (c *crew) run(f func()) {
	select {
	case c.next <- f:
	default:
		c.all.Go(func() {
			for f := f; f != nil; f = c.wait() {
				f()
			}
		})
	}
}

// wait returns what is to be run next; nil if nothing is, or enough others wait.
func (c *crew) wait() func() {
	select {
	case c.idle <- struct{}{}:
		defer func() { <-c.idle }()
		return <-c.next
	default:
		return nil
	}
}

// end waits until all that was run has ended. Nothing is run afterwards.
func (c *crew) end() {
	close(c.next)
	c.all.Wait()
}
