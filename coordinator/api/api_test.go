package api_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/coordinator/storagetest"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

const patience = 20 * time.Second

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newKey(t testing.TB) identity.DeviceKey {
	t.Helper()
	k, err := identity.GenerateDeviceKey(rand.Reader)
	must(t, err)
	return k
}

// centre is a coordinator in memory that answers on loopback and on a socket.
type centre struct {
	*coordinator.Coordinator
	key     identity.DeviceKey
	address string
	admin   *api.Admin
	stop    func()
}

func newCentre(t testing.TB) *centre {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := &centre{key: newKey(t)}
	var err error
	c.Coordinator, err = coordinator.New(coordinator.Config{
		Storage: storagetest.NewMemory(func() records.Store { return storetest.NewMemory() }),
		Key:     c.key, Now: time.Now, Random: rand.Reader, Logger: logger,
	})
	must(t, err)
	server := api.NewServer(c.Coordinator, logger)
	l, err := link.Listen(link.Config{
		Key: c.key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolControl}, HTTP: api.NewPublicHandler(c.Coordinator),
	})
	must(t, err)
	c.address = l.Addr().String()
	socket := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", socket)
	must(t, err)
	admin := &http.Server{Handler: api.NewAdminHandler(c.Coordinator, logger)}
	c.admin = api.NewAdmin(socket)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { l.Run(ctx) })
	wg.Go(func() { admin.Serve(unix) })
	wg.Go(func() {
		for {
			conn, err := l.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { server.Serve(ctx, conn) })
		}
	})
	c.stop = sync.OnceFunc(func() { cancel(); admin.Close(); wg.Wait() })
	t.Cleanup(c.stop)
	return c
}

// zone creates a zone through the socket.
func (c *centre) zone(t testing.TB) api.Zone {
	t.Helper()
	o, err := c.admin.CreateOrg(within(t), "Org")
	must(t, err)
	z, err := c.admin.CreateZone(within(t), o.ID, "School")
	must(t, err)
	return z
}

func (c *centre) invite(t testing.TB, zone identity.ZoneID) string {
	t.Helper()
	i, err := c.admin.CreateInvitation(within(t), zone, nil, 0)
	must(t, err)
	return i.Code
}

func (c *centre) config(key identity.DeviceKey, code string) api.RegisterConfig {
	return api.RegisterConfig{URL: c.address, Key: key, Code: code, Name: "Room 4", Software: "test"}
}

