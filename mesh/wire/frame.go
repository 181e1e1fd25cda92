package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// Limits of frames, in bytes.
const (
	// MaxChunkBytes is the longest chunk of a run, before compression.
	MaxChunkBytes = records.MaxChunkBytes
	// MaxPayloadBytes is the longest payload of any message.
	MaxPayloadBytes = MaxChunkBytes + 4<<10
	// MaxFrameBytes is the longest frame.
	MaxFrameBytes = 1 + maxLengthBytes + MaxPayloadBytes

	maxLengthBytes = 3
	readerBytes    = 4 << 10
)

// AppendFrame appends the frame of m to b. That m keeps to its limits is up to
// who made it; the functions of this package that make messages do.
func AppendFrame(b []byte, m Message) []byte {
	m.seal()
	// The length is put before the payload once that is written.
	start := len(b)
	b = append(b, byte(m.Type()), 0)
	b = message.Append(b, m)
	n := len(b) - start - 2
	if n < 0x80 {
		b[start+1] = byte(n)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(length[:], uint64(n))
	b = append(b, length[1:size]...)
	copy(b[start+1+size:], b[start+2:start+2+n])
	copy(b[start+1:], length[:size])
	return b
}

// Reader takes messages off a stream. It is not safe for concurrent use.
type Reader struct {
	in *bufio.Reader
}

// NewReader returns a Reader over r, from which it may read ahead.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, readerBytes)}
}

// Read returns the next message, which is the caller's, and the size of its
// frame. At the end of the stream the error is [io.EOF]; one that ends inside
// a frame is [io.ErrUnexpectedEOF]; what is no valid frame wraps [ErrMessage].
// After an error the stream is of no use.
func (r *Reader) Read() (m Message, frameBytes int, err error) {
	for {
		first, err := r.in.ReadByte()
		if err != nil {
			return nil, 0, err
		}
		t := Type(first)
		length, size, err := r.length()
		if err != nil {
			return nil, 0, fmt.Errorf("length of a message of type %d: %w", t, err)
		}
		d, known := describe(t)
		switch {
		case !known && t < firstOptional:
			return nil, 0, fmt.Errorf("message of unknown type %d: %w", t, ErrMessage)
		case !known:
			d.limit = MaxPayloadBytes
		}
		if length > d.limit {
			return nil, 0, fmt.Errorf("message of type %d with %d bytes, at most %d: %w", t, length, d.limit, ErrMessage)
		}
		if !known {
			if _, err := r.in.Discard(length); err != nil {
				return nil, 0, cutShort(err)
			}
			continue
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(r.in, payload); err != nil {
			return nil, 0, cutShort(err)
		}
		m, err := Decode(t, payload)
		return m, 1 + size + length, err
	}
}

// length reads a uvarint of at most maxLengthBytes in its shortest form.
func (r *Reader) length() (n, size int, err error) {
	for size < maxLengthBytes {
		c, err := r.in.ReadByte()
		if err != nil {
			return 0, 0, cutShort(err)
		}
		n |= int(c&0x7f) << (7 * size)
		size++
		if c < 0x80 {
			if c == 0 && size > 1 {
				break
			}
			return n, size, nil
		}
	}
	return 0, 0, ErrMessage
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
