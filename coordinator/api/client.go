package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// maxAnswer bounds an answer of an admin handler.
const maxAnswer = 64 << 20

// ErrNotRunning means that no coordinator answers at the socket.
var ErrNotRunning = errors.New("no coordinator is running on this data folder: start it with \"classmesh coordinator serve\"")

// Admin asks a coordinator what administrators ask. Its errors wrap those of
// the Coordinator's methods, and ErrNotRunning. It is safe for concurrent use.
type Admin struct {
	client *http.Client
}

// NewAdmin returns a client for the handler that is served on a Unix socket.
func NewAdmin(socket string) *Admin {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w (%v)", ErrNotRunning, err)
		}
		return conn, err
	}
	return &Admin{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: time.Minute}}
}

// ask sends a request and reads the answer into out.
func (a *Admin) ask(ctx context.Context, what, method, path string, in, out any) error {
	err := a.send(ctx, method, path, in, out)
	if _, said := errors.AsType[*remoteError](err); err == nil || said {
		return err // the other side has said what was attempted
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (a *Admin) send(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://coordinator"+path, body)
	if err != nil {
		return err
	}
	response, err := a.client.Do(q)
	if e, ok := errors.AsType[*url.Error](err); ok && ctx.Err() == nil {
		err = e.Err // its method and address say nothing to people
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := io.LimitReader(response.Body, maxAnswer)
	if response.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(answer).Decode(&f); err != nil {
			return fmt.Errorf("the coordinator answered %s", response.Status)
		}
		for _, known := range failures {
			if known.code == f.Code {
				return &remoteError{known.err, f.Error}
			}
		}
		return errors.New(f.Error)
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("read the coordinator's answer: %w", err)
	}
	return nil
}

// remoteError is an error of the other side, in its words.
type remoteError struct {
	err   error
	words string
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.err }

// CreateOrg creates an organisation.
func (a *Admin) CreateOrg(ctx context.Context, name string) (o Org, err error) {
	err = a.ask(ctx, "create organisation", "POST", "/v1/orgs", createOrg{name}, &o)
	return o, err
}

// Orgs returns all organisations by name.
func (a *Admin) Orgs(ctx context.Context) (list []Org, err error) {
	err = a.ask(ctx, "list organisations", "GET", "/v1/orgs", nil, &list)
	return list, err
}

// Org finds an organisation by its ID or, regardless of case, its name.
func (a *Admin) Org(ctx context.Context, which string) (Org, error) {
	list, err := a.Orgs(ctx)
	if err != nil {
		return Org{}, err
	}
	for _, o := range list {
		if o.ID.String() == which || strings.EqualFold(o.Name, which) {
			return o, nil
		}
	}
	return Org{}, fmt.Errorf("find organisation %q: %w", which, coordinator.ErrNotFound)
}

// CreateZone creates a zone.
func (a *Admin) CreateZone(ctx context.Context, org coordinator.OrgID, name string) (z Zone, err error) {
	err = a.ask(ctx, "create zone", "POST", "/v1/zones", createZone{org, name}, &z)
	return z, err
}

// Zones returns all zones by name.
func (a *Admin) Zones(ctx context.Context) (list []Zone, err error) {
	err = a.ask(ctx, "list zones", "GET", "/v1/zones", nil, &list)
	return list, err
}

// Zone finds a zone by its ID or, regardless of case, its name, which must
// then be that of one zone only.
func (a *Admin) Zone(ctx context.Context, which string) (Zone, error) {
	list, err := a.Zones(ctx)
	if err != nil {
		return Zone{}, err
	}
	var named []Zone
	for _, z := range list {
		if z.ID.String() == which {
			return z, nil
		}
		if strings.EqualFold(z.Name, which) {
			named = append(named, z)
		}
	}
	switch len(named) {
	case 0:
		return Zone{}, fmt.Errorf("find zone %q: %w", which, coordinator.ErrNotFound)
	case 1:
		return named[0], nil
	}
	return Zone{}, fmt.Errorf("find zone %q: %d organisations have one of that name; give its ID", which, len(named))
}

// CreateInvitation makes an invitation with a code. role nil is the default
// (the first device administrates, the others are a classroom's); valid is cut
// to whole hours, and 0 is the most.
func (a *Admin) CreateInvitation(ctx context.Context, zone identity.ZoneID, role *roster.Role, valid time.Duration) (i Invitation, err error) {
	in := createInvitation{ValidHours: int(valid / time.Hour)}
	if valid > 0 && in.ValidHours == 0 {
		in.ValidHours = 1
	}
	if role != nil {
		in.Role = role.String()
	}
	err = a.ask(ctx, "create invitation", "POST", "/v1/zones/"+zone.String()+"/invitations", in, &i)
	return i, err
}

// Invitations returns a zone's invitations, the newest first.
func (a *Admin) Invitations(ctx context.Context, zone identity.ZoneID) (list []Invitation, err error) {
	err = a.ask(ctx, "list invitations", "GET", "/v1/zones/"+zone.String()+"/invitations", nil, &list)
	return list, err
}

// Devices returns a zone's devices by name.
func (a *Admin) Devices(ctx context.Context, zone identity.ZoneID) (list []Device, err error) {
	err = a.ask(ctx, "list devices", "GET", "/v1/zones/"+zone.String()+"/devices", nil, &list)
	return list, err
}

// Revoke removes a device from a zone.
func (a *Admin) Revoke(ctx context.Context, zone identity.ZoneID, device identity.DeviceID) error {
	return a.ask(ctx, "revoke device", "POST", "/v1/zones/"+zone.String()+"/devices/"+device.String()+"/revoke", nil, new(struct{}))
}

// SetDeviceRole gives a device another role.
func (a *Admin) SetDeviceRole(ctx context.Context, zone identity.ZoneID, device identity.DeviceID, role roster.Role) error {
	return a.ask(ctx, "set role of device", "POST", "/v1/zones/"+zone.String()+"/devices/"+device.String()+"/role", setRole{role.String()}, new(struct{}))
}

// Sessions returns at most limit sessions of a zone, the newest first, those
// with numbers below before; 0 stands for as many as there are, and for all.
func (a *Admin) Sessions(ctx context.Context, zone identity.ZoneID, before uint64, limit int) (list []Session, err error) {
	path := "/v1/zones/" + zone.String() + "/sessions?before=" + strconv.FormatUint(before, 10) + "&limit=" + strconv.Itoa(limit)
	err = a.ask(ctx, "list sessions", "GET", path, nil, &list)
	return list, err
}
