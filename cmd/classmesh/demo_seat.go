package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// seat is the place of a device in a demo, which may be switched off.
type seat struct {
	*program
	name   string
	path   string // of the data folder
	id     identity.DeviceID
	center string // URL of the coordinator
	cables *cables

	power sync.Mutex // held while it is switched on or off

	mu   sync.RWMutex // held for reading while somebody uses the device
	web  string       // address of the pages; empty: it has not served yet
	life *deviceLife  // nil: it is switched off
}

// deviceLife is a device from being switched on to being switched off.
type deviceLife struct {
	dev  *device
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
	err  error         // with which it has ended
}

// errOff is why nothing can be done with a device.
var errOff = errors.New("the device is switched off")

// newSeat returns the place of the device whose data is in path.
func newSeat(p *program, name, path, web, center string, c *cables) (*seat, error) {
	key, err := readKey(filepath.Join(path, keyName))
	if err != nil {
		return nil, err
	}
	return &seat{program: p, name: name, path: path, id: key.Public().ID(), web: web, center: center, cables: c}, nil
}

// address is where the pages are, or were.
func (s *seat) address() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.web
}

// switchOn opens the device's data and serves it until ctx is done or it is
// switched off. It returns when pages answer.
func (s *seat) switchOn(ctx context.Context) error {
	s.power.Lock()
	defer s.power.Unlock()
	if s.isOn() {
		return nil
	}
	dev, err := openDevice(ctx, s.program, s.path)
	if err != nil {
		return err
	}
	// The coordinator may have got another port than last time.
	dev.settings.Addresses = []string{s.center}
	dev.dial = s.cables.dialOf(s.id, dev.settings.Addresses)
	if err := dev.folder.setSettings(dev.settings); err != nil {
		return errors.Join(err, dev.Close())
	}
	running, stop := context.WithCancel(ctx)
	life := &deviceLife{dev: dev, stop: stop, done: make(chan struct{})}
	up := make(chan string, 1)
	go func() {
		defer close(life.done)
		defer stop()
		life.err = dev.serve(running, serveOptions{
			web: usableAddress(s.address()),
			lan: lanOptions{address: neighbouringPorts(), quiet: true, unplugged: s.cables.isOut(s.id, wayLAN)},
		}, func(at serving) { up <- at.url })
	}()
	select {
	case url := <-up:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.web, s.life = addressOf(url), life
		return nil
	case <-life.done:
		return errors.Join(life.err, dev.Close(), ctx.Err())
	}
}

// switchOff ends the device in good order and closes its data.
func (s *seat) switchOff() error {
	s.power.Lock()
	defer s.power.Unlock()
	s.mu.Lock()
	life := s.life
	s.life = nil
	s.mu.Unlock()
	if life == nil {
		return nil
	}
	life.stop()
	<-life.done
	return errors.Join(life.err, life.dev.Close())
}

// use does something with the device, which is not switched off meanwhile.
func (s *seat) use(f func(*device) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.life == nil {
		return errOff
	}
	return f(s.life.dev)
}

// failed returns why the device has ended by itself, or nil.
func (s *seat) failed() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.life == nil {
		return nil
	}
	select {
	case <-s.life.done:
		return s.life.err
	default:
		return nil
	}
}

// isOn reports whether the device is switched on.
func (s *seat) isOn() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.life != nil
}

// cut cuts the device off one of its ways, or connects it again.
func (s *seat) cut(w way, out bool) {
	s.power.Lock() // who is switched on meanwhile would miss it
	defer s.power.Unlock()
	s.cables.set(s.id, w, out)
	s.use(func(dev *device) error {
		switch {
		case w == wayLAN:
			dev.lan.unplug(out)
		case !out:
			dev.node.Poke()
		}
		return nil
	})
}

// introduce tells the device where another one is: on loopback alone they could
// not be found on every system.
func (s *seat) introduce(other *seat) {
	s.use(func(dev *device) error {
		return other.use(func(o *device) error {
			a, err := discovery.AddressOf(o.lan.listener.Addr())
			if err == nil {
				dev.lan.book.Learn(discovery.Sighting{Device: other.id, Address: a, Source: discovery.Typed})
			}
			return err
		})
	})
}

// seatView is how things stand with a device of a demo.
type seatView struct {
	Number      int    `json:"number"`
	Name        string `json:"name"`
	URL         string `json:"url"` // of its pages
	On          bool   `json:"on"`
	Internet    bool   `json:"internet"` // not cut off
	LAN         bool   `json:"lan"`      // not cut off
	Centre      bool   `json:"centre"`   // connected
	Links       int    `json:"links"`    // to other devices
	Records     uint64 `json:"records"`
	NotYetSafe  uint64 `json:"not_yet_safe"`
	Fingerprint string `json:"fingerprint"`
}

func (s *seat) view(number int) seatView {
	v := seatView{
		Number: number, Name: s.name, Internet: !s.cables.isOut(s.id, wayInternet), LAN: !s.cables.isOut(s.id, wayLAN),
	}
	s.use(func(dev *device) error {
		v.On, v.URL = true, "http://"+s.web // read under the lock of use
		m := dev.node.Status()
		v.Centre = m.Uplink.State == mesh.Connected
		for _, p := range m.Peers {
			if p.State == mesh.PeerConnected {
				v.Links++
			}
		}
		for _, l := range dev.replica.Logs() {
			v.Records += l.Counter
			v.NotYetSafe += l.Unsafe()
		}
		v.Fingerprint = dev.replica.State().Fingerprint.String()
		return nil
	})
	return v
}

// state is how things stand in words.
func (v *seatView) state() string {
	switch {
	case !v.On:
		return "switched off"
	case !v.Internet && !v.LAN:
		return "all alone"
	case !v.Internet:
		return "no Internet"
	case !v.LAN:
		return "unplugged from the others"
	}
	return "on"
}

// safe is how much of what it holds is at the centre, in words.
func (v *seatView) safe() string {
	switch {
	case !v.On:
		return ""
	case v.NotYetSafe == 0:
		return "all safe"
	}
	return fmt.Sprintf("%d not yet safe", v.NotYetSafe)
}
