package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// version is the highest version of the control messages that is spoken here.
const version = 1

// Limits of control messages.
const (
	MaxRequestBytes  = 4 << 10
	MaxAnswerBytes   = roster.MaxRosterBytes + 4<<10
	MaxSoftwareBytes = 64
	MaxWordsBytes    = 1 << 10
)

// ErrMessage is wrapped by errors about bytes that are not a control message.
var ErrMessage = errors.New("not a control message")

// code says how a request ended. Codes are given out once and never reused.
type code uint32

const (
	codeDone code = iota
	codeFault
	codeRequest // malformed, or of a kind that the coordinator does not know
	codeWrongCode
	codeUsedCode
	codeExpiredCode
	codeManyTries
	codeName
	codeRevoked
	codeStopping
	codeUnknown // device or zone
)

// errorsOf are the errors that travel as codes.
var errorsOf = map[code]error{
	codeRequest:     ErrMessage,
	codeWrongCode:   coordinator.ErrWrongCode,
	codeUsedCode:    coordinator.ErrUsedCode,
	codeExpiredCode: coordinator.ErrExpiredCode,
	codeManyTries:   coordinator.ErrManyTries,
	codeName:        coordinator.ErrName,
	codeRevoked:     roster.ErrRevoked,
	codeStopping:    coordinator.ErrStopped,
	codeUnknown:     roster.ErrUnknownDevice,
}

// codeOf returns the code under which an error travels: codeFault for those
// that are nobody else's concern.
func codeOf(err error) code {
	for c, known := range errorsOf {
		if errors.Is(err, known) {
			return c
		}
	}
	return codeFault
}

type request struct {
	Version uint32
	Join    *join
	Meet    *meet
}

func (m *request) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Version)
	message.Optional(v, 2, &m.Join)
	message.Optional(v, 3, &m.Meet)
}

// meet tells where a device of a zone can be called on its network.
type meet struct {
	Zone      identity.ZoneID
	Addresses []string
}

func (m *meet) Fields(v *message.Visitor) {
	v.Fixed(1, m.Zone[:])
	v.StringList(2, &m.Addresses, coordinator.MaxPlaceAddresses, maxAddressBytes)
}

// maxAddressBytes is the length of the longest IP address with a port.
const maxAddressBytes = 48

type join struct {
	Secret   roster.Secret
	Name     string
	Software string
}

func (m *join) Fields(v *message.Visitor) {
	v.Fixed(1, m.Secret[:])
	v.String(2, &m.Name, coordinator.MaxNameBytes)
	v.String(3, &m.Software, MaxSoftwareBytes)
}

type answer struct {
	Version uint32
	Code    code
	Words   string
	Joined  *joined
	Met     *met
}

func (m *answer) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Version)
	message.Uint(v, 2, &m.Code)
	v.String(3, &m.Words, MaxWordsBytes)
	message.Optional(v, 4, &m.Joined)
	message.Optional(v, 5, &m.Met)
}

// met tells where others can be called.
type met struct{ Places []place }

func (m *met) Fields(v *message.Visitor) { message.List(v, 1, &m.Places, coordinator.MaxPlaces) }

type place struct {
	Device    identity.DeviceID
	Addresses []string
}

func (m *place) Fields(v *message.Visitor) {
	v.Fixed(1, m.Device[:])
	v.StringList(2, &m.Addresses, coordinator.MaxPlaceAddresses, maxAddressBytes)
}

type joined struct {
	Zone   identity.ZoneID
	Name   string
	Roster []byte
}

func (m *joined) Fields(v *message.Visitor) {
	v.Fixed(1, m.Zone[:])
	v.String(2, &m.Name, coordinator.MaxNameBytes)
	v.Bytes(3, &m.Roster, roster.MaxRosterBytes)
}

// writeMessage writes m with its length, in one piece.
func writeMessage(w io.Writer, m message.Message, maxBytes int) error {
	body, err := message.Encode(m, maxBytes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// readMessage reads a message of at most maxBytes into m. Errors wrap
// ErrMessage if the bytes are at fault, otherwise they are those of r.
func readMessage(r io.Reader, m message.Message, maxBytes int) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > uint32(maxBytes) {
		return fmt.Errorf("%d bytes, at most %d are allowed: %w", n, maxBytes, ErrMessage)
	}
	// What arrives, not what is announced, takes memory.
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(body) < int(n) {
		return io.ErrUnexpectedEOF
	}
	if err := message.Decode(body, m, maxBytes); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}
