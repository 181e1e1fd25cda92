package web

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// maxStandingCells bounds how many cells are kept, those of all learners
// together: ten classes of forty and a hundred contents, about 10 MB.
const maxStandingCells = 40_000

// standing is how far a person is in all contents of the library, as it was
// read once. It does not change, but for the row that was made of it.
type standing struct {
	classroom.Standing
	ids       []identity.UserID
	revisions []records.Revision // of the IDs, when or before it was read
	row       atomic.Pointer[shownRow]
}

// standingCache keeps standings: a class is looked at again and again, and few
// in it have done anything in between.
type standingCache struct {
	// mu guards the list, and is held while reading: so a page that is asked
	// for later never shows less.
	mu   sync.Mutex
	list map[identity.UserID]*standing
}

// place is a learner's place in a class.
type place struct {
	person *classroom.Person
	*standing
}

// standingsOf returns a class, and how far those who learn in it are, by name.
func (s *Server) standingsOf(ctx context.Context, dir *directory, group classroom.GroupID) (*classroom.Class, []place, error) {
	class := dir.roll.Class(group)
	if class == nil || class.Hidden {
		return nil, nil, errUnknownClass
	}
	var places []place
	for _, p := range class.Learners() {
		places = append(places, place{person: p})
	}
	c := &s.standings
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []*place
	for i := range places {
		p := &places[i]
		if kept := c.list[p.person.ID]; kept != nil && s.stands(kept, p.person.IDs) {
			p.standing = kept
		} else {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return class, places, nil
	}
	for _, p := range missing {
		p.standing = &standing{ids: p.person.IDs, revisions: s.revisionsOf(p.person.IDs)}
	}
	// Others wait for this one: it must not end with the request that asked.
	err := s.cfg.Replica.Read(context.WithoutCancel(ctx), func(v *records.View) (err error) {
		for _, p := range missing {
			if p.Standing, err = classroom.ReadStanding(v, p.ids, s.contentIDs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read how far class %v is: %w", group, err)
	}
	c.keep(places, maxStandingCells/max(1, len(s.contentIDs)))
	return class, places, nil
}

// stands reports whether nothing has been written about a person since.
func (s *Server) stands(kept *standing, ids []identity.UserID) bool {
	return slices.Equal(kept.ids, ids) && slices.Equal(kept.revisions, s.revisionsOf(ids))
}

// revisionsOf says in which state the progress of a person with these IDs is.
func (s *Server) revisionsOf(ids []identity.UserID) []records.Revision {
	list := make([]records.Revision, len(ids))
	for i, id := range ids {
		list[i] = s.cfg.Replica.LearnerRevision(identity.LaneProgress, id)
	}
	return list
}

// keep keeps the standings of a class, and as many others as there is room for.
func (c *standingCache) keep(places []place, room int) {
	if c.list == nil || len(places) > room {
		c.list = map[identity.UserID]*standing{}
	}
	for _, p := range places[:min(len(places), room)] {
		c.list[p.person.ID] = p.standing
	}
	for id := range c.list {
		if len(c.list) <= room {
			return
		}
		if !slices.ContainsFunc(places, func(p place) bool { return p.person.ID == id }) {
			delete(c.list, id)
		}
	}
}
