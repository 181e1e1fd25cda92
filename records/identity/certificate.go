package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	labelCertificate = NewLabel("classmesh 1 incarnation certificate")
	labelPossession  = NewLabel("classmesh 1 author key possession")
)

// CertificateBytes is the size of an encoded certificate.
const CertificateBytes = 1 + 16 + 32 + 32 + 8 + 2*SignatureBytes

// ErrCertificate is wrapped by errors about certificates that do not hold.
var ErrCertificate = errors.New("not a valid incarnation certificate")

// Certificate is a device's word that an author key is one incarnation of its
// database. The encoding is fixed:
//
//	 0  format, 1
//	 1  zone (16)
//	17  identity public key of the device (32)
//	49  author public key (32)
//	81  sequence number, big-endian (8): 1 for the first incarnation
//	89  Ed25519 by the identity key over bytes 0–88 (64)
//	153 Ed25519 by the author key over bytes 0–88, under a label of its own
//	    (64): without it a member could certify another device's author key
//	    as its own and have that device's logs judged as its own.
type Certificate struct {
	Zone      ZoneID
	Device    DevicePublic
	Author    AuthorPublic
	Sequence  uint64
	Signature Signature
	// Possession is the author key's own consent.
	Possession Signature
}

// IssueCertificate certifies author as incarnation number sequence of the
// device that holds key.
func IssueCertificate(key DeviceKey, zone ZoneID, author AuthorKey, sequence uint64) Certificate {
	c := Certificate{Zone: zone, Device: key.Public(), Author: author.Public(), Sequence: sequence}
	c.Signature = key.Sign(&labelCertificate, c.signed())
	c.Possession = author.Sign(&labelPossession, c.signed())
	return c
}

// Verify reports, as an error wrapping [ErrCertificate], whether the signature
// of the device or of the author key does not hold. Whether the device is a member is the roster's to
// say.
func (c Certificate) Verify() error {
	if !c.Device.Verify(&labelCertificate, c.signed(), c.Signature) {
		return fmt.Errorf("signature of device %s: %w", c.Device.ID().Short(), ErrCertificate)
	}
	if !c.Author.Verify(&labelPossession, c.signed(), c.Possession) {
		return fmt.Errorf("signature of the author key of device %s: %w", c.Device.ID().Short(), ErrCertificate)
	}
	return nil
}

// Log returns the ID of the incarnation's log in a lane.
func (c Certificate) Log(l Lane) LogID { return NewLogID(c.Zone, c.Author, l) }

// Encode returns the fixed layout.
func (c Certificate) Encode() []byte {
	return append(append(c.signed(), c.Signature[:]...), c.Possession[:]...)
}

func (c Certificate) signed() []byte {
	b := make([]byte, 0, CertificateBytes)
	b = append(b, 1)
	b = append(b, c.Zone[:]...)
	b = append(b, c.Device[:]...)
	b = append(b, c.Author[:]...)
	return binary.BigEndian.AppendUint64(b, c.Sequence)
}

// DecodeCertificate reads the fixed layout and verifies both signatures.
func DecodeCertificate(b []byte) (Certificate, error) {
	c, err := ReadCertificate(b)
	if err != nil {
		return c, err
	}
	return c, c.Verify()
}

// ReadCertificate reads the fixed layout and verifies nothing: for a store
// that reads again what was verified when it was written.
func ReadCertificate(b []byte) (Certificate, error) {
	var c Certificate
	if len(b) != CertificateBytes {
		return c, fmt.Errorf("%d bytes, want %d: %w", len(b), CertificateBytes, ErrCertificate)
	}
	if b[0] != 1 {
		return c, fmt.Errorf("format %d, this version reads 1: %w", b[0], ErrCertificate)
	}
	copy(c.Zone[:], b[1:])
	copy(c.Device[:], b[17:])
	copy(c.Author[:], b[49:])
	c.Sequence = binary.BigEndian.Uint64(b[81:])
	copy(c.Signature[:], b[89:])
	copy(c.Possession[:], b[89+SignatureBytes:])
	if c.Sequence == 0 {
		return c, fmt.Errorf("sequence number 0: %w", ErrCertificate)
	}
	return c, nil
}
