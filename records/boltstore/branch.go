package boltstore

import (
	"encoding/binary"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// appendBranch encodes a branch, without its slot:
//
//	format, 1 · lane (1) · certificate · head and target, each length (2) and
//	bytes · receipted (8) · receipt (32) · trouble, length (2) and text
func appendBranch(b []byte, br *records.Branch) []byte {
	b = append(b, 1, byte(br.Lane))
	b = append(b, br.Certificate.Encode()...)
	for _, h := range []*records.Head{&br.Head, &br.Target} {
		var text []byte
		if !h.IsZero() {
			text = h.Encode()
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
		b = append(b, text...)
	}
	b = binary.BigEndian.AppendUint64(b, br.Receipted)
	b = append(b, br.Receipt[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(br.Trouble)))
	return append(b, br.Trouble...)
}

func decodeBranch(slot records.Slot, b []byte) (br records.Branch, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("branch %d: %w: %w", slot, records.ErrDamaged, err)
		}
	}()
	cut := fmt.Errorf("cut short")
	take := func(n int) []byte {
		if len(b) < n {
			err, b = cut, nil
			return make([]byte, n)
		}
		p := b[:n]
		b = b[n:]
		return p
	}
	br.Slot = slot
	if format := take(1)[0]; format != 1 {
		return br, fmt.Errorf("format %d", format)
	}
	br.Lane = identity.Lane(take(1)[0])
	cert := take(identity.CertificateBytes)
	if err != nil {
		return br, err
	}
	if br.Certificate, err = identity.ReadCertificate(cert); err != nil {
		return br, err
	}
	for _, h := range []*records.Head{&br.Head, &br.Target} {
		if n := int(binary.BigEndian.Uint16(take(2))); n > 0 {
			if *h, err = records.DecodeHead(take(n)); err != nil {
				return br, err
			}
		}
	}
	br.Receipted = binary.BigEndian.Uint64(take(8))
	copy(br.Receipt[:], take(identity.HashBytes))
	br.Trouble = string(take(int(binary.BigEndian.Uint16(take(2)))))
	if err == nil && len(b) > 0 {
		err = fmt.Errorf("%d bytes too many", len(b))
	}
	return br, err
}
