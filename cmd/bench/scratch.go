package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
)

// scratch is a folder for what need not survive: in memory, if there is such a
// place, since the many devices that make up a zone would else wait for the
// disk most of the time.
func scratch(otherwise string) string {
	const memory = "/dev/shm"
	if f, err := os.CreateTemp(memory, "classmesh-"); err == nil {
		f.Close()
		os.Remove(f.Name())
		return memory
	}
	return otherwise
}

// each calls f for all elements, as many at a time as there are processors, and
// returns the first errors.
func each[T any](ctx context.Context, all []T, f func(int, T) error) error {
	var (
		mu     sync.Mutex
		next   int
		failed error
		wait   sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed != nil || i >= len(all) || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i, all[i]); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(failed, ctx.Err())
}
