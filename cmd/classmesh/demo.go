package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// demoFolder is the folder of a demo: demo.json, and below it the data folders
// of a coordinator and of devices, which other commands can be used on.
const demoFolder folderKind = "demo"

// demoSettings is what demo.json holds.
type demoSettings struct {
	Format      int           `json:"format"`
	Coordinator string        `json:"coordinator"` // address
	Switches    string        `json:"switches"`    // address of the page with the switches
	Devices     []demoDevice  `json:"devices"`
	Accounts    []demoAccount `json:"accounts"`
}

type demoDevice struct {
	Name string `json:"name"`
	Web  string `json:"web"` // address
}

// demoAccount is somebody who can sign in.
type demoAccount struct {
	Role     string `json:"role"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// demoReport is what a demo tells when all is ready; scripts rely on the JSON.
type demoReport struct {
	Coordinator demoPlace       `json:"coordinator"`
	Devices     []demoDeviceURL `json:"devices"`
	Accounts    []demoAccount   `json:"accounts"`
	Switches    string          `json:"switches"` // URL of the page with the switches
}

type demoPlace struct {
	URL  string `json:"url"`
	Data string `json:"data"`
}

type demoDeviceURL struct {
	Name string            `json:"name"`
	ID   identity.DeviceID `json:"id"`
	URL  string            `json:"url"`
	Data string            `json:"data"`
}

// What a demo is made up of.
const (
	demoLearners = 30
	demoDays     = 14
	demoSeed     = 2
	demoPassword = "classmesh"
	maxDemo      = 50 // devices
	anyPort      = "127.0.0.1:0"
)

// demo is a coordinator and devices in this process.
type demo struct {
	*program
	folder      *folder
	settings    demoSettings
	coordinator *coordinatorData
	url         string // of the coordinator
	switches    *switches
	page        net.Listener // of the switches
	ready       func(demoReport) error
	typed       io.Reader // what somebody types; nil: nobody
}

// runDemo runs a demo in dir with at least n devices until ctx is done, or until
// somebody types that it is to end. It calls ready when all devices hold the same
// and it is safe. typed is what people type; nil: nobody does.
func runDemo(ctx context.Context, p *program, dir string, n int, typed io.Reader, ready func(demoReport) error) (err error) {
	if n < 1 || n > maxDemo {
		return usagef("a demo has 1 to %d devices", maxDemo)
	}
	d := &demo{program: p, ready: ready, typed: typed}
	if err := d.open(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if d.coordinator, err = openCoordinator(ctx, p, d.path("coordinator")); err != nil {
		return err
	}

	// The coordinator ends after the devices, which tell it good-bye.
	outer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, groupCtx := errgroup.WithContext(outer)
	up := make(chan string, 1)
	group.Go(func() error {
		return d.coordinator.serve(groupCtx, coordinateOptions{listen: usableAddress(d.settings.Coordinator)}, func(url string) { up <- url })
	})
	group.Go(func() error {
		defer cancel()
		devices, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(groupCtx, stop)()
		select {
		case d.url = <-up:
		case <-devices.Done():
			return nil
		}
		return d.run(devices, n)
	})
	return group.Wait()
}

func (d *demo) path(name string) string { return d.folder.path(name) }

func devicePath(i int) string { return fmt.Sprintf("device-%d", i+1) }

// open opens the folder, or makes one. What a killed process left of making
// one is removed: nobody has worked in it.
func (d *demo) open(ctx context.Context, dir string) error {
	kind, err := folderAt(dir)
	if err == nil && kind == demoFolder {
		d.folder, err = openFolder(ctx, dir, demoFolder, &d.settings)
		return err
	}
	if d.folder, err = createFolder(ctx, dir, demoFolder); err != nil {
		return err
	}
	leftover, err := filepath.Glob(d.path("device-*"))
	for _, name := range append(leftover, d.path("coordinator")) {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make demo: %w", err), d.folder.Close())
	}
	return nil
}

func (d *demo) close() error {
	var errs []error
	if d.coordinator != nil {
		errs = append(errs, d.coordinator.Close())
	}
	return errors.Join(append(errs, d.folder.Close())...)
}

// run makes what is missing, and serves the devices until ctx is done.
func (d *demo) run(ctx context.Context, n int) error {
	made := len(d.settings.Accounts) > 0
	if err := d.joinDevices(ctx, n); err != nil {
		return fmt.Errorf("make demo: %w", err)
	}
	if !made {
		if err := d.makeUp(ctx); err != nil {
			return fmt.Errorf("make demo: %w", err)
		}
	}
	d.switches = &switches{ctx: ctx, clock: d.now}
	cables := newCables()
	for i, dev := range d.settings.Devices {
		seat, err := newSeat(d.program, dev.Name, d.path(devicePath(i)), dev.Web, d.url, cables)
		if err != nil {
			return err
		}
		d.switches.seats = append(d.switches.seats, seat)
	}
	return d.serve(ctx, made)
}

// joinDevices lets devices join until there are n.
func (d *demo) joinDevices(ctx context.Context, n int) error {
	if len(d.settings.Devices) >= n {
		return nil
	}
	admin, err := adminOf(d.path("coordinator"))
	if err != nil {
		return err
	}
	zone, err := demoZone(ctx, admin)
	if err != nil {
		return err
	}
	for i := len(d.settings.Devices); i < n; i++ {
		invitation, err := admin.CreateInvitation(ctx, zone, nil, 0)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("Room %d", i+1)
		dir := d.path(devicePath(i))
		// What a killed process began to add does not stand in the settings.
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if _, err := join(ctx, d.program, joinOptions{dir: dir, name: name, url: d.url, code: invitation.Code}); err != nil {
			return err
		}
		d.settings.Devices = append(d.settings.Devices, demoDevice{Name: name})
	}
	return nil
}

// demoZone returns the one zone of a demo's coordinator, which it makes.
func demoZone(ctx context.Context, admin *api.Admin) (identity.ZoneID, error) {
	zones, err := admin.Zones(ctx)
	if err != nil {
		return identity.ZoneID{}, err
	}
	if len(zones) > 0 {
		return zones[0].ID, nil
	}
	org, err := admin.CreateOrg(ctx, "Demo schools")
	if err != nil {
		return identity.ZoneID{}, err
	}
	zone, err := admin.CreateZone(ctx, org.ID, "Hillside School")
	return zone.ID, err
}

// makeUp fills the first device, which administrates the zone.
func (d *demo) makeUp(ctx context.Context) (err error) {
	first, err := openDevice(ctx, d.program, d.path(devicePath(0)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	g, err := first.generate(ctx, generateOptions{Learners: demoLearners, Days: demoDays, Seed: demoSeed, Password: demoPassword})
	if err != nil {
		return err
	}
	var classes []classroom.GroupID
	err = first.replica.Read(ctx, func(v *records.View) error {
		roll, err := classroom.People(v)
		if err != nil {
			return err
		}
		for _, c := range roll.Classes {
			classes = append(classes, c.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, u := range []classroom.NewUser{
		{Name: "Grace Otieno", Username: "teacher", Role: classroom.RoleTeacher, Groups: classes},
		{Name: "Daniel Mwangi", Username: "administrator", Role: classroom.RoleAdministrator},
	} {
		u.Password = demoPassword // and no language: the browser's counts
		if _, err := classroom.AddUser(ctx, first.replica, first.gate, identity.UserID{}, u); err != nil {
			return err
		}
		d.settings.Accounts = append(d.settings.Accounts, demoAccount{u.Role.String(), u.Username, demoPassword})
	}
	for _, username := range g.Usernames {
		d.settings.Accounts = append(d.settings.Accounts, demoAccount{classroom.RoleLearner.String(), username, demoPassword})
	}
	return nil
}

// serve runs the devices and the page with the switches until ctx is done, and
// says when all agree.
func (d *demo) serve(ctx context.Context, made bool) (err error) {
	if d.page, err = net.Listen("tcp", usableAddress(d.settings.Switches)); err != nil {
		return fmt.Errorf("serve the demo's switches: %w", err)
	}
	defer d.page.Close()
	// Whatever is switched on, at the beginning or later, ends here.
	defer func() { err = errors.Join(err, d.switches.power(everybody, false)) }()
	var starts errgroup.Group
	for _, seat := range d.switches.seats {
		starts.Go(func() error { return seat.switchOn(ctx) })
	}
	if err := starts.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.watch(groupCtx) })
	group.Go(func() error {
		d.introduce()
		if err := d.awaitEqual(groupCtx); err != nil {
			if groupCtx.Err() != nil {
				return nil
			}
			return err
		}
		if err := d.keep(made); err != nil {
			return err
		}
		return d.play(groupCtx)
	})
	if err := group.Wait(); !errors.Is(err, errQuit) {
		return err
	}
	return nil
}

// errQuit ends a demo because somebody wants that.
var errQuit = errors.New("quit")

// play lets people use the switches until ctx is done or they quit.
func (d *demo) play(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler:           demoHandler(d.switches, d.settings.Accounts, d.url),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	group.Go(func() error { return serveHTTP(ctx, server, d.page) })
	if err := d.ready(d.report()); err != nil {
		return err
	}
	if d.typed != nil {
		group.Go(func() error {
			quit := false
			reading, stop := context.WithCancel(ctx)
			defer stop()
			t := &terminal{switches: d.switches, out: d.out, quit: func() { quit = true; stop() }}
			t.read(reading, d.typed)
			if quit {
				return errQuit
			}
			return nil
		})
	}
	return group.Wait()
}

// watch ends the demo when a device ends by itself.
func (d *demo) watch(ctx context.Context) error {
	for pause(ctx, 200*time.Millisecond) == nil {
		for _, seat := range d.switches.seats {
			if err := seat.failed(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", seat.name, err)
			}
		}
	}
	return nil
}

// introduce tells the devices where the others are.
func (d *demo) introduce() {
	for _, seat := range d.switches.seats {
		for _, other := range d.switches.seats {
			if other != seat {
				seat.introduce(other)
			}
		}
	}
}

// awaitEqual waits until all devices hold the same, and it is safe.
func (d *demo) awaitEqual(ctx context.Context) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the devices of the demo do not agree within %v", patience))
	defer cancel()
	for !d.equal() {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) equal() bool {
	want := ""
	for _, v := range d.switches.views() {
		if !v.Centre || v.NotYetSafe > 0 || want != "" && v.Fingerprint != want {
			return false
		}
		want = v.Fingerprint
	}
	return true
}

// keep writes down where everything is, for the next start.
func (d *demo) keep(made bool) error {
	d.settings.Format = folderFormat
	d.settings.Coordinator = addressOf(d.url)
	d.settings.Switches = d.page.Addr().String()
	for i, seat := range d.switches.seats {
		d.settings.Devices[i].Web = seat.address()
	}
	if made {
		return d.folder.setSettings(d.settings)
	}
	return d.folder.finish(d.settings)
}

func (d *demo) report() demoReport {
	r := demoReport{Coordinator: demoPlace{d.url, d.path("coordinator")}, Accounts: d.settings.Accounts, Switches: pageURL(d.page.Addr())}
	for i, seat := range d.switches.seats {
		r.Devices = append(r.Devices, demoDeviceURL{seat.name, seat.id, "http://" + seat.address(), d.path(devicePath(i))})
	}
	return r
}

// addressOf returns host:port of a URL that this program has made.
func addressOf(url string) string {
	const scheme = "http://"
	return url[len(scheme):]
}

// usableAddress returns an address on loopback if its port is free, otherwise
// one with any port.
func usableAddress(address string) string {
	if address == "" {
		return anyPort
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return anyPort
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return anyPort
	}
	defer udp.Close()
	return address
}
