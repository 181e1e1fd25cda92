package packing

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Compress returns a frame of bytes that are no run.
func (c *Codec) Compress(plain []byte) []byte {
	return c.encoder.EncodeAll(plain, make([]byte, 0, len(plain)/2))
}

// Decompress is the inverse of [Codec.Compress]. It trusts nothing: a frame must state
// its size, of at most limit bytes and at most records.MaxChunkBytes, before memory is
// taken, and must end where data ends. Errors wrap [ErrRun].
func (c *Codec) Decompress(data []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(data); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize > uint64(limit) || !single(&h, data) {
		return nil, fmt.Errorf("no frame of at most %d bytes: %w", limit, ErrRun)
	}
	size := int(h.FrameContentSize)
	return c.decompress(make([]byte, 0, size), data, size)
}
