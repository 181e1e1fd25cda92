package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// What a zone of realistic classes is made of: a learner leaves some records a
// week that are not superseded, and a device serves six learners, and as many
// more who are at home at the next one and come now and then.
const (
	recordsPerLearner = 333
	learnersPerDevice = 6
	schoolClass       = 40
	schoolContents    = 100
	schoolDays        = 56
)

// Every fifth of the contents is a video.
func isVideo(i int) bool { return i%5 == 4 }

const videoDuration = 5 * time.Minute

var exerciseItems = []string{"a", "b", "c", "d"}

// makeSchool makes a zone of about n records: the first device enrols everybody,
// and each makes up the work of its own learners and of some of the next
// device's, as classmesh generate does.
func makeSchool(ctx context.Context, dir string, n int) (*zone, error) {
	learners := max(2, (n+recordsPerLearner/2)/recordsPerLearner)
	if n%10_000 == 0 {
		learners = n / 10_000 * 30
	}
	z, keys, err := newZone(ctx, dir, max(1, learners/learnersPerDevice))
	if err != nil {
		return nil, err
	}
	h, closeHolder, err := open(ctx, filepath.Join(dir, holderName))
	if err != nil {
		return nil, err
	}
	defer closeHolder()
	s := &school{zone: z, holder: h}
	for i := range schoolContents {
		id := fmt.Sprintf("content-%03d", i)
		z.Contents = append(z.Contents, id)
		if isVideo(i) {
			s.videos = append(s.videos, classroom.GeneratedVideo{ID: id, Duration: videoDuration, Worth: 750})
		} else {
			s.exercises = append(s.exercises, classroom.GeneratedExercise{ID: id, Items: exerciseItems, Needed: 5, Base: 10})
		}
	}
	err = author(ctx, z, keys[0], h, func(r *records.Replica) error {
		made, err := s.generate(ctx, r, classroom.GenerateConfig{Learners: learners, ClassSize: schoolClass})
		if err != nil {
			return err
		}
		z.ClassSize = min(schoolClass, learners)
		s.learners, z.Class, z.Learner = made.Learners, made.Classes[0].String(), learnerName(made.Learners[0])
		return each(ctx, keys, func(i int, key identity.DeviceKey) error {
			if i == 0 {
				return s.work(ctx, r, 0, len(keys))
			}
			return author(ctx, z, key, h, func(r *records.Replica) error { return s.work(ctx, r, i, len(keys)) })
		})
	})
	if err != nil {
		return nil, err
	}
	if err := newProbeWriter(h).mixed(ctx, 100); err != nil {
		return nil, err
	}
	return z, z.count(ctx, h)
}

// school is a zone that is being made.
type school struct {
	zone      *zone
	holder    *records.Replica
	learners  []identity.UserID
	exercises []classroom.GeneratedExercise
	videos    []classroom.GeneratedVideo
}

// work makes up what a device's learners do.
func (s *school) work(ctx context.Context, r *records.Replica, device, devices int) error {
	share := func(i int) []identity.UserID {
		i %= devices
		return s.learners[i*len(s.learners)/devices : (i+1)*len(s.learners)/devices]
	}
	_, err := s.generate(ctx, r, classroom.GenerateConfig{Enrolled: share(device), Days: schoolDays, Seed: uint64(device)})
	if err == nil && devices > 1 {
		_, err = s.generate(ctx, r, classroom.GenerateConfig{Enrolled: share(device + 1), Days: schoolDays / 10, Seed: uint64(device)})
	}
	return err
}

func (s *school) generate(ctx context.Context, r *records.Replica, c classroom.GenerateConfig) (classroom.Generated, error) {
	c.Replica, c.Until, c.Batch = r, time.Now(), 1024
	c.Exercises, c.Videos = s.exercises, s.videos
	return classroom.Generate(ctx, c)
}

// author has a device of its own write records and gives them to the holder.
func author(ctx context.Context, z *zone, key identity.DeviceKey, holder *records.Replica, write func(*records.Replica) error) error {
	dir, err := os.MkdirTemp(scratch(z.dir), "classmesh-author-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := z.found(ctx, dir, key); err != nil {
		return err
	}
	r, closeStore, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer closeStore()
	if err := write(r); err != nil {
		return err
	}
	for _, s := range r.Logs() {
		l, err := r.SegmentList(ctx, s.BranchRef, 0, 0)
		if err != nil {
			return err
		}
		if err := give(ctx, holder, r, l); err != nil {
			return err
		}
	}
	return nil
}

// give brings a whole log from one replica to another, packed as it would
// travel.
func give(ctx context.Context, to, from *records.Replica, l *records.SegmentList) error {
	codec, err := packing.Shared()
	if err != nil {
		return err
	}
	ref := records.BranchRef{Log: l.Head.Log, Start: l.Head.Start()}
	plan, err := to.AcceptSegmentList(ctx, l)
	for err == nil && len(plan.Needs) > 0 {
		for _, need := range plan.Needs {
			data, err := from.SegmentData(ctx, ref, l.Head.Counter, need)
			if err != nil {
				return err
			}
			if data.Packed == nil {
				data.Packed = codec.PackRuns(data.Entries)
			}
			runs := make([]records.Run, len(data.Packed))
			for i, p := range data.Packed {
				runs[i] = p.Run
			}
			if data.Entries, data.Packed, err = codec.Open(runs); err != nil {
				return err
			}
			if err := to.AcceptSegmentData(ctx, data); err != nil {
				return err
			}
		}
		plan, err = to.Promote(ctx, ref, l.Head.Counter)
	}
	if err == nil && !plan.Done {
		_, err = to.Promote(ctx, ref, l.Head.Counter)
	}
	return err
}
