package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/roster"
)

// Limits of the control server.
const (
	requestTime = 10 * time.Second // for a request to arrive, and for an answer to leave
	maxRequests = 64               // at a time
)

// Server answers control requests.
type Server struct {
	coordinator *coordinator.Coordinator
	logger      *slog.Logger
	slots       chan struct{} // a token for each request
}

// NewServer returns a server for what is asked of c.
func NewServer(c *coordinator.Coordinator, logger *slog.Logger) *Server {
	return &Server{c, logger, make(chan struct{}, maxRequests)}
}

// Serve answers the request that comes over a connection of
// link.ProtocolControl, and closes the connection.
func (s *Server) Serve(ctx context.Context, conn *link.Conn) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		conn.CloseWithError(link.CodeBusy, "too many requests at the coordinator; try again later")
		return
	}
	defer context.AfterFunc(ctx, func() { conn.CloseWithError(link.CodeStopping, "stopping") })()
	conn.SetReadDeadline(time.Now().Add(requestTime))
	var q request
	err := readMessage(conn, &q, MaxRequestBytes)
	if err != nil && !errors.Is(err, ErrMessage) {
		s.logger.Debug("a control request did not arrive", "remote", conn.RemoteAddr().String(), "error", err)
		conn.CloseWithError(link.CodeFault, "no request was heard")
		return
	}
	a := answer{Version: min(version, q.Version)}
	if err == nil {
		err = s.do(ctx, conn, &q, &a)
	}
	if err != nil {
		a.Code, a.Words = codeOf(err), err.Error()
		if a.Code == codeFault {
			s.logger.Error("a control request failed", "remote", conn.RemoteAddr().String(), "error", err)
			a.Words = "a fault of the coordinator"
		}
		a.Words = strings.ToValidUTF8(a.Words[:min(len(a.Words), MaxWordsBytes)], "")
	}
	conn.SetWriteDeadline(time.Now().Add(requestTime))
	if err := writeMessage(conn, &a, MaxAnswerBytes); err != nil {
		s.logger.Debug("an answer did not leave", "remote", conn.RemoteAddr().String(), "error", err)
	}
	conn.Close()
}

func (s *Server) do(ctx context.Context, conn *link.Conn, q *request, a *answer) error {
	switch {
	case q.Version == 0:
		return fmt.Errorf("the request names no version: %w", ErrMessage)
	case q.Join != nil:
		r, err := s.coordinator.Register(ctx, coordinator.Application{
			Secret: q.Join.Secret, Key: conn.Peer(), Name: q.Join.Name, From: addressOf(conn.RemoteAddr()),
		})
		if err != nil {
			return err
		}
		a.Joined = &joined{Zone: r.Zone, Name: r.ZoneName, Roster: r.Roster}
		return nil
	case q.Meet != nil:
		list, err := s.coordinator.Meet(ctx, q.Meet.Zone, conn.Peer(), parseAddresses(q.Meet.Addresses), addressOf(conn.RemoteAddr()))
		if errors.Is(err, coordinator.ErrNotFound) {
			err = fmt.Errorf("%w: %w", roster.ErrUnknownDevice, err)
		}
		if err != nil {
			return err
		}
		a.Met = &met{}
		for _, p := range list {
			a.Met.Places = append(a.Met.Places, place{p.Device, formatAddresses(p.Addresses)})
		}
		return nil
	}
	return fmt.Errorf("the coordinator does not know this kind of request; update it: %w", ErrMessage)
}

// addressOf returns the IP address in a, or none.
func addressOf(a net.Addr) netip.Addr {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
