package link

import (
	"bufio"
	"io"
)

// BreakUDP makes the listener's UDP socket fail, as the operating system does
// when an interface goes.
func (l *Listener) BreakUDP() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.udp.Close()
}

// Frames reads the data of a sequence of frames.
func Frames(r io.Reader) io.Reader {
	return frames{&frameReader{in: bufio.NewReaderSize(r, bufferBytes)}}
}

type frames struct{ f *frameReader }

func (f frames) Read(p []byte) (int, error) { return f.f.read(p) }

// AppendData and AppendEnd encode frames.
func AppendData(b, data []byte) []byte { return append(appendHeader(b, len(data)), data...) }

// AppendEnd encodes the end frame.
func AppendEnd(b []byte, code Code, reason string) []byte { return appendEnd(b, code, reason) }

// ParseAddress returns what would be dialled for an address.
func ParseAddress(a string) (quic, socket string, err error) {
	e, err := parseAddress(a)
	if e.socket != nil {
		socket = e.socket.String()
	}
	return e.hostPort, socket, err
}

// MaxHandshakes is the size of the gate.
const MaxHandshakes = maxHandshakes

// SocketError is what an error of the WebSocket or of TLS becomes.
var SocketError = socketError