func TestRegister(t *testing.T) {
	c := newCentre(t)
	zone := c.zone(t)
	key, code := newKey(t), c.invite(t, zone.ID)
	for _, url := range []string{c.address, "ws://" + c.address, "quic://" + c.address} { // again is the same
		cfg := c.config(key, strings.ToLower(code))
		cfg.URL = url
		r, err := api.Register(within(t), cfg)
		must(t, err)
		ros, err := roster.Accept(nil, r.Roster, c.key.Public(), zone.ID)
		must(t, err)
		if d, ok := ros.Device(key.Public().ID()); !ok || d.Name != "Room 4" || r.Zone != zone.ID || r.ZoneName != "School" ||
			r.Coordinator != c.key.Public() || r.Address != url || len(ros.Devices) != 1 {
			t.Errorf("registered as %+v in %+v", r, ros)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	c := newCentre(t)
	zone := c.zone(t)
	used, good := c.invite(t, zone.ID), c.invite(t, zone.ID)
	revoked := newKey(t)
	_, err := api.Register(within(t), c.config(revoked, used))
	must(t, err)
	must(t, c.admin.Revoke(within(t), zone.ID, revoked.Public().ID()))
	foreign, err := roster.NewInvitation(rand.Reader, newKey(t).Public())
	must(t, err)
	unknown, err := roster.NewInvitation(rand.Reader, c.key.Public())
	must(t, err)
	slip := []byte(good)
	for i, b := range slip { // another letter, which the check does not know
		if b != '-' {
			slip[i] = map[bool]byte{true: 'B', false: 'A'}[b == 'A']
			break
		}
	}
	for _, test := range []struct {
		name   string
		change func(*api.RegisterConfig)
		want   error
	}{
		{"no code", func(r *api.RegisterConfig) { r.Code = "" }, roster.ErrInvitation},
		{"half a code", func(r *api.RegisterConfig) { r.Code = good[:12] }, roster.ErrInvitation},
		{"code of nobody", func(r *api.RegisterConfig) { r.Code = unknown.Code() }, coordinator.ErrWrongCode},
		{"used code", func(r *api.RegisterConfig) { r.Code = used }, coordinator.ErrUsedCode},
		{"code of another coordinator", func(r *api.RegisterConfig) { r.Code = foreign.Code() }, api.ErrOtherCoordinator},
		{"revoked device", func(r *api.RegisterConfig) { r.Key = revoked }, roster.ErrRevoked},
		{"no name", func(r *api.RegisterConfig) { r.Name = "" }, coordinator.ErrName},
		{"long name", func(r *api.RegisterConfig) { r.Name = strings.Repeat("x", 65) }, coordinator.ErrName},
		{"nobody there", func(r *api.RegisterConfig) { r.URL = "127.0.0.1:1" }, link.ErrUnreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := c.config(newKey(t), good)
			test.change(&cfg)
			cfg.Timeout = 2 * time.Second
			_, err := api.Register(within(t), cfg)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil && cfg.Code != "" && strings.Contains(err.Error(), cfg.Code) {
				t.Errorf("the error repeats the code: %v", err)
			}
		})
	}
	if _, err := api.Register(within(t), c.config(newKey(t), string(slip))); !errors.Is(err, roster.ErrInvitation) && !errors.Is(err, api.ErrOtherCoordinator) {
		t.Errorf("a slip: %v", err)
	}
	if _, err := api.Register(within(t), c.config(newKey(t), good)); err != nil {
		t.Errorf("the good code was used up by what failed: %v", err)
	}
	for range coordinator.MaxTries {
		wrong, err := roster.NewInvitation(rand.Reader, c.key.Public())
		must(t, err)
		api.Register(within(t), c.config(newKey(t), wrong.Code())) // refused, as above
	}
	if _, err := api.Register(within(t), c.config(newKey(t), c.invite(t, zone.ID))); !errors.Is(err, coordinator.ErrManyTries) {
		t.Errorf("after many wrong codes: %v", err)
	}
}

// Devices of a zone learn from the coordinator where the others are.
func TestMeet(t *testing.T) {
	c := newCentre(t)
	zone := c.zone(t)
	here := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7701"), netip.MustParseAddrPort("[fd00::1]:7701")}
	meet := func(key identity.DeviceKey, zone identity.ZoneID, is identity.DevicePublic) ([]coordinator.Place, error) {
		return api.Meet(within(t), api.MeetConfig{URLs: []string{c.address}, Coordinator: is, Key: key, Zone: zone, Addresses: here})
	}
	keys := []identity.DeviceKey{newKey(t), newKey(t)}
	for i, key := range keys {
		_, err := api.Register(within(t), c.config(key, c.invite(t, zone.ID)))
		must(t, err)
		list, err := meet(key, zone.ID, c.key.Public())
		must(t, err)
		if len(list) != i || i > 0 && (list[0].Device != keys[0].Public().ID() || !slices.Equal(list[0].Addresses, here)) {
			t.Errorf("device %d is told of %+v", i, list)
		}
	}
	if _, err := meet(newKey(t), zone.ID, c.key.Public()); !errors.Is(err, roster.ErrUnknownDevice) {
		t.Errorf("not a member: %v", err)
	}
	if _, err := meet(keys[0], identity.ZoneID{1}, c.key.Public()); !errors.Is(err, roster.ErrUnknownDevice) {
		t.Errorf("not a zone: %v", err)
	}
	if _, err := meet(keys[0], zone.ID, newKey(t).Public()); !errors.Is(err, api.ErrOtherCoordinator) {
		t.Errorf("another coordinator: %v", err)
	}
}

// A coordinator that answers nonsense gets a device nowhere.
func TestRegisterChecksAnswer(t *testing.T) {
	key := newKey(t)
	invitation, err := roster.NewInvitation(rand.Reader, key.Public())
	must(t, err)
	for name, answer := range map[string][]byte{
		"nothing":   {},
		"noise":     []byte(strings.Repeat("\xff", 100)),
		"too large": {0xff, 0xff, 0xff, 0xff},
		"empty":     {0, 0, 0, 0},
		"no roster": {0, 0, 0, 2, 0x22, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := link.Listen(link.Config{Key: key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolControl}})
			must(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { l.Run(ctx) })
			wg.Go(func() {
				for {
					conn, err := l.Accept(ctx)
					if err != nil {
						return
					}
					conn.Write(answer)
					conn.Close()
				}
			})
			defer wg.Wait()
			defer cancel()
			_, err = api.Register(within(t), api.RegisterConfig{URL: l.Addr().String(), Key: newKey(t), Code: invitation.Code(), Name: "x"})
			if !errors.Is(err, api.ErrAnswer) && !errors.Is(err, api.ErrMessage) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is not a request is answered in words, and does the server no harm.
func TestServerRefusesNoise(t *testing.T) {
	c := newCentre(t)
	for name, q := range map[string][]byte{
		"noise":      {0, 0, 0, 3, 0xff, 0xff, 0xff},
		"too large":  {0, 1, 0, 0},
		"no version": {0, 0, 0, 0},
		"no request": {0, 0, 0, 2, 8, 1},
	} {
		conn, err := link.Dial(within(t), link.DialConfig{
			Key: newKey(t), Addresses: []string{c.address}, Protocol: link.ProtocolControl, Expect: link.ExpectDevice(c.key.Public().ID()),
		})
		must(t, err)
		conn.Write(q)
		conn.SetReadDeadline(time.Now().Add(patience))
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(answer), "not a control message") {
			t.Errorf("%s: the answer is %q, %v", name, answer, err)
		}
		conn.Close()
	}
	zone := c.zone(t)
	if _, err := api.Register(within(t), c.config(newKey(t), c.invite(t, zone.ID))); err != nil {
		t.Error(err)
	}
}

func TestAdmin(t *testing.T) {
	c := newCentre(t)
	ctx := within(t)
	zone := c.zone(t)
	plain := roster.RolePlain
	i, err := c.admin.CreateInvitation(ctx, zone.ID, &plain, 2*time.Hour)
	must(t, err)
	if d := i.Expires.Sub(i.Created); d != 2*time.Hour || i.Role != "plain" || i.Code == "" || i.Zone != zone.ID {
		t.Errorf("invitation %+v holds for %v", i, d)
	}
	key := newKey(t)
	_, err = api.Register(ctx, c.config(key, i.Code))
	must(t, err)
	id := key.Public().ID()
	must(t, c.admin.SetDeviceRole(ctx, zone.ID, id, roster.RoleAdministrates))
	devices, err := c.admin.Devices(ctx, zone.ID)
	must(t, err)
	if len(devices) != 1 || devices[0].ID != id || devices[0].Role != roster.RoleAdministrates.String() || devices[0].State != "member" || devices[0].LeaseUntil.IsZero() {
		t.Errorf("devices: %+v", devices)
	}
	must(t, c.admin.Revoke(ctx, zone.ID, id))
	if devices, err = c.admin.Devices(ctx, zone.ID); err != nil || devices[0].State != "revoked" {
		t.Errorf("devices: %+v, %v", devices, err)
	}
	invitations, err := c.admin.Invitations(ctx, zone.ID)
	must(t, err)
	if len(invitations) != 1 || invitations[0].Code != "" || invitations[0].Device == nil || *invitations[0].Device != id || invitations[0].Used.IsZero() {
		t.Errorf("invitations: %+v", invitations)
	}
	if list, err := c.admin.Sessions(ctx, zone.ID, 0, 0); err != nil || list == nil || len(list) != 0 {
		t.Errorf("sessions: %v, %v", list, err)
	}
	for _, which := range []string{zone.ID.String(), "school"} {
		if z, err := c.admin.Zone(ctx, which); err != nil || z.ID != zone.ID {
			t.Errorf("zone %q: %+v, %v", which, z, err)
		}
	}
	if o, err := c.admin.Org(ctx, "ORG"); err != nil || o.ID != zone.Org {
		t.Errorf("org: %+v, %v", o, err)
	}

	other, err := c.admin.CreateOrg(ctx, "Other")
	must(t, err)
	_, err = c.admin.CreateZone(ctx, other.ID, "School")
	must(t, err)
	for name, test := range map[string]struct {
		err  func() error
		want error
	}{
		"organisation twice":   {func() error { _, err := c.admin.CreateOrg(ctx, "Org"); return err }, coordinator.ErrExists},
		"no name":              {func() error { _, err := c.admin.CreateOrg(ctx, ""); return err }, coordinator.ErrName},
		"unknown organisation": {func() error { _, err := c.admin.Org(ctx, "nobody"); return err }, coordinator.ErrNotFound},
		"unknown zone":         {func() error { _, err := c.admin.Devices(ctx, identity.ZoneID{1}); return err }, coordinator.ErrNotFound},
		"unknown device":       {func() error { return c.admin.Revoke(ctx, zone.ID, identity.DeviceID{1}) }, roster.ErrUnknownDevice},
		"revoked twice":        {func() error { return c.admin.Revoke(ctx, zone.ID, id) }, roster.ErrRevoked},
	} {
		if err := test.err(); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	if _, err := c.admin.Zone(ctx, "School"); err == nil || errors.Is(err, coordinator.ErrNotFound) {
		t.Errorf("two zones of one name: %v", err)
	}
	if _, err := api.NewAdmin(filepath.Join(t.TempDir(), "none")).Orgs(ctx); !errors.Is(err, api.ErrNotRunning) {
		t.Errorf("no coordinator: %v", err)
	}
}

func TestAdminHandlerIsStrict(t *testing.T) {
	c := newCentre(t)
	zone := c.zone(t)
	h := api.NewAdminHandler(c.Coordinator, slog.New(slog.DiscardHandler))
	invitations := "/v1/zones/" + zone.ID.String() + "/invitations"
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/orgs", `{"name":"a","nickname":"b"}`, 400},
		{"POST", "/v1/orgs", `{"name":"a"} {"name":"b"}`, 400},
		{"POST", "/v1/orgs", `{"name":`, 400},
		{"POST", "/v1/orgs", `{"name":"` + strings.Repeat("a", api.MaxAdminBytes) + `"}`, 400},
		{"POST", "/v1/zones", `{"org":"org-x","name":"a"}`, 400},
		{"GET", "/v1/zones/zone-x/devices", "", 400},
		{"POST", invitations, `{"role":"king"}`, 400},
		{"POST", invitations, `{"valid_hours":169}`, 400},
		{"POST", invitations, `{"valid_hours":168}`, 200},
		{"GET", "/v1/zones/" + zone.ID.String() + "/sessions?limit=x", "", 400},
		{"POST", "/v1/zones/" + zone.ID.String() + "/devices/x/revoke", "", 400},
		{"DELETE", "/v1/orgs", "", 405},
		{"GET", "/v2/orgs", "", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.want {
			t.Errorf("%s %s %.40s: %d %s, want %d", test.method, test.path, test.body, w.Code, w.Body, test.want)
		}
	}
}

func TestPublic(t *testing.T) {
	c := newCentre(t)
	get := func(path string) (int, string) {
		t.Helper()
		response, err := http.Get("http://" + c.address + path)
		must(t, err)
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		must(t, err)
		return response.StatusCode, string(b)
	}
	if code, text := get("/"); code != 200 || !strings.Contains(text, "classmesh coordinator") {
		t.Errorf("/: %d %q", code, text)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	deadline := time.Now().Add(patience)
	for code, _ := get("/readyz"); code != 200; code, _ = get("/readyz") {
		if time.Now().After(deadline) {
			t.Fatalf("/readyz: %d", code)
		}
	}
	if code, _ := get("/v1/orgs"); code != 404 {
		t.Errorf("administration is public: %d", code)
	}
	c.stop()
	w := httptest.NewRecorder()
	api.NewPublicHandler(c.Coordinator).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 503 {
		t.Errorf("/readyz of a stopped coordinator: %d", w.Code)
	}
}
