package link

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	headerBytes  = 3
	endMark      = 1<<24 - 1
	maxDataBytes = endMark - 1

	// bufferBytes suits small messages; larger reads and writes go past the
	// buffers. A coordinator keeps two of them for each of its connections.
	bufferBytes = 4 << 10
)

// openFrame is a frame that carries nothing.
var openFrame = [headerBytes]byte{}

func appendHeader(b []byte, n int) []byte {
	return append(b, byte(n>>16), byte(n>>8), byte(n))
}

// appendEnd appends the end frame. The reason is cut to what may travel.
func appendEnd(b []byte, code Code, reason string) []byte {
	reason = cutReason(reason)
	b = appendHeader(b, endMark)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	b = append(b, byte(len(reason)))
	return append(b, reason...)
}

// cutReason makes reason valid UTF-8 of at most MaxReasonBytes.
func cutReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "?")
	if len(reason) <= MaxReasonBytes {
		return reason
	}
	n := MaxReasonBytes
	for !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// frameReader takes the data out of a sequence of frames.
type frameReader struct {
	in   *bufio.Reader
	left int // bytes of the current data frame not read yet
}

// read fills p, which is not empty, with at least one byte. At the end frame
// it returns the peer's *CloseError. An io.EOF of the underlying stream is
// returned as such: it is the caller's to say that it came too early.
func (f *frameReader) read(p []byte) (int, error) {
	for f.left == 0 {
		var h [headerBytes]byte
		if _, err := io.ReadFull(f.in, h[:]); err != nil {
			return 0, err
		}
		n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
		if n == endMark {
			return 0, f.readEnd()
		}
		f.left = n
	}
	n, err := f.in.Read(p[:min(len(p), f.left)])
	f.left -= n
	if n > 0 {
		return n, nil // an error will be met again
	}
	return 0, err
}

// readEnd reads what follows the mark of an end frame. It never returns nil.
func (f *frameReader) readEnd() error {
	var b [4 + 1 + 255]byte
	if _, err := io.ReadFull(f.in, b[:5]); err != nil {
		return err
	}
	reason := b[5 : 5+int(b[4])]
	if len(reason) > MaxReasonBytes {
		return &fault{kind: ErrProtocol, text: fmt.Sprintf("reason of %d bytes, at most %d are allowed", len(reason), MaxReasonBytes)}
	}
	if _, err := io.ReadFull(f.in, reason); err != nil {
		return err
	}
	if !utf8.Valid(reason) {
		return &fault{kind: ErrProtocol, text: "reason is not UTF-8"}
	}
	return &CloseError{Code: Code(binary.BigEndian.Uint32(b[:])), Reason: string(reason), Remote: true}
}
