package wire_test

import (
	"bytes"
	"testing"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// BenchmarkFrame writes and reads the frames of a segment, and that of a
// comparison.
func BenchmarkFrame(b *testing.B) {
	run := codec(b).Pack(entries(records.SegmentCounters/2, 30))[0]
	for name, m := range map[string]wire.Message{
		"entries":  &wire.Entries{Run: run},
		"counters": &wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 12}, Fingerprint: identity.Hash{1}, Round: 2},
	} {
		frame := wire.AppendFrame(nil, m)
		b.Run(name+"/append", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				frame = wire.AppendFrame(frame[:0], m)
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if _, _, err := wire.NewReader(bytes.NewReader(frame)).Read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
