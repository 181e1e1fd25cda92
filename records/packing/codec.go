package packing

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	short   *zstd.Encoder // for up to shortBytes
	decoder *zstd.Decoder
	shelf   atomic.Pointer[Shelf]
}

// shortBytes is up to where the encoder is used whose tables are a fifth as large: what
// is short is longer by a few in a hundred for that, but most devices never pack more at
// a time, and a MiB of memory that nobody has used yet is what takes longest in a first
// session.
const shortBytes = 8 << 10

// NewCodec returns a Codec that packs and opens on at most workers threads at
// a time.
func NewCodec(workers int) (*Codec, error) {
	encoder, err := newEncoder(workers, zstd.SpeedDefault)
	if err != nil {
		return nil, err
	}
	short, err := newEncoder(workers, zstd.SpeedFastest)
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(records.MaxChunkBytes),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	c := &Codec{encoder: encoder, short: short, decoder: decoder}
	c.Forget()
	return c, nil
}

// newEncoder returns an encoder, which takes memory when it is first used.
func newEncoder(workers int, level zstd.EncoderLevel) (*zstd.Encoder, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(records.MaxChunkBytes), // no run is longer
		zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true), // the frame states its size
		zstd.WithEncoderCRC(false))   // entries are hashed anyway
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	return encoder, nil
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
	return runsOf(c.PackRuns(entries))
}

// PackRows is Pack for those who know rows only.
func (c *Codec) PackRows(entries []records.Entry) []records.Run {
	return runsOf(c.packRuns(entries, records.AppendRun))
}

func runsOf(packed []records.PackedRun) []records.Run {
	if len(packed) == 0 {
		return []records.Run{{}}
	}
	runs := make([]records.Run, len(packed))
	for i, p := range packed {
		runs[i] = p.Run
	}
	return runs
}

// PackRuns is Pack that says how many entries each run holds; no entries are
// none.
func (c *Codec) PackRuns(entries []records.Entry) []records.PackedRun {
	return c.packRuns(entries, AppendEntries)
}

func (c *Codec) packRuns(entries []records.Entry, form func([]byte, []records.Entry) []byte) (runs []records.PackedRun) {
	var plain []byte
	for len(entries) > 0 {
		n, size := 0, 1
		for n < len(entries) {
			if size += entries[n].Size() + entryOverhead; size > runBytes && n > 0 {
				break
			}
			n++
		}
		var run records.Run
		run, plain = c.pack(plain[:0], entries[:n], form)
		runs = append(runs, records.PackedRun{Run: run, Count: n})
		entries = entries[n:]
	}
	return runs
}

// pack returns the run of entries, in a form where they are compressed, and the room that
// it used for that. They share no memory.
func (c *Codec) pack(room []byte, entries []records.Entry, form func([]byte, []records.Entry) []byte) (records.Run, []byte) {
	size := records.RunSize(entries)
	if size >= packAbove {
		room = form(room, entries)
		encoder := c.encoder
		if len(room) <= shortBytes {
			encoder = c.short
		}
		packed := encoder.EncodeAll(room, make([]byte, 0, len(room)/2))
		if len(packed) < size {
			return records.Run{Packed: uint32(size), Data: packed}, room
		}
	}
	return records.Run{Data: records.AppendRun(make([]byte, 0, size), entries)}, room
}

// Unpack returns the entries of all runs of one answer, at most as many as a
// segment can have. The entries share memory with runs that were not
// compressed, and with nothing else. Errors wrap [ErrRun] or [records.ErrRun].
func (c *Codec) Unpack(runs []records.Run) ([]records.Entry, error) {
	entries, _, err := c.Open(runs)
	return entries, err
}

// Shelf returns what keeps opened runs for those who read. A transaction asks for it
// before it begins: after Forget, those that see what was there before then put nothing
// on the shelf of others.
func (c *Codec) Shelf() *Shelf { return c.shelf.Load() }

// Forget puts an empty shelf in the place of the one that there is.
func (c *Codec) Forget() { c.shelf.Store(newShelf(c)) }

