package main

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// probeEvent and probeRegister are the kinds of what is written only to be
// measured.
var (
	probeEvent    = records.NewKind(identity.LaneDetail, roster.ClassAny, 4001)
	probeRegister = records.NewKind(identity.LaneProgress, roster.ClassAny, 4002)
)

// probeWriter writes records that are as large as ordinary ones and tell nothing.
type probeWriter struct {
	replica *records.Replica
	random  *rand.Rand
	source  io.Reader
}

// A body that is written while it is measured is as large as that of an answer,
// and differs in as many bytes from the one before.
const (
	probeBytes    = 60
	probeRandom   = 12
	probeLearners = 30
)

func newProbeWriter(r *records.Replica) *probeWriter {
	source := rand.NewChaCha8([32]byte{})
	return &probeWriter{r, rand.New(source), source}
}

// learner is one of those that are written about.
func (w *probeWriter) learner(i int) identity.UserID {
	return identity.UserID{15: 1 + byte(i%probeLearners)}
}

func (w *probeWriter) put(d *records.Draft, record records.Record) error {
	record.Body = make([]byte, probeBytes)
	if _, err := io.ReadFull(w.source, record.Body[:probeRandom]); err != nil {
		return err
	}
	_, err := d.Put(record)
	return err
}

// mixed writes n records in one commit: half are events, half new versions of
// always the same registers.
func (w *probeWriter) mixed(ctx context.Context, n int) error {
	return w.replica.Write(ctx, func(d *records.Draft) error {
		for i := range n {
			record := records.Record{Kind: probeEvent, Learner: w.learner(i)}
			if i%2 == 1 {
				record.Kind, record.Register, record.Key = probeRegister, true, binary.BigEndian.AppendUint32(nil, uint32(i))
			}
			if err := w.put(d, record); err != nil {
				return err
			}
		}
		return nil
	})
}

// events writes n events in commits of some.
func (w *probeWriter) events(ctx context.Context, n, each int) error {
	for begun := 0; begun < n; begun += each {
		err := w.replica.Write(ctx, func(d *records.Draft) error {
			for i := begun; i < min(n, begun+each); i++ {
				if err := w.put(d, records.Record{Kind: probeEvent, Learner: w.learner(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// registers writes n registers over and over, in random order, so that a few
// live versions are left in every old part of the log.
func (w *probeWriter) registers(ctx context.Context, n int) error {
	for begun := 0; begun < rewritten*n; begun += 1000 {
		err := w.replica.Write(ctx, func(d *records.Draft) error {
			for i := begun; i < min(rewritten*n, begun+1000); i++ {
				which := i // each once, to begin with
				if i >= n {
					which = w.random.IntN(n)
				}
				err := w.put(d, records.Record{
					Kind: probeRegister, Register: true, Learner: w.learner(which),
					Key: binary.BigEndian.AppendUint32(nil, uint32(which)),
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
