package main

import (
	"context"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// generateOptions say what classes to make up.
type generateOptions struct {
	Learners int    `json:"learners"`
	Days     int    `json:"days"`
	Seed     uint64 `json:"seed"`
	Class    int    `json:"class"`    // learners in a class; 0: 30
	Password string `json:"password"` // of all learners; empty: they cannot sign in
	Batch    int    `json:"batch"`    // answers in one commit; 0: 256
}

// generateReport says what was made up.
type generateReport struct {
	Classes   int      `json:"classes"`
	Learners  int      `json:"learners"`
	Attempts  int      `json:"attempts"`
	Viewings  int      `json:"viewings"`
	Usernames []string `json:"usernames"`
}

// Limits of what is made up at a time.
const (
	maxLearners = 100_000
	maxDays     = 3660
)

// generate makes up classes that work with the content of this device. While
// nobody else uses the data, the times are those of the days made up;
// otherwise real work goes on beside it, and keeps the real time.
func (d *device) generate(ctx context.Context, o generateOptions) (generateReport, error) {
	if o.Learners < 1 || o.Learners > maxLearners || o.Days < 0 || o.Days > maxDays {
		return generateReport{}, usagef("generate %d learners and %d days: want 1 to %d learners and at most %d days", o.Learners, o.Days, maxLearners, maxDays)
	}
	library, err := shippedLibrary()
	if err != nil {
		return generateReport{}, err
	}
	cfg := classroom.GenerateConfig{
		Replica: d.replica, Gate: d.gate, Learners: o.Learners, ClassSize: o.Class, Days: o.Days,
		Seed: o.Seed, Until: d.now(), Password: o.Password, Batch: o.Batch,
	}
	for _, c := range library.Contents() {
		if e := c.Exercise; e != nil {
			cfg.Exercises = append(cfg.Exercises, classroom.GeneratedExercise{ID: e.ID, Items: e.Items(), Needed: e.Needed, Base: e.Points})
		} else if v := c.Video; v != nil {
			cfg.Videos = append(cfg.Videos, classroom.GeneratedVideo{ID: v.ID, Duration: v.Duration, Worth: v.Points})
		}
	}
	if d.node == nil {
		cfg.SetTime = func(t time.Time) { d.clock.set.Store(&t) }
		defer d.clock.set.Store(nil)
	}
	g, err := classroom.Generate(ctx, cfg)
	return generateReport{len(g.Classes), len(g.Learners), g.Attempts, g.Viewings, g.Usernames}, err
}

// shippedLibrary is all content that is part of the program.
func shippedLibrary() (*content.Library, error) {
	packs, err := content.Shipped()
	if err != nil {
		return nil, fmt.Errorf("load content: %w", err)
	}
	return content.NewLibrary(packs...)
}
