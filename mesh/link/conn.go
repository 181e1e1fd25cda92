package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// Transport names what carries a connection.
type Transport string

// The transports.
const (
	QUIC      Transport = "quic"
	WebSocket Transport = "websocket"
)

// closeWait is how long an orderly end waits for the peer to read what is on
// its way. Whatever must not be lost is acknowledged by the protocol inside,
// so this only has to outlast a slow line's round trips.
const closeWait = 3 * time.Second

// pipe is what a transport gives to a Conn: bytes inside TLS.
type pipe interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// translate turns an error of the pipe into one of this package.
	translate(error) error
	// roundTrip is about how long the peer takes to answer; 0: not known yet.
	roundTrip() time.Duration
	// abort ends the pipe at once, both ways, and wakes Read and Write. It
	// tells the peer code and reason where the transport can.
	abort(code Code, reason string)
}

// Conn is an ordered stream of bytes to and from one authenticated peer. It is
// an [io.ReadWriteCloser] with deadlines. One goroutine should always be
// reading: that is how the end of the connection is noticed.
type Conn struct {
	peer      identity.DevicePublic
	protocol  string
	transport Transport
	remote    func() net.Addr
	dialled   bool

	pipe pipe
	ctx  context.Context // ends with the connection, by ended
	stop context.CancelCauseFunc

	ended   sync.Once
	closing atomic.Pointer[CloseError] // set when this side begins to close

	readMu sync.Mutex
	frames frameReader

	writeMu sync.Mutex
	out     *bufio.Writer

	sent, received atomic.Uint64
}

// newConn makes a Conn of a pipe whose handshake is complete.
func newConn(p pipe, peer identity.DevicePublic, protocol string, transport Transport, remote func() net.Addr, dialled bool) *Conn {
	c := &Conn{
		peer: peer, protocol: protocol, transport: transport, remote: remote, dialled: dialled,
		pipe:   p,
		frames: frameReader{in: bufio.NewReaderSize(p, bufferBytes)},
		out:    bufio.NewWriterSize(p, bufferBytes),
	}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	return c
}

// Peer returns the identity key that the peer has proved to hold.
func (c *Conn) Peer() identity.DevicePublic { return c.peer }

// Protocol returns the protocol that both sides agreed to speak.
func (c *Conn) Protocol() string { return c.protocol }

// Transport returns what carries the connection.
func (c *Conn) Transport() Transport { return c.transport }

// RemoteAddr returns the address of the peer, or of a proxy before it. A peer
// that has dialled by QUIC may move to another one.
func (c *Conn) RemoteAddr() net.Addr { return c.remote() }

// Dialled reports whether this side dialled. Of two connections between two
// devices both sides keep the one dialled by the smaller device ID.
func (c *Conn) Dialled() bool { return c.dialled }

// Context returns a context that ends with the connection; its cause is a
// [*CloseError] or one of this package's other errors.
func (c *Conn) Context() context.Context { return c.ctx }

// RTT is about how long a sign of life takes to the peer and back; 0: that is not
// known yet.
func (c *Conn) RTT() time.Duration { return c.pipe.roundTrip() }

// Counts is how many bytes of data a connection has moved, without what
// frames, TLS and transport add.
type Counts struct {
	Sent, Received uint64
}

// Counts returns the bytes moved so far.
func (c *Conn) Counts() Counts {
	return Counts{Sent: c.sent.Load(), Received: c.received.Load()}
}

// Read reads data of the peer. It returns [io.EOF] after the peer has closed
// with [CodeDone], a [*CloseError] after it or this side has closed with
// another code, and an error of this package if the connection failed. Every
// error is final.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		if c.ctx.Err() != nil {
			return 0, c.readError()
		}
		n, err := c.frames.read(p)
		if err != nil {
			c.end(c.pipe.translate(err))
			return 0, c.readError()
		}
		// While this side closes, whoever reads takes what still comes out
		// of the way, until the peer hangs up.
		if c.closing.Load() == nil {
			c.received.Add(uint64(n))
			return n, nil
		}
	}
}

// readError is what Read returns once the connection has ended.
func (c *Conn) readError() error {
	err := context.Cause(c.ctx)
	if e, ok := errors.AsType[*CloseError](err); ok && e.Remote && e.Code == CodeDone {
		return io.EOF
	}
	return err
}

// Write sends p. It blocks while the peer is slow. A nil error means that the
// bytes are on their way, not that they arrived. Every error is final.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	written := 0
	for written < len(p) {
		if e := c.closing.Load(); e != nil {
			return written, e
		}
		if c.ctx.Err() != nil {
			return written, context.Cause(c.ctx)
		}
		part := p[written:min(len(p), written+maxDataBytes)]
		c.out.Write(appendHeader(c.out.AvailableBuffer(), len(part)))
		c.out.Write(part)
		if err := c.flush(); err != nil {
			return written, err
		}
		written += len(part)
		c.sent.Add(uint64(len(part)))
	}
	return written, nil
}

// flush sends what out holds; out keeps the first error until here.
func (c *Conn) flush() error {
	if err := c.out.Flush(); err != nil {
		c.end(c.pipe.translate(err))
		return context.Cause(c.ctx)
	}
	return nil
}

// open sends a frame of nothing, by which the peer learns of a QUIC stream.
func (c *Conn) open() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out.Write(openFrame[:])
	return c.flush()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the time after which a Read fails with [ErrTimeout].
// Unlike with [net.Conn] such a failure ends the connection. The zero time is
// no deadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.pipe.SetReadDeadline, t) }

// SetWriteDeadline sets the time after which a Write fails with [ErrTimeout].
// Such a failure ends the connection. The zero time is no deadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.pipe.SetWriteDeadline, t) }

func (c *Conn) setDeadline(set func(time.Time) error, t time.Time) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if err := set(t); err != nil {
		return c.pipe.translate(err)
	}
	return nil
}

// Close is CloseWithError with [CodeDone].
func (c *Conn) Close() error { return c.CloseWithError(CodeDone, "") }

// CloseWithError ends the connection. Data written before reaches the peer
// ahead of code and reason; what the peer still sends is dropped. It returns
// when the peer has read to the end and hung up, after 3 s at most; the
// connection is over then in any case. A Read in progress returns at the same
// time. Only the first call, of either side, has an effect; the error is
// always nil.
func (c *Conn) CloseWithError(code Code, reason string) error {
	e := &CloseError{Code: code, Reason: cutReason(reason)}
	if c.ctx.Err() != nil {
		return nil
	}
	if !c.closing.CompareAndSwap(nil, e) {
		<-c.ctx.Done() // another call is at it
		return nil
	}
	timer := time.AfterFunc(closeWait, func() { c.end(e) })
	defer timer.Stop()
	c.SetDeadline(time.Time{}) // a deadline of before must not cut this short
	if c.sendEnd(e) == nil {
		io.Copy(io.Discard, c) // until the peer hangs up
	}
	c.end(e)
	return nil
}

func (c *Conn) sendEnd(e *CloseError) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out.Write(appendEnd(nil, e.Code, e.Reason))
	return c.flush()
}

// end ends the connection at once; only the first call has an effect. If this
// side has begun to close, that is the cause, whatever happened since.
func (c *Conn) end(cause error) {
	c.ended.Do(func() {
		code, reason := CodeFault, ""
		if e := c.closing.Load(); e != nil {
			cause = e
		}
		if e, ok := errors.AsType[*CloseError](cause); ok {
			code = CodeDone
			if !e.Remote {
				code, reason = e.Code, e.Reason
			}
		}
		c.stop(cause)
		c.pipe.abort(code, reason)
	})
}
