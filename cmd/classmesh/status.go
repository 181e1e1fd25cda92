package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// statusReport is what "device status" tells; scripts rely on the JSON.
type statusReport struct {
	Device      identity.DeviceID `json:"device"`
	Name        string            `json:"name"`
	Zone        identity.ZoneID   `json:"zone"`
	RosterEpoch string            `json:"roster_epoch"` // life.number
	// Fingerprint is equal on two replicas exactly when they hold the same.
	Fingerprint string       `json:"fingerprint"`
	Logs        []logReport  `json:"logs"`
	Peers       []peerReport `json:"peers"`
	Uplink      uplinkReport `json:"uplink"`
}

// logReport is one log: held up to counter, safe up to receipt.
type logReport struct {
	Log     identity.LogID    `json:"log"`
	Device  identity.DeviceID `json:"device"`
	Lane    string            `json:"lane"`
	Counter uint64            `json:"counter"`
	Receipt uint64            `json:"receipt"`
	// Trouble says in words why nothing more is taken of the log.
	Trouble string `json:"trouble,omitempty"`
}

// peerReport is another device that is connected.
type peerReport struct {
	Device    identity.DeviceID `json:"device"`
	Name      string            `json:"name"`
	Address   string            `json:"address"`
	Transport string            `json:"transport"`
	Since     time.Time         `json:"since"`
	Equal     bool              `json:"equal"`
}

// uplinkStopped is the state of the uplink while the device does not run.
const uplinkStopped = "stopped"

type uplinkReport struct {
	State  string     `json:"state"`   // connected, connecting, offline, refused, stopped
	LastOK *time.Time `json:"last_ok"` // when the coordinator was last connected; null: never
	// NotYetSafe is how many counters, of all logs held, no receipt covers.
	NotYetSafe uint64 `json:"not_yet_safe"`
	Words      string `json:"words,omitempty"` // what the state means, and what to do
}

func (d *device) status(context.Context) (statusReport, error) {
	state := d.replica.State()
	s := statusReport{
		Device: d.replica.Device(), Name: d.settings.Name, Zone: d.replica.Zone(),
		RosterEpoch: fmt.Sprintf("%d.%d", state.Epoch.Life, state.Epoch.Number),
		Fingerprint: state.Fingerprint.String(),
		Logs:        []logReport{}, Peers: []peerReport{},
		Uplink: uplinkReport{State: uplinkStopped, LastOK: d.lastOK()},
	}
	// The roster knows the name that an administrator gave it since.
	if known, ok := d.replica.Roster().Device(s.Device); ok {
		s.Name = known.Name
	}
	for _, l := range d.replica.Logs() {
		if l.Counter == 0 {
			continue // nothing of it is complete
		}
		s.Logs = append(s.Logs, logReport{l.Log, l.Device, l.Lane.String(), l.Counter, min(l.Counter, l.Receipted), l.Trouble})
		s.Uplink.NotYetSafe += l.Unsafe()
	}
	if d.node == nil {
		return s, nil
	}
	m := d.node.Status()
	s.Uplink.State, s.Uplink.Words = string(m.Uplink.State), m.Uplink.Words
	if !m.Uplink.LastOK.IsZero() {
		s.Uplink.LastOK = &m.Uplink.LastOK
	}
	for _, p := range m.Peers {
		s.Peers = append(s.Peers, peerReport{p.Device, p.Name, p.Address, string(p.Transport), p.Since, p.Session.Equal})
	}
	return s, nil
}

// contactName is the file that keeps when the coordinator was last connected,
// for status while the device does not run.
const contactName = "contact.json"

type contact struct {
	LastOK time.Time `json:"last_ok"`
}

func (d *device) lastOK() *time.Time {
	b, err := os.ReadFile(d.folder.path(contactName))
	var c contact
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("the time of the last contact cannot be read", "error", err)
		}
		return nil
	}
	return &c.LastOK
}

func (d *device) setLastOK(t time.Time) {
	if t.IsZero() {
		return
	}
	b, err := json.Marshal(contact{t})
	if err == nil {
		err = writeDurably(d.folder.path(contactName), append(b, '\n'), 0o600)
	}
	if err != nil {
		d.log.Warn("the time of the last contact cannot be kept", "error", err)
	}
}

// print shows a status to a person.
func (s *statusReport) print(w io.Writer) error {
	fmt.Fprintf(w, "device       %s (%v)\n", s.Name, s.Device)
	fmt.Fprintf(w, "zone         %v, roster %s\n", s.Zone, s.RosterEpoch)
	fmt.Fprintf(w, "fingerprint  %s\n", s.Fingerprint)
	last := "never"
	if s.Uplink.LastOK != nil {
		last = s.Uplink.LastOK.Local().Format(time.DateTime)
	}
	fmt.Fprintf(w, "coordinator  %s, last connected: %s\n", s.Uplink.State, last)
	if s.Uplink.Words != "" {
		fmt.Fprintf(w, "             %s\n", s.Uplink.Words)
	}
	if s.Uplink.NotYetSafe == 0 {
		fmt.Fprintln(w, "safe         everything here is safe with the coordinator")
	} else {
		fmt.Fprintf(w, "safe         %d changes are not yet with the coordinator\n", s.Uplink.NotYetSafe)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nlog\tdevice\tlane\tcounter\treceipt")
	for _, l := range s.Logs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", l.Log.Short(), l.Device.Short(), l.Lane, l.Counter, l.Receipt)
	}
	for _, l := range s.Logs {
		if l.Trouble != "" {
			fmt.Fprintf(t, "\nlog %s of %s needs attention: %s\n", l.Log.Short(), l.Device.Short(), l.Trouble)
		}
	}
	for _, p := range s.Peers {
		fmt.Fprintf(t, "\npeer %s\t%s\t%s\t%s\n", p.Name, p.Device.Short(), p.Address, p.Transport)
	}
	return t.Flush()
}
