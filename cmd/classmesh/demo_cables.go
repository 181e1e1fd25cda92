package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// way is where a connection of a demo's device leads.
type way int

const (
	wayInternet way = iota // to the coordinator
	wayLAN                 // to other devices
	ways
)

// String returns the word that people type.
func (w way) String() string { return [ways]string{"internet", "lan"}[w] }

// errPulled is why a device of a demo gets no connection.
var errPulled = fmt.Errorf("%w: it was cut off in the demo", link.ErrUnreachable)

// cables are all connections of the devices of a demo. What is cut off has
// none: those that are open break off, and no new one comes about.
type cables struct {
	mu    sync.Mutex
	out   map[socketOf]bool
	conns map[*link.Conn]cable
}

// socketOf is the end of a cable at a device.
type socketOf struct {
	device identity.DeviceID
	way    way
}

// cable is what a connection goes through. On the way to the coordinator, to is
// zero: that is never cut off.
type cable struct {
	from, to identity.DeviceID
	way      way
}

func newCables() *cables {
	return &cables{out: map[socketOf]bool{}, conns: map[*link.Conn]cable{}}
}

// isOut reports whether a device is cut off.
func (c *cables) isOut(d identity.DeviceID, w way) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out[socketOf{d, w}]
}

// set cuts a device off, or connects it again.
func (c *cables) set(d identity.DeviceID, w way, out bool) {
	c.mu.Lock()
	c.out[socketOf{d, w}] = out
	var broken []*link.Conn
	for conn, through := range c.conns {
		if c.cut(through) {
			broken = append(broken, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range broken {
		conn.CloseWithError(link.CodeFault, errPulled.Error())
	}
}

// cut reports whether either end is out. The lock is held.
func (c *cables) cut(through cable) bool {
	return c.out[socketOf{through.from, through.way}] || c.out[socketOf{through.to, through.way}]
}

// passes returns an error if nothing goes through a cable.
func (c *cables) passes(through cable) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut(through) {
		return errPulled
	}
	return nil
}

// dialOf returns how a device dials: the coordinator at center, or others.
func (c *cables) dialOf(d identity.DeviceID, center []string) func(context.Context, link.DialConfig) (mesh.Conn, error) {
	return func(ctx context.Context, conf link.DialConfig) (mesh.Conn, error) {
		through := cable{from: d, way: wayLAN}
		if slices.Equal(conf.Addresses, center) {
			through.way = wayInternet
		}
		if err := c.passes(through); err != nil {
			return nil, err
		}
		expect := conf.Expect
		conf.Expect = func(peer identity.DevicePublic) error {
			to := through
			if to.way == wayLAN {
				to.to = peer.ID()
			}
			if err := c.passes(to); err != nil {
				return err
			}
			return expect(peer)
		}
		conn, err := link.Dial(ctx, conf)
		if err != nil {
			return nil, err
		}
		if through.way == wayLAN {
			through.to = conn.Peer().ID()
		}
		if err := c.add(conn, through); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// add notes a connection until it ends.
func (c *cables) add(conn *link.Conn, through cable) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut(through) {
		return errPulled
	}
	c.conns[conn] = through
	context.AfterFunc(conn.Context(), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, conn)
	})
	return nil
}

// neighbouringPorts finds a port for connections on loopback such that the next
// one, where membership listens, is free too.
func neighbouringPorts() string {
	for range 50 {
		first, err := net.Listen("tcp", anyPort)
		if err != nil {
			break
		}
		at := first.Addr().(*net.TCPAddr)
		next := fmt.Sprintf("127.0.0.1:%d", at.Port+1)
		tcp, err := net.Listen("tcp", next)
		udp, err2 := net.ListenPacket("udp", next)
		for _, l := range []interface{ Close() error }{first, tcp, udp} {
			if l != nil {
				l.Close()
			}
		}
		if errors.Join(err, err2) == nil {
			return at.String()
		}
	}
	return anyPort
}
