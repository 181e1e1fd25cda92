package mesh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// Config is what a [Node] is made of. Replica and Identity are required.
type Config struct {
	// Replica is what is kept equal with the others.
	Replica exchange.Replica
	// Identity is this device's key, the one that the roster lists.
	Identity identity.DeviceKey
	// Uplink is the way to the coordinator.
	Uplink Uplink
	// Listener, if not nil, is where peers of the zone call. Run accepts from
	// it; whoever made it runs and closes it.
	Listener *link.Listener
	// Book, if not nil, knows where peers of the zone may be: Run calls them,
	// and decides to whom there are links. Whoever made it runs it.
	Book *discovery.Book
	// HasUplink says whether a peer says of itself that it reaches the
	// coordinator: a hint, such as membership carries. It must not wait. Nil:
	// nobody does.
	HasUplink func(identity.DeviceID) bool
	// UplinkLimit is how much may go between this device and the coordinator each
	// day; zero: as much as there is. Spent is what was used of it before, and
	// SaveSpent is told what is used now, each minute while that changes and in the
	// end; nil: it is forgotten.
	UplinkLimit UplinkLimit
	Spent       Spent
	SaveSpent   func(Spent)
	// MaxPeers is how many sessions there may be at a time: 64 if 0.
	MaxPeers int

	// Software is the version of the program, told to peers for people.
	Software string
	// Codec and Limits are those of the process; nil: packing.Shared, and made by New.
	Codec  *packing.Codec
	Limits *exchange.Limits
	// Timing is how long sessions wait for what.
	Timing exchange.Timing

	Clock  exchange.Clock // nil: the system's
	Random io.Reader      // for the waits between attempts; nil: the system's
	Logger *slog.Logger   // nil: nothing is logged

	// Alarm is told what those who look after the device must know; of the same
	// thing once in ten minutes. It may wait. Nil: alarms are only logged.
	Alarm func(exchange.Alarm)
	// Behind is told the head of a log that a peer holds and that does not go with
	// what the replica holds, or the zero Head if the peer is a copy of this device,
	// and says whether the session must begin anew for it. See
	// records.Replica.Behind. It may wait. Nil: nobody is told.
	Behind func(ctx context.Context, h records.Head, holder identity.DeviceID) (changed bool, err error)

	// Dial makes a connection; nil: [link.Dial].
	Dial func(context.Context, link.DialConfig) (Conn, error)
}

// Uplink is the way to the coordinator.
type Uplink struct {
	// Addresses are those of the coordinator, as for link.DialConfig. Without
	// any there is no uplink.
	Addresses []string
	// Coordinator is the key that must answer there.
	Coordinator identity.DevicePublic
	// Proxy finds the HTTP proxy to use where UDP is blocked; nil is none.
	Proxy func(*http.Request) (*url.URL, error)
}

// Conn is a connection to a device that has proved its key, such as a
// link.Conn. Close wakes a Read and a Write that are waiting.
type Conn interface {
	io.ReadWriteCloser
	CloseWithError(code link.Code, reason string) error
	// Peer is the key that the device has proved.
	Peer() identity.DevicePublic
	Transport() link.Transport
	RemoteAddr() net.Addr
	// Dialled reports whether this side dialled.
	Dialled() bool
	// RTT is about how long the peer takes to answer; 0: not known yet.
	RTT() time.Duration
}

// defaultMaxPeers bounds the memory of all sessions: each may hold some
// megabytes at worst.
const defaultMaxPeers = 64

// complete checks the configuration and fills in what was left out.
func (cfg *Config) complete() error {
	switch {
	case cfg.Replica == nil:
		return errors.New("no replica")
	case cfg.Identity.IsZero():
		return errors.New("no identity key")
	case len(cfg.Uplink.Addresses) > 0 && cfg.Uplink.Coordinator == (identity.DevicePublic{}):
		return errors.New("addresses of a coordinator, but no key of it")
	case cfg.MaxPeers < 0:
		return fmt.Errorf("at most %d peers make no sense", cfg.MaxPeers)
	}
	if cfg.MaxPeers == 0 {
		cfg.MaxPeers = defaultMaxPeers
	}
	if cfg.Codec == nil {
		codec, err := packing.Shared()
		if err != nil {
			return err
		}
		cfg.Codec = codec
	}
	if cfg.Limits == nil {
		cfg.Limits = exchange.NewLimits(0)
	}
	if cfg.Clock == nil {
		cfg.Clock = exchange.SystemClock{}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Alarm == nil {
		cfg.Alarm = func(exchange.Alarm) {}
	}
	if cfg.Behind == nil {
		cfg.Behind = func(context.Context, records.Head, identity.DeviceID) (bool, error) { return false, nil }
	}
	if cfg.HasUplink == nil {
		cfg.HasUplink = func(identity.DeviceID) bool { return false }
	}
	if cfg.SaveSpent == nil {
		cfg.SaveSpent = func(Spent) {}
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, d link.DialConfig) (Conn, error) {
			conn, err := link.Dial(ctx, d)
			if err != nil {
				return nil, err
			}
			return conn, nil
		}
	}
	return nil
}
