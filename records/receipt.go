package records

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelReceipt     = identity.NewLabel("classmesh 1 receipt")
	labelReceiptHash = identity.NewLabel("classmesh 1 receipt hash")
)

// MaxReceiptItems is how many heads one receipt covers at most.
const MaxReceiptItems = 256

// ErrReceipt is wrapped by errors about receipts that are malformed or not
// signed by the coordinator.
var ErrReceipt = errors.New("not a valid receipt")

// Receipt is the coordinator's word that it holds every live entry of the
// heads it lists: "everything up to here is safe with me". The encoding is
// fixed:
//
//	 0  format, 1
//	 1  zone (16)
//	17  life of the coordinator, big-endian (4)
//	21  time of signing, milliseconds since 1970 (8)
//	29  number of items, big-endian (2), 1 to 256
//	31  items, ascending by log, start: log (32), newest start (8),
//	    counter (8), log fingerprint (32)
//	    Ed25519 by the coordinator's key over all before (64)
type Receipt struct {
	Zone      identity.ZoneID
	Life      uint32
	Signed    int64
	Items     []ReceiptItem
	Signature identity.Signature
}

// ReceiptItem is one head that a receipt covers.
type ReceiptItem struct {
	Log         identity.LogID
	Start       identity.StartID // newest start of the head
	Counter     uint64
	Fingerprint identity.Hash
}

const (
	receiptFixed     = 31
	receiptItemBytes = 32 + 8 + 8 + 32
)

// MaxReceiptBytes is the size of the longest encoded receipt.
const MaxReceiptBytes = receiptFixed + MaxReceiptItems*receiptItemBytes + identity.SignatureBytes

func compareItems(a, b ReceiptItem) int {
	return cmp.Or(a.Log.Compare(b.Log), slices.Compare(a.Start[:], b.Start[:]))
}

// IssueReceipt signs a receipt over items, 1 to 256 of them, with the
// coordinator's key. It sorts items in place.
func IssueReceipt(key identity.DeviceKey, zone identity.ZoneID, life uint32, signed int64, items []ReceiptItem) Receipt {
	slices.SortFunc(items, compareItems)
	r := Receipt{Zone: zone, Life: life, Signed: signed, Items: items}
	r.Signature = key.Sign(&labelReceipt, r.signed())
	return r
}

// Verify reports whether coordinator signed the receipt, as an error wrapping
// [ErrReceipt].
func (r *Receipt) Verify(coordinator identity.DevicePublic) error {
	if !coordinator.Verify(&labelReceipt, r.signed(), r.Signature) {
		return fmt.Errorf("receipt is not signed by the coordinator: %w", ErrReceipt)
	}
	return nil
}

// receiptHash names an encoded receipt in a store.
func receiptHash(encoded []byte) identity.Hash { return labelReceiptHash.Hash(encoded) }

// Encode returns the fixed layout.
func (r *Receipt) Encode() []byte { return append(r.signed(), r.Signature[:]...) }

func (r *Receipt) signed() []byte {
	b := make([]byte, 0, receiptFixed+len(r.Items)*receiptItemBytes+identity.SignatureBytes)
	b = append(b, 1)
	b = append(b, r.Zone[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Life)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Signed))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Items)))
	for _, i := range r.Items {
		b = append(b, i.Log[:]...)
		b = append(b, i.Start[:]...)
		b = binary.BigEndian.AppendUint64(b, i.Counter)
		b = append(b, i.Fingerprint[:]...)
	}
	return b
}

// DecodeReceipt reads the fixed layout. It does not verify the signature.
func DecodeReceipt(b []byte) (Receipt, error) {
	var r Receipt
	if len(b) < receiptFixed+receiptItemBytes+identity.SignatureBytes || len(b) > MaxReceiptBytes {
		return r, fmt.Errorf("%d bytes: %w", len(b), ErrReceipt)
	}
	if b[0] != 1 {
		return r, fmt.Errorf("format %d, this version reads 1: %w", b[0], ErrReceipt)
	}
	copy(r.Zone[:], b[1:])
	r.Life = binary.BigEndian.Uint32(b[17:])
	r.Signed = int64(binary.BigEndian.Uint64(b[21:]))
	n := int(binary.BigEndian.Uint16(b[29:]))
	if len(b) != receiptFixed+n*receiptItemBytes+identity.SignatureBytes {
		return r, fmt.Errorf("%d bytes for %d items: %w", len(b), n, ErrReceipt)
	}
	copy(r.Signature[:], b[len(b)-identity.SignatureBytes:])
	r.Items = make([]ReceiptItem, n)
	b = b[receiptFixed:]
	for i := range r.Items {
		it := &r.Items[i]
		copy(it.Log[:], b)
		copy(it.Start[:], b[32:])
		it.Counter = binary.BigEndian.Uint64(b[40:])
		copy(it.Fingerprint[:], b[48:])
		b = b[receiptItemBytes:]
		if i > 0 && compareItems(r.Items[i-1], *it) >= 0 {
			return r, fmt.Errorf("items out of order: %w", ErrReceipt)
		}
	}
	return r, nil
}
