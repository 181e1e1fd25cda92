package packing

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/classmesh/classmesh/records"
)

// ErrRun is wrapped by errors about runs that cannot be opened.
var ErrRun = errors.New("not a valid packed run")

// MaxBytes bounds all runs that are opened together, before compression: a
// full segment, with what the encoding of its entries adds.
const MaxBytes = records.MaxRunBytes + 1

// runBytes is about how long the runs are that Pack makes, before compression:
// a thousand records or so. Longer ones are hardly any denser, and whoever
// reads one entry opens its whole run.
const runBytes = 64 << 10

// Codec packs and opens entries. Its tables take a few MB, so there should be
// one in a process; it is safe for concurrent use.
type Codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// NewCodec returns a Codec that packs and opens on at most workers threads at
// a time.
func NewCodec(workers int) (*Codec, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(records.MaxChunkBytes), // no run is longer
		zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true), // the frame states its size
		zstd.WithEncoderCRC(false))   // entries are hashed anyway
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(records.MaxChunkBytes),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &Codec{encoder, decoder}, nil
}

// Shared returns the Codec of the process, for those who are not given one:
// the stores of a coordinator are many. It is made when it is first asked for.
var Shared = sync.OnceValues(func() (*Codec, error) { return NewCodec(runtime.GOMAXPROCS(0)) })

// packAbove is the size from which compression is tried: below, it saves less
// than it states.
const packAbove = 96

// entryOverhead is what an encoded run adds to an entry at most.
const entryOverhead = 10 + 2 + 3

// leastBytes is what an entry takes in a run at least, or nearly so: most are
// longer.
const leastBytes = 48

// Pack returns ascending entries as one or more runs; no entries are one zero
// Run.
func (c *Codec) Pack(entries []records.Entry) []records.Run {
	if len(entries) == 0 {
		return []records.Run{{}}
	}
	var runs []records.Run
	for _, p := range c.PackRuns(entries) {
		runs = append(runs, p.Run)
	}
	return runs
}

// PackRuns is Pack that says how many entries each run holds; no entries are
// none.
func (c *Codec) PackRuns(entries []records.Entry) (runs []records.PackedRun) {
	var plain []byte
	for len(entries) > 0 {
		n, size := 0, 1
		for n < len(entries) {
			if size += entries[n].Size() + entryOverhead; size > runBytes && n > 0 {
				break
			}
			n++
		}
		plain = records.AppendRun(plain[:0], entries[:n])
		runs = append(runs, records.PackedRun{Run: c.pack(plain), Count: n})
		entries = entries[n:]
	}
	return runs
}

// pack returns a run that shares no memory with plain.
func (c *Codec) pack(plain []byte) records.Run {
	if len(plain) >= packAbove {
		packed := c.encoder.EncodeAll(plain, make([]byte, 0, len(plain)/2))
		if len(packed) < len(plain) {
			return records.Run{Packed: uint32(len(plain)), Data: packed}
		}
	}
	return records.Run{Data: append([]byte(nil), plain...)}
}

// Unpack returns the entries of all runs of one answer, at most as many as a
// segment can have. The entries share memory with runs that were not
// compressed, and with nothing else. Errors wrap [ErrRun] or [records.ErrRun].
func (c *Codec) Unpack(runs []records.Run) ([]records.Entry, error) {
	entries, _, err := c.Open(runs)
	return entries, err
}

// Open is Unpack that also says how many entries each run holds; runs without
// any are left out.
func (c *Codec) Open(runs []records.Run) (all []records.Entry, packed []records.PackedRun, err error) {
	total := 0
	for _, r := range runs {
		total += r.Size()
	}
	if total > MaxBytes {
		return nil, nil, fmt.Errorf("%d bytes, at most %d: %w", total, MaxBytes, ErrRun)
	}
	packed = make([]records.PackedRun, 0, len(runs))
	if len(runs) > 1 {
		all = make([]records.Entry, 0, min(records.SegmentCounters, total/leastBytes))
	}
	for _, r := range runs {
		if r.Size() == 0 {
			continue
		}
		plain, err := c.unpack(r)
		if err != nil {
			return nil, nil, err
		}
		before := len(all)
		if all, err = records.DecodeRun(all, plain); err != nil {
			return nil, nil, err
		}
		if before > 0 && len(all) > before && all[before].Counter <= all[before-1].Counter {
			return nil, nil, fmt.Errorf("a run begins at counter %d after %d: %w", all[before].Counter, all[before-1].Counter, records.ErrRun)
		}
		if len(all) > records.SegmentCounters {
			return nil, nil, fmt.Errorf("more than %d entries: %w", records.SegmentCounters, records.ErrRun)
		}
		if len(all) > before {
			packed = append(packed, records.PackedRun{Run: r, Count: len(all) - before})
		}
	}
	return all, packed, nil
}

func (c *Codec) unpack(r records.Run) ([]byte, error) {
	if err := Check(r); err != nil {
		return nil, err
	}
	if r.Packed == 0 {
		return r.Data, nil
	}
	// The frame must state the size that was announced; only then is memory
	// taken, and no more than that is ever written to.
	var h zstd.Header
	if err := h.Decode(r.Data); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(r.Packed) || !single(&h, r.Data) {
		return nil, fmt.Errorf("frame does not hold the %d bytes announced: %w", r.Packed, ErrRun)
	}
	plain, err := c.decoder.DecodeAll(r.Data, make([]byte, 0, r.Packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	if len(plain) != int(r.Packed) {
		return nil, fmt.Errorf("%d bytes unpacked, %d announced: %w", len(plain), r.Packed, ErrRun)
	}
	return plain, nil
}

// single reports whether a frame ends where its data ends: what stood behind it, in
// another frame or one that decoders skip, nobody would have signed, and it would
// be stored and sent on by everybody. See RFC 8878, 3.1.1.2.
func single(h *zstd.Header, data []byte) bool {
	at := h.HeaderSize
	for last := false; !last; {
		if at < 0 || len(data)-at < 3 {
			return false
		}
		block := int(data[at]) | int(data[at+1])<<8 | int(data[at+2])<<16
		at += 3
		last = block&1 == 1
		if block>>1&3 == 1 { // one byte, to be repeated
			at++
		} else {
			at += block >> 3
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	return at == len(data)
}

// Check reports what of a run is wrong that can be seen without opening it.
func Check(r records.Run) error {
	if r.Packed != 0 && (r.Packed > records.MaxChunkBytes || len(r.Data) == 0 || len(r.Data) >= int(r.Packed)) {
		return fmt.Errorf("%d bytes packed into %d: %w", r.Packed, len(r.Data), ErrRun)
	}
	return nil
}
