package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of Register, beside those of coordinator.Register and of package link.
var (
	// ErrOtherCoordinator: who answers does not have the key that the code
	// names. The code's secret was not sent.
	ErrOtherCoordinator = errors.New("the coordinator at this address is not the one that the code is for: check the address and ask where the code comes from; if both are right, somebody may be in between")
	// ErrFault: the coordinator cannot answer for the moment.
	ErrFault = errors.New("the coordinator has a fault: try again later, or tell its administrator")
	// ErrAnswer: the coordinator's answer makes no sense.
	ErrAnswer = errors.New("the coordinator's answer cannot be right")
)

// RegisterConfig says what to register where. URL, Key, Code and Name are
// required.
type RegisterConfig struct {
	// URL is where the coordinator is, as in link.DialConfig.Addresses.
	URL      string
	Key      identity.DeviceKey // of this device
	Code     string             // the invitation, as it was typed
	Name     string             // of this device, for people
	Software string
	// Timing defaults to link.TimingInternet.
	Timing link.Timing
	// Timeout bounds finding the coordinator, and once more its answer: 30 s
	// if 0.
	Timeout time.Duration
	// Proxy is as in link.DialConfig.
	Proxy func(*http.Request) (*url.URL, error)
}

// Registration is what a device has learnt that has joined a zone.
type Registration struct {
	Zone        identity.ZoneID
	ZoneName    string
	Coordinator identity.DevicePublic
	Roster      []byte // signed by Coordinator and verified; lists this device
	Address     string // where the coordinator answered
}

// attempts is how often a registration is tried whose connection breaks off.
const attempts = 3

// Register joins a zone. A code that is malformed is roster.ErrInvitation. The
// coordinator's key is checked against the code before anything is sent. If the
// connection breaks off it is tried again, which is safe: the same device may
// repeat its code.
func Register(ctx context.Context, cfg RegisterConfig) (r Registration, err error) {
	invitation, err := roster.ParseInvitation(cfg.Code)
	if err != nil {
		return r, fmt.Errorf("join a zone: %w", err)
	}
	for range attempts {
		r, err = register(ctx, cfg, invitation)
		if err == nil || ctx.Err() != nil || !errors.Is(err, link.ErrBroken) {
			break
		}
	}
	if err != nil {
		return Registration{}, fmt.Errorf("join a zone at %s: %w", cfg.URL, err)
	}
	return r, nil
}

func register(ctx context.Context, cfg RegisterConfig, invitation roster.Invitation) (Registration, error) {
	q := request{Version: version, Join: &join{Secret: invitation.Secret(), Name: cfg.Name, Software: cfg.Software}}
	a, from, err := ask(ctx, link.DialConfig{
		Key: cfg.Key, Addresses: []string{cfg.URL}, Timing: cfg.Timing, Timeout: cfg.Timeout, Proxy: cfg.Proxy,
	}, invitation.Matches, &q)
	switch {
	case errors.Is(err, ErrMessage) && a == nil && from == (identity.DevicePublic{}):
		return Registration{}, fmt.Errorf("name this device: %w", coordinator.ErrName)
	case err != nil:
		return Registration{}, err
	}
	return a.check(from, cfg)
}

// ask asks a coordinator something over a connection of its own. It returns the
// answer, if that is not a refusal, and who gave it. The error is ErrMessage
// without anybody if the request cannot be sent as it is.
func ask(ctx context.Context, to link.DialConfig, is func(identity.DevicePublic) bool, q *request) (*answer, identity.DevicePublic, error) {
	nobody := identity.DevicePublic{}
	if err := writeMessage(io.Discard, q, MaxRequestBytes); err != nil {
		return nil, nobody, err
	}
	to.Timeout = cmp.Or(to.Timeout, 30*time.Second)
	if to.Timing == (link.Timing{}) {
		to.Timing = link.TimingInternet()
	}
	to.Protocol = link.ProtocolControl
	to.Expect = func(peer identity.DevicePublic) error {
		if !is(peer) {
			return ErrOtherCoordinator
		}
		return nil
	}
	conn, err := link.Dial(ctx, to)
	switch {
	case errors.Is(err, link.ErrWrongPeer):
		return nil, nobody, ErrOtherCoordinator
	case err != nil:
		return nil, nobody, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(to.Timeout))
	defer context.AfterFunc(ctx, func() { conn.CloseWithError(link.CodeFault, "given up") })()
	if err := writeMessage(conn, q, MaxRequestBytes); err != nil {
		return nil, conn.Peer(), fmt.Errorf("ask: %w", err)
	}
	var a answer
	if err := readMessage(conn, &a, MaxAnswerBytes); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("it hung up: %w", ErrAnswer)
		}
		return nil, conn.Peer(), fmt.Errorf("hear the answer: %w", err)
	}
	if a.Code != codeDone {
		known, ok := errorsOf[a.Code]
		if !ok {
			known = ErrFault
		}
		return nil, conn.Peer(), &refusal{known, a.Words}
	}
	return &a, conn.Peer(), nil
}

// check verifies what a coordinator has answered who has taken a device in.
func (a *answer) check(from identity.DevicePublic, cfg RegisterConfig) (Registration, error) {
	if a.Joined == nil {
		return Registration{}, ErrAnswer
	}
	r, err := roster.Accept(nil, a.Joined.Roster, from, a.Joined.Zone)
	if err != nil {
		return Registration{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if err := r.MayConnect(cfg.Key.Public().ID()); err != nil {
		return Registration{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return Registration{Zone: r.Zone, ZoneName: r.Name, Coordinator: from, Roster: a.Joined.Roster, Address: cfg.URL}, nil
}

// refusal is what a coordinator said no with: in our words if we know the
// reason, since they may be of another release in its own.
type refusal struct {
	err   error
	words string
}

func (r *refusal) Error() string {
	if r.err == ErrFault && r.words != "" {
		return fmt.Sprintf("%v (%q)", r.err, r.words)
	}
	return r.err.Error()
}

func (r *refusal) Unwrap() error { return r.err }
