package link

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// The protocols that are spoken inside a connection, as named by ALPN.
const (
	ProtocolExchange = "classmesh/1"         // sync sessions
	ProtocolControl  = "classmesh-control/1" // registration with a coordinator
)

// certificateOf wraps the identity key for TLS: the smallest certificate,
// the same each time, valid from before every wrong clock until after. The last one
// is kept, as a process mostly has one key, so that not each dial signs one.
func certificateOf(key identity.DeviceKey) (tls.Certificate, error) {
	if last := lastCertificate.Load(); last != nil && last.of == key.Public() {
		return last.certificate, nil
	}
	certificate, err := newCertificate(key)
	if err == nil {
		lastCertificate.Store(&keyCertificate{key.Public(), certificate})
	}
	return certificate, err
}

// keyCertificate is a certificate, and the key that it is of.
type keyCertificate struct {
	of          identity.DevicePublic
	certificate tls.Certificate
}

var lastCertificate atomic.Pointer[keyCertificate]

func newCertificate(key identity.DeviceKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	signer := key.Signer()
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate of identity key: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// tlsConfig is the one configuration of TLS, for both sides of both
// transports. Before it sends anything of its own, a side asks check whether
// it wants to talk to the peer's key.
func tlsConfig(key identity.DeviceKey, protocols []string, check func(identity.DevicePublic) error) (*tls.Config, error) {
	certificate, err := certificateOf(key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   protocols,
		MinVersion:   tls.VersionTLS13,
		ClientAuth:   tls.RequireAnyClientCert,
		// There is no authority to ask: the key itself is the identity, and
		// TLS has made sure that the peer holds it.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			peer, err := peerKey(s, protocols)
			if err != nil {
				return err
			}
			return check(peer)
		},
		SessionTicketsDisabled: true,
		// X25519 alone. With the post-quantum hybrid a fresh connection moves
		// 6.5 kB instead of 4.6 (TestBytesOfFreshConnection), and a session
		// in which there is nothing new is to stay below 7.
		CurvePreferences: []tls.CurveID{tls.X25519},
		// Full records from the start: what is inside is not a web page.
		DynamicRecordSizingDisabled: true,
	}, nil
}

// peerKey returns the key that the peer has proved in a handshake by our
// rules.
func peerKey(s tls.ConnectionState, protocols []string) (peer identity.DevicePublic, err error) {
	if s.Version != tls.VersionTLS13 {
		return peer, &fault{kind: ErrProtocol, text: "handshake is not TLS 1.3"}
	}
	if n := len(s.PeerCertificates); n != 1 {
		return peer, &fault{kind: ErrProtocol, text: fmt.Sprintf("%d certificates, want exactly one", n)}
	}
	key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return peer, &fault{kind: ErrProtocol, text: fmt.Sprintf("certificate with a key of type %s, want Ed25519",
			s.PeerCertificates[0].PublicKeyAlgorithm)}
	}
	if !slices.Contains(protocols, s.NegotiatedProtocol) {
		return peer, &fault{kind: ErrProtocol, text: fmt.Sprintf("peer did not agree on one of the protocols %q", protocols)}
	}
	return identity.DevicePublic(key), nil
}

// ExpectDevice returns a function for [DialConfig.Expect] that wants one
// device and no other.
func ExpectDevice(id identity.DeviceID) func(identity.DevicePublic) error {
	return func(peer identity.DevicePublic) error {
		if got := peer.ID(); got != id {
			return fmt.Errorf("this is device %s, wanted %s", got.Short(), id.Short())
		}
		return nil
	}
}
