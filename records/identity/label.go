package identity

import (
	"crypto/ed25519"
	"encoding/binary"

	"lukechampine.com/blake3/guts"
)

// HashBytes is the size of every hash in classmesh.
const HashBytes = 32

// SignatureBytes is the size of every signature in classmesh.
const SignatureBytes = ed25519.SignatureSize

// Hash is the 32-byte output of a labelled BLAKE3.
type Hash [HashBytes]byte

// Signature is an Ed25519 signature made under a label.
type Signature [SignatureBytes]byte

// Label separates one use of hashing or signing from all others. Make one per
// use, at package level, with [NewLabel]; the zero Label must not be used.
type Label struct {
	text string
	key  [8]uint32 // BLAKE3 context key of text, in derive_key mode
}

// NewLabel returns the label with the given text, at most 255 bytes. The text
// is part of the format of whatever is hashed or signed: changing it changes
// every hash.
func NewLabel(text string) Label {
	if text == "" || len(text) > 255 {
		panic("identity: a label has 1 to 255 bytes")
	}
	root := treeNode([]byte(text), &guts.IV, 0, guts.FlagDeriveKeyContext)
	root.Flags |= guts.FlagRoot
	out := guts.WordsToBytes(guts.CompressNode(root))
	l := Label{text: text}
	for i := range l.key {
		l.key[i] = binary.LittleEndian.Uint32(out[4*i:])
	}
	return l
}

// String returns the label's text.
func (l Label) String() string { return l.text }

// Hash returns the hash of msg under the label: BLAKE3 in derive_key mode with
// the label as context. It does not allocate.
func (l *Label) Hash(msg []byte) Hash {
	out := guts.WordsToBytes(guts.CompressNode(l.root(msg)))
	return Hash(out[:HashBytes])
}

// Expand fills out, whose length is a multiple of 1024 bytes, with the
// extendable output of msg under the label. It does not allocate.
func (l *Label) Expand(msg, out []byte) {
	node := l.root(msg)
	for len(out) > 0 {
		guts.CompressBlocks((*[guts.MaxSIMD * guts.BlockSize]byte)(out), node)
		node.Counter += guts.MaxSIMD
		out = out[guts.MaxSIMD*guts.BlockSize:]
	}
}

func (l *Label) root(msg []byte) guts.Node {
	n := treeNode(msg, &l.key, 0, guts.FlagDeriveKeyMaterial)
	n.Flags |= guts.FlagRoot
	return n
}

// treeNode is BLAKE3's hash tree over msg, whose first chunk has the given
// counter: leaves of 1024 bytes, the left subtree the largest power of two of
// chunks that leaves something for the right. The inputs here are short (the
// longest are a body of 16 KiB, and a row for each log of a zone), so it recurses
// on one goroutine, and takes 16 chunks at once where there are so many.
func treeNode(msg []byte, key *[8]uint32, counter uint64, flags uint32) guts.Node {
	const wide = guts.MaxSIMD * guts.ChunkSize
	switch {
	case len(msg) <= guts.ChunkSize:
		return guts.CompressChunk(msg, key, counter, flags)
	case len(msg) == wide:
		return guts.CompressBuffer((*[wide]byte)(msg), wide, key, counter, flags)
	}
	left := uint64(1)
	for 2*left*guts.ChunkSize < uint64(len(msg)) {
		left *= 2
	}
	cut := left * guts.ChunkSize
	return guts.ParentNode(
		guts.ChainingValue(treeNode(msg[:cut], key, counter, flags)),
		guts.ChainingValue(treeNode(msg[cut:], key, counter+left, flags)),
		key, flags)
}

// signedText is what Ed25519 signs for msg under the label.
func (l *Label) signedText(msg []byte) []byte {
	t := make([]byte, 0, 1+len(l.text)+len(msg))
	t = append(t, byte(len(l.text)))
	t = append(t, l.text...)
	return append(t, msg...)
}

func (l *Label) sign(key ed25519.PrivateKey, msg []byte) Signature {
	return Signature(ed25519.Sign(key, l.signedText(msg)))
}

func (l *Label) verify(key []byte, msg []byte, sig Signature) bool {
	return ed25519.Verify(ed25519.PublicKey(key), l.signedText(msg), sig[:])
}