// Open is Unpack that also says how many entries each run holds; runs without
// any are left out.
func (c *Codec) Open(runs []records.Run) (all []records.Entry, packed []records.PackedRun, err error) {
	total := 0
	for _, r := range runs {
		if err := Check(r); err != nil {
			return nil, nil, err
		}
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
		before := len(all)
		if all, err = c.open(all, r); err != nil {
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

// open appends the entries of a run.
func (c *Codec) open(before []records.Entry, r records.Run) ([]records.Entry, error) {
	if r.Packed == 0 {
		return records.DecodeRun(before, r.Data)
	}
	// The frame must state its size: that which was announced, of rows, or less, of
	// columns. Only then is memory taken, and no more than that is ever written to.
	size, ok := frameSize(r.Data, int(r.Packed))
	if !ok {
		return nil, fmt.Errorf("frame does not hold the %d bytes announced: %w", r.Packed, ErrRun)
	}
	if size == int(r.Packed) {
		plain, err := c.decompress(make([]byte, 0, size), r.Data, size)
		if err != nil {
			return nil, err
		}
		return records.DecodeRun(before, plain)
	}
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	*room = slices.Grow((*room)[:0], size)
	plain, err := c.decompress((*room)[:0:size], r.Data, size)
	if err != nil {
		return nil, err
	}
	all, err := DecodeColumns(before, plain, int(r.Packed))
	if err == nil && records.RunSize(all[len(before):]) != int(r.Packed) {
		err = fmt.Errorf("entries of %d bytes, %d announced: %w", records.RunSize(all[len(before):]), r.Packed, ErrRun)
	}
	return all, err
}

// rooms are for columns, of which entries share nothing.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// decompress opens a frame of size bytes.
func (c *Codec) decompress(room, frame []byte, size int) ([]byte, error) {
	plain, err := c.decoder.DecodeAll(frame, room)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	if len(plain) != size {
		return nil, fmt.Errorf("%d bytes unpacked, %d stated: %w", len(plain), size, ErrRun)
	}
	return plain, nil
}

// frameSize returns the size that data, one frame and nothing else, states, if that is
// at most limit.
func frameSize(data []byte, limit int) (size int, ok bool) {
	var h zstd.Header
	if err := h.Decode(data); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize > uint64(limit) || !single(&h, data) {
		return 0, false
	}
	return int(h.FrameContentSize), true
}

// mostBlocks is how many blocks a frame may have. Encoders begin another every 128 KiB,
// or a few KiB where other tables pay; each is read with its tables, even if it is
// empty.
const mostBlocks = 256

// single reports whether data is a frame and nothing else: what stood behind it, in
// another frame or one that decoders skip, or in thousands of blocks that are empty,
// nobody would have signed, and it would be stored and sent on by everybody. See RFC
// 8878, 3.1.1.2.
func single(h *zstd.Header, data []byte) bool {
	at := h.HeaderSize
	for n, last := 0, false; !last; n++ {
		if at < 0 || len(data)-at < 3 || n == mostBlocks {
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

// InColumns reports whether a run, if it is one, is in columns.
func InColumns(r records.Run) bool {
	var h zstd.Header
	return r.Packed != 0 && (h.Decode(r.Data) != nil || h.FrameContentSize != uint64(r.Packed))
}

// InRows returns a run as whoever knows rows only can open it. Errors are those of
// Unpack.
func (c *Codec) InRows(r records.PackedRun) (records.PackedRun, error) {
	if !InColumns(r.Run) {
		return r, nil
	}
	entries, err := c.Unpack([]records.Run{r.Run})
	if err != nil {
		return r, err
	}
	r.Run, _ = c.pack(nil, entries, records.AppendRun)
	return r, nil
}

// Check reports what of a run is wrong that can be seen without opening it.
func Check(r records.Run) error {
	if r.Packed != 0 && (r.Packed > records.MaxChunkBytes || len(r.Data) == 0 || len(r.Data) >= int(r.Packed)) {
		return fmt.Errorf("%d bytes packed into %d: %w", r.Packed, len(r.Data), ErrRun)
	}
	return nil
}
