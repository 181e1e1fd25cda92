package wire

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// ErrRun is wrapped by errors about runs that cannot be unpacked.
var ErrRun = errors.New("not a valid packed run")

// MaxAnswerBytes bounds all chunks of one answer before compression: a full
// segment, with what the encoding of its entries adds.
const MaxAnswerBytes = records.MaxRunBytes + 1

// MinWindow is the smallest window that a Hello may give: the largest answer
// must fit.
const MinWindow = 2 * MaxChunkBytes

// Run is a chunk of entries as it travels. The zero Run holds none.
type Run struct {
	// Packed is the size before compression if Data is compressed, otherwise 0.
	Packed uint32
	Data   []byte
}

// Size is the chunk's size before compression, in bytes: what it costs in
// credit, and in memory once it is unpacked.
func (r Run) Size() int {
	if r.Packed != 0 {
		return int(r.Packed)
	}
	return len(r.Data)
}

// Fields visits the fields.
func (r *Run) Fields(v *message.Visitor) {
	v.Uint32(1, &r.Packed)
	v.Bytes(2, &r.Data, MaxChunkBytes)
}

func (r *Run) check() error {
	if r.Packed != 0 && (r.Packed > MaxChunkBytes || len(r.Data) == 0 || len(r.Data) >= int(r.Packed)) {
		return fmt.Errorf("%d bytes packed into %d: %w", r.Packed, len(r.Data), ErrRun)
	}
	return nil
}

// Codec packs and unpacks entries. It is made once per process, because its
// tables take a few MB, and is safe for concurrent use.
type Codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// NewCodec returns a Codec that packs and unpacks on at most workers threads
// at a time.
func NewCodec(workers int) (*Codec, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(MaxChunkBytes), // no chunk is longer
		zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true), // the frame states its size
		zstd.WithEncoderCRC(false))   // entries are hashed anyway
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxChunkBytes),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &Codec{encoder, decoder}, nil
}

// packAbove is the size from which compression is tried: below, it saves less
// than it states.
const packAbove = 96

// entryOverhead is what an encoded run adds to an entry at most.
const entryOverhead = 10 + 2 + 3

// Pack returns ascending entries as one or more chunks; no entries are one
// zero Run.
func (c *Codec) Pack(entries []records.Entry) []Run {
	if len(entries) == 0 {
		return []Run{{}}
	}
	var runs []Run
	for len(entries) > 0 {
		n, size := 0, 1
		for n < len(entries) {
			if size += entries[n].Size() + entryOverhead; size > MaxChunkBytes && n > 0 {
				break
			}
			n++
		}
		runs = append(runs, c.pack(records.AppendRun(nil, entries[:n])))
		entries = entries[n:]
	}
	return runs
}

func (c *Codec) pack(plain []byte) Run {
	if len(plain) >= packAbove {
		packed := c.encoder.EncodeAll(plain, make([]byte, 0, len(plain)/2))
		if len(packed) < len(plain) {
			return Run{Packed: uint32(len(plain)), Data: packed}
		}
	}
	return Run{Data: plain}
}

// Unpack returns the entries of all chunks of one answer, at most as many as
// a segment can have. The entries share memory with runs that were not
// compressed, and with nothing else. Errors wrap [ErrRun] or [records.ErrRun].
func (c *Codec) Unpack(runs []Run) ([]records.Entry, error) {
	if Size(runs) > MaxAnswerBytes {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", Size(runs), MaxAnswerBytes, ErrRun)
	}
	var all []records.Entry
	for _, r := range runs {
		if r.Size() == 0 {
			continue
		}
		plain, err := c.unpack(r)
		if err != nil {
			return nil, err
		}
		entries, err := records.DecodeRun(plain)
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && len(entries) > 0 && entries[0].Counter <= all[n-1].Counter {
			return nil, fmt.Errorf("a chunk begins at counter %d after %d: %w", entries[0].Counter, all[n-1].Counter, records.ErrRun)
		}
		if len(all)+len(entries) > records.SegmentCounters {
			return nil, fmt.Errorf("more than %d entries: %w", records.SegmentCounters, records.ErrRun)
		}
		if all == nil {
			all = entries
			continue
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (c *Codec) unpack(r Run) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Packed == 0 {
		return r.Data, nil
	}
	// The frame must state the size that was announced; only then is memory
	// taken, and no more than that is ever written to.
	var h zstd.Header
	if err := h.Decode(r.Data); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(r.Packed) {
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

// Size is the size of all chunks before compression.
func Size(runs []Run) int {
	n := 0
	for _, r := range runs {
		n += r.Size()
	}
	return n
}

// Entries carries a chunk that follows another.
type Entries struct {
	Run  Run
	More bool // another follows
}

// Type returns TypeEntries.
func (*Entries) Type() Type { return TypeEntries }

// Fields visits the fields.
func (m *Entries) Fields(v *message.Visitor) {
	v.Message(1, &m.Run)
	v.Bool(2, &m.More)
}

func (m *Entries) seal()       {}
func (m *Entries) open() error { return m.Run.check() }

// withRuns returns first, whose run and more it sets, and the chunks that do
// not fit into it as Entries.
func withRuns(first Message, run *Run, more *bool, besideRun int, runs []Run) []Message {
	messages := []Message{first}
	if len(runs) > 0 && besideRun+len(runs[0].Data)+16 <= MaxPayloadBytes {
		*run, runs = runs[0], runs[1:]
	}
	*more = len(runs) > 0
	for i, r := range runs {
		messages = append(messages, &Entries{Run: r, More: i+1 < len(runs)})
	}
	return messages
}
