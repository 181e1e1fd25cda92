package packing

import "fmt"

// Compress returns a frame of bytes that are no run.
func (c *Codec) Compress(plain []byte) []byte {
	return c.encoder.EncodeAll(plain, make([]byte, 0, len(plain)/2))
}

// Decompress is the inverse of [Codec.Compress]. It trusts nothing: a frame must state
// its size, of at most limit bytes and at most records.MaxChunkBytes, before memory is
// taken, and must end where data ends. Errors wrap [ErrRun].
func (c *Codec) Decompress(data []byte, limit int) ([]byte, error) {
	size, ok := frameSize(data, limit)
	if !ok {
		return nil, fmt.Errorf("no frame of at most %d bytes: %w", limit, ErrRun)
	}
	return c.decompress(make([]byte, 0, size), data, size)
}
