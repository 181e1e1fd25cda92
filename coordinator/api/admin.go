package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// MaxAdminBytes is the size of the largest request to an admin handler.
const MaxAdminBytes = 64 << 10

// What travels between [Admin] and its handler.
type (
	// Org is an organisation.
	Org struct {
		ID      coordinator.OrgID `json:"id"`
		Name    string            `json:"name"`
		Created time.Time         `json:"created"`
	}
	// Zone is a zone.
	Zone struct {
		ID      identity.ZoneID   `json:"id"`
		Org     coordinator.OrgID `json:"org"`
		Name    string            `json:"name"`
		Created time.Time         `json:"created"`
	}
	// Invitation is an invitation. Code is there only when it has just been
	// made.
	Invitation struct {
		Code    string             `json:"code,omitempty"`
		Zone    identity.ZoneID    `json:"zone"`
		Role    string             `json:"role,omitempty"` // of who joins; "": by default
		Created time.Time          `json:"created"`
		Expires time.Time          `json:"expires"`
		Device  *identity.DeviceID `json:"device,omitempty"` // that used it
		Used    time.Time          `json:"used,omitzero"`
	}
	// Device is a device of a zone.
	Device struct {
		ID           identity.DeviceID `json:"id"`
		Name         string            `json:"name"`
		Role         string            `json:"role"`
		State        string            `json:"state"`
		LeaseUntil   time.Time         `json:"lease_until,omitzero"`
		Incarnations int               `json:"incarnations"`
		LastContact  time.Time         `json:"last_contact,omitzero"`
		Connected    bool              `json:"connected"`
	}
	// Session is the record of a session.
	Session struct {
		Number          uint64            `json:"number"`
		Device          identity.DeviceID `json:"device"`
		Incarnation     uint64            `json:"incarnation"`
		Remote          string            `json:"remote"`
		Transport       string            `json:"transport"`
		Software        string            `json:"software"`
		Protocol        uint32            `json:"protocol"`
		Opened          time.Time         `json:"opened"`
		Closed          time.Time         `json:"closed,omitzero"`
		Outcome         string            `json:"outcome"`
		Words           string            `json:"words,omitempty"`
		RecordsSent     uint64            `json:"records_sent"`
		RecordsReceived uint64            `json:"records_received"`
		BytesSent       uint64            `json:"bytes_sent"`
		BytesReceived   uint64            `json:"bytes_received"`
		Equal           bool              `json:"equal"`
	}

	createOrg struct {
		Name string `json:"name"`
	}
	createZone struct {
		Org  coordinator.OrgID `json:"org"`
		Name string            `json:"name"`
	}
	createInvitation struct {
		Role       string `json:"role,omitempty"`
		ValidHours int    `json:"valid_hours,omitempty"`
	}
	setRole struct {
		Role string `json:"role"`
	}
	failure struct {
		Code  string `json:"code"`
		Error string `json:"error"`
	}
)

// errRequest is wrapped by errors about requests that make no sense.
var errRequest = errors.New("not a valid request")

// failures gives errors a status and a code, which the client turns into the
// error again.
var failures = []struct {
	err    error
	status int
	code   string
}{
	{coordinator.ErrNotFound, http.StatusNotFound, "not_found"},
	{roster.ErrUnknownDevice, http.StatusNotFound, "unknown_device"},
	{coordinator.ErrExists, http.StatusConflict, "exists"},
	{roster.ErrRevoked, http.StatusConflict, "revoked"},
	{coordinator.ErrName, http.StatusBadRequest, "name"},
	{identity.ErrID, http.StatusBadRequest, "id"},
	{errRequest, http.StatusBadRequest, "request"},
	{coordinator.ErrStopped, http.StatusServiceUnavailable, "stopping"},
	{records.ErrFull, http.StatusInsufficientStorage, "full"},
}

