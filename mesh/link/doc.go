// Package link carries bytes between two devices that have proved who they
// are. A [Conn] is one ordered stream of bytes in each direction; [Listen] and
// [Dial] make them. What is said on it, and whether the peer is welcome at
// all, is decided above: link accepts any Ed25519 identity key and tells whose
// it is ([Conn.Peer]).
//
// # Channel
//
// TLS 1.3, both sides with a self-signed certificate made from their identity
// key ([identity.DeviceKey]). There is no authority and no date: a certificate
// is only the form in which TLS carries a key, and boards without a clock must
// get in. Session tickets and 0-RTT are off, so a revoked device cannot
// resume. ALPN names the protocol inside ([ProtocolExchange],
// [ProtocolControl]).
//
// The same TLS runs over two transports, which a listener serves on one port
// number:
//
//   - QUIC over UDP;
//   - where UDP is blocked, a WebSocket at the path /mesh over HTTP or HTTPS,
//     used as a pipe of bytes (the boundaries of its messages mean nothing).
//     Our TLS is inside, so neither a proxy on the way nor the outer HTTPS is
//     relied upon, nor its certificate.
//
// Dial races them and takes the first that has finished its handshake. On
// QUIC the dialler opens the only stream.
//
// # Frames
//
// Inside TLS each direction is a sequence of frames, so that an end, its code
// and everything written before it arrive in order, authenticated, and alike
// on both transports. A frame begins with 3 bytes, big-endian:
//
//	000000            nothing; the dialler's first frame, which makes the
//	                  stream visible to the peer
//	000001 … fffffe   that many bytes of data follow
//	ffffff            the end: code (4), length of the reason (1), reason (UTF-8)
//
// Data may be cut into frames anywhere. A stream that stops without the end
// frame was cut off: [ErrBroken], never [io.EOF].
//
// # Ending
//
// [Conn.CloseWithError] sends the end frame behind all data, then waits, a few
// seconds at most, until the peer has read up to it and hung up. Delivered to
// the peer's memory is not stored by the peer: only an answer of the protocol
// inside can tell that.
//
// All methods of Conn and Listener may be called concurrently.
package link
