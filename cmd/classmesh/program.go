package main

import (
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// program is all of the outside world that commands use.
type program struct {
	in     io.Reader
	out    io.Writer // results, and nothing else
	errOut io.Writer // everything for people
	now    func() time.Time
	random io.Reader
	log    *slog.Logger
	level  *slog.LevelVar // of log
}

func newProgram() *program {
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	return &program{
		in: os.Stdin, out: os.Stdout, errOut: os.Stderr,
		now: time.Now, random: rand.Reader,
		log:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		level: level,
	}
}

// settableClock is the time of day, or another that somebody has set: what is
// made up for past weeks gets past times.
type settableClock struct {
	real func() time.Time
	set  atomic.Pointer[time.Time]
}

func (c *settableClock) now() time.Time {
	if t := c.set.Load(); t != nil {
		return *t
	}
	return c.real()
}
