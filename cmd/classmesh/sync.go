package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// syncPatience bounds one exchange that a person waits for.
const syncPatience = 10 * time.Minute

// syncReport is what an exchange came to.
type syncReport struct {
	Sent          uint64 `json:"records_sent"`
	Received      uint64 `json:"records_received"`
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
	Fingerprint   string `json:"fingerprint"`
}

// errUplink is why a running device has no connection to the coordinator, in
// its own words.
var errUplink = errors.New("no exchange with the coordinator")

// errRefusedUplink: only people can change it.
var errRefusedUplink = fmt.Errorf("%w, and trying again does not help", errUplink)

// errStalled: the two are connected, and yet one of them does not take what the
// other has.
var errStalled = errors.New("the coordinator is connected, but for a while nothing more was exchanged: perhaps its disk or that of this device is full, or a log needs attention (see device status); what is missing is tried again by itself")

// meshConfig is what the exchange of a device is made of.
func (d *device) meshConfig() mesh.Config {
	return mesh.Config{
		Replica: d.replica, Identity: d.key,
		Uplink:   mesh.Uplink{Addresses: d.settings.Addresses, Coordinator: identity.DevicePublic(d.settings.Coordinator), Proxy: http.ProxyFromEnvironment},
		Software: software(), Random: d.random, Logger: d.logger(), Dial: d.dial,
		Behind: func(ctx context.Context, h records.Head, holder identity.DeviceID) (bool, error) {
			return d.replica.Behind(ctx, &h, holder)
		},
	}
}

// sync does one exchange: over a connection of its own, or, while the device
// serves, over the one that it keeps.
func (d *device) sync(ctx context.Context) (syncReport, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, syncPatience, errors.New("it takes too long; what has arrived is kept, so try again"))
	defer cancel()
	if d.node != nil {
		return d.syncRunning(ctx, stallPatience)
	}
	d.publishAgain(ctx)
	r, err := mesh.Sync(ctx, d.meshConfig())
	if errors.Is(err, mesh.ErrIncomplete) && ctx.Err() == nil {
		// A new incarnation began, or somebody wrote meanwhile.
		r, err = mesh.Sync(ctx, d.meshConfig())
	}
	if err != nil {
		return d.syncReport(r), err
	}
	d.setLastOK(d.now())
	return d.syncReport(r), nil
}

// publishAgain goes on with what a crash has cut off.
func (d *device) publishAgain(ctx context.Context) {
	if err := d.replica.PublishAgain(ctx); err != nil && ctx.Err() == nil {
		d.logger().Error("what only this device has cannot be published now; it is tried again", "error", err)
	}
}

func (d *device) syncReport(r exchange.Report) syncReport {
	return syncReport{r.RecordsSent, r.RecordsReceived, r.BytesSent, r.BytesReceived, d.replica.State().Fingerprint.String()}
}

// syncRunning waits until coordinator and device hold the same and the
// coordinator has confirmed what this device has written. It gives up when for
// as long as stall nothing moves although the two are connected.
func (d *device) syncRunning(ctx context.Context, stall time.Duration) (syncReport, error) {
	const every = 20 * time.Millisecond
	asked := d.now()
	moved, last := asked, moves{}
	d.node.Poke()
	for {
		u := d.node.Status().Uplink
		if m := d.moves(u); m != last {
			moved, last = d.now(), m
		}
		switch {
		case u.State == mesh.Connected && u.Equal && d.receipted():
			return d.syncReport(u.Session), nil
		case u.State == mesh.Refused:
			return d.syncReport(u.Session), fmt.Errorf("sync: %w: %s", errRefusedUplink, u.Words)
		case u.State == mesh.Connected && d.now().Sub(moved) > stall:
			return d.syncReport(u.Session), fmt.Errorf("sync: %w", errStalled)
		case u.State == mesh.Offline && d.now().Sub(asked) > uplinkPatience:
			return d.syncReport(u.Session), fmt.Errorf("sync: %w: %s", errUplink, u.Words)
		}
		if err := pause(ctx, every); err != nil {
			return d.syncReport(u.Session), fmt.Errorf("sync: %w", err)
		}
	}
}

// uplinkPatience is how long a device that is offline may take to come back
// before an exchange that a person wants has failed.
const uplinkPatience = 12 * time.Second

// stallPatience is how long nothing may move before an exchange that a person
// wants has failed.
const stallPatience = 30 * time.Second

// moves is what changes while an exchange gets on.
type moves struct {
	state          mesh.State
	sent, received uint64
	unsafe         uint64
}

func (d *device) moves(u mesh.UplinkStatus) moves {
	m := moves{state: u.State, sent: u.Session.RecordsSent, received: u.Session.RecordsReceived}
	for _, l := range d.replica.Logs() {
		m.unsafe += l.Unsafe()
	}
	return m
}

// receipted reports whether the coordinator has confirmed all logs that this
// device has written.
func (d *device) receipted() bool {
	for _, l := range d.replica.Logs() {
		if l.Device == d.replica.Device() && l.Unsafe() > 0 {
			return false
		}
	}
	return true
}