// NewAdminHandler returns a handler for the requests of administrators. See the
// package's comment for where it may be reached.
func NewAdminHandler(c *coordinator.Coordinator, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, MaxAdminBytes)
			result, err := f(r)
			if err == nil {
				writeJSON(w, http.StatusOK, result)
				return
			}
			status, code := http.StatusInternalServerError, "fault"
			for _, known := range failures {
				if errors.Is(err, known.err) {
					status, code = known.status, known.code
					break
				}
			}
			if code == "fault" {
				logger.Error("an administrator's request failed", "request", pattern, "error", err)
			}
			writeJSON(w, status, failure{code, err.Error()})
		})
	}
	handle("POST /v1/orgs", func(r *http.Request) (any, error) {
		in, err := readJSON[createOrg](r)
		if err != nil {
			return nil, err
		}
		o, err := c.CreateOrg(r.Context(), in.Name)
		return Org(o), err
	})
	handle("GET /v1/orgs", func(r *http.Request) (any, error) {
		list, err := c.Orgs(r.Context())
		return each(list, func(o coordinator.Org) Org { return Org(o) }), err
	})
	handle("POST /v1/zones", func(r *http.Request) (any, error) {
		in, err := readJSON[createZone](r)
		if err != nil {
			return nil, err
		}
		z, err := c.CreateZone(r.Context(), in.Org, in.Name)
		return Zone(z), err
	})
	handle("GET /v1/zones", func(r *http.Request) (any, error) {
		list, err := c.Zones(r.Context())
		return each(list, func(z coordinator.Zone) Zone { return Zone(z) }), err
	})
	inZone := func(pattern string, f func(r *http.Request, zone identity.ZoneID) (any, error)) {
		handle(pattern, func(r *http.Request) (any, error) {
			zone, err := identity.ParseZoneID(r.PathValue("zone"))
			if err != nil {
				return nil, fmt.Errorf("zone: %w", err)
			}
			return f(r, zone)
		})
	}
	inZone("POST /v1/zones/{zone}/invitations", func(r *http.Request, zone identity.ZoneID) (any, error) {
		in, err := readJSON[createInvitation](r)
		if err != nil {
			return nil, err
		}
		invite := coordinator.Invite{Zone: zone, Valid: time.Duration(in.ValidHours) * time.Hour}
		if most := int(coordinator.InvitationTime / time.Hour); in.ValidHours < 0 || in.ValidHours > most {
			return nil, fmt.Errorf("an invitation holds for 1 to %d hours: %w", most, errRequest)
		}
		if in.Role != "" {
			role, err := parseRole(in.Role)
			if err != nil {
				return nil, err
			}
			invite.Role = &role
		}
		code, kept, err := c.CreateInvitation(r.Context(), invite)
		if err != nil {
			return nil, err
		}
		out := invitationOf(kept)
		out.Code = code.Code()
		return out, nil
	})
	inZone("GET /v1/zones/{zone}/invitations", func(r *http.Request, zone identity.ZoneID) (any, error) {
		list, err := c.Invitations(r.Context(), zone)
		return each(list, invitationOf), err
	})
	inZone("GET /v1/zones/{zone}/devices", func(r *http.Request, zone identity.ZoneID) (any, error) {
		list, err := c.Devices(r.Context(), zone)
		return each(list, deviceOf), err
	})
	inZone("GET /v1/zones/{zone}/sessions", func(r *http.Request, zone identity.ZoneID) (any, error) {
		before, err := number(r, "before", 64)
		if err != nil {
			return nil, err
		}
		limit, err := number(r, "limit", 31)
		if err != nil {
			return nil, err
		}
		list, err := c.Sessions(r.Context(), zone, before, int(limit))
		return each(list, sessionOf), err
	})
	ofDevice := func(pattern string, f func(r *http.Request, zone identity.ZoneID, device identity.DeviceID) error) {
		inZone(pattern, func(r *http.Request, zone identity.ZoneID) (any, error) {
			device, err := identity.ParseDeviceID(r.PathValue("device"))
			if err != nil {
				return nil, fmt.Errorf("device: %w", err)
			}
			return struct{}{}, f(r, zone, device)
		})
	}
	ofDevice("POST /v1/zones/{zone}/devices/{device}/revoke", func(r *http.Request, zone identity.ZoneID, device identity.DeviceID) error {
		return c.Revoke(r.Context(), zone, device)
	})
	ofDevice("POST /v1/zones/{zone}/devices/{device}/role", func(r *http.Request, zone identity.ZoneID, device identity.DeviceID) error {
		in, err := readJSON[setRole](r)
		if err != nil {
			return err
		}
		role, err := parseRole(in.Role)
		if err != nil {
			return err
		}
		return c.SetDeviceRole(r.Context(), zone, device, role)
	})
	return mux
}

// readJSON reads one JSON value with no fields but those of T.
func readJSON[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("%w: %w", errRequest, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return v, fmt.Errorf("%w: more than one value", errRequest)
	}
	return v, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}

func number(r *http.Request, name string, bits int) (uint64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is a number: %w", name, errRequest)
	}
	return n, nil
}

func parseRole(s string) (roster.Role, error) {
	role, err := roster.ParseRole(s)
	if err != nil {
		return role, fmt.Errorf("%w: %w", errRequest, err)
	}
	return role, nil
}

// each converts a list, which is never nil, so that it is [] in JSON.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

func invitationOf(i coordinator.Invitation) Invitation {
	out := Invitation{Zone: i.Zone, Created: i.Created, Expires: i.Expires, Used: i.Used}
	if i.Role != nil {
		out.Role = i.Role.String()
	}
	if !i.Device.IsZero() {
		out.Device = &i.Device
	}
	return out
}

func deviceOf(d coordinator.Device) Device {
	out := Device{
		ID: d.ID(), Name: d.Name, Role: d.Role.String(), State: d.State.String(),
		Incarnations: len(d.Incarnations), LastContact: d.LastContact, Connected: d.Connected,
	}
	if d.LeaseUntil != 0 {
		out.LeaseUntil = time.UnixMilli(d.LeaseUntil).UTC()
	}
	return out
}

func sessionOf(s coordinator.Session) Session {
	return Session{
		Number: s.Number, Device: s.Device, Incarnation: s.Incarnation,
		Remote: s.Remote, Transport: s.Transport, Software: s.Software, Protocol: s.Protocol,
		Opened: s.Opened, Closed: s.Closed, Outcome: string(s.Outcome), Words: s.Words,
		RecordsSent: s.RecordsSent, RecordsReceived: s.RecordsReceived,
		BytesSent: s.BytesSent, BytesReceived: s.BytesReceived, Equal: s.Equal,
	}
}
