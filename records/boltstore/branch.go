package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

const (
	branchFormat = 1
	// maxTrouble is how much of Branch.Trouble is kept, in bytes.
	maxTrouble = 1 << 10
)

var errCutShort = errors.New("cut short or too long")

// appendBranch appends a branch without its slot:
//
//	format, 1
//	lane (1)
//	incarnation certificate, of fixed size
//	head, its length (2) and its bytes; none if it is zero
//	target, the same
//	receipted (8), receipt (32)
//	trouble, its length (2) and its text
func appendBranch(b []byte, br *records.Branch) []byte {
	b = append(b, branchFormat, byte(br.Lane))
	b = append(b, br.Certificate.Encode()...)
	b = appendHead(b, &br.Head)
	b = appendHead(b, &br.Target)
	b = binary.BigEndian.AppendUint64(b, br.Receipted)
	b = append(b, br.Receipt[:]...)
	trouble := br.Trouble[:min(len(br.Trouble), maxTrouble)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(trouble)))
	return append(b, trouble...)
}

func appendHead(b []byte, h *records.Head) []byte {
	if h.IsZero() {
		return binary.BigEndian.AppendUint16(b, 0)
	}
	text := h.Encode()
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// decodeBranch is the inverse of appendBranch. Signatures were verified when
// the branch was stored and are not verified again.
func decodeBranch(slot records.Slot, b []byte) (records.Branch, error) {
	br := records.Branch{Slot: slot}
	r := reader{rest: b}
	if format := r.take(1)[0]; format != branchFormat && r.err == nil {
		r.fail(fmt.Errorf("format %d, this version reads %d", format, branchFormat))
	}
	br.Lane = identity.Lane(r.take(1)[0])
	if c := r.take(identity.CertificateBytes); r.err == nil {
		var err error
		br.Certificate, err = identity.ReadCertificate(c)
		r.fail(err)
	}
	br.Head, br.Target = r.head(), r.head()
	br.Receipted = binary.BigEndian.Uint64(r.take(8))
	copy(br.Receipt[:], r.take(identity.HashBytes))
	br.Trouble = string(r.take(int(binary.BigEndian.Uint16(r.take(2)))))
	if len(r.rest) > 0 {
		r.fail(errCutShort)
	}
	if r.err != nil {
		return records.Branch{}, fmt.Errorf("branch %d: %w: %w", slot, records.ErrDamaged, r.err)
	}
	return br, nil
}

// reader takes fixed parts from the front of rest. After its first error it
// gives zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail(errCutShort)
	}
	if r.err != nil {
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) head() (h records.Head) {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if n == 0 || r.err != nil {
		return h
	}
	if b := r.take(n); r.err == nil {
		var err error
		h, err = records.DecodeHead(b)
		r.fail(err)
	}
	return h
}
