package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
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
	// Again is there if this device was copied or restored from a backup.
	Again *againReport `json:"published_again,omitempty"`
	// LAN is how it stands on its network, while it serves.
	LAN *lanReport `json:"lan,omitempty"`
}

// againReport is what only this device had, because it was copied or restored from
// a backup, and has published again.
type againReport struct {
	Records uint64 `json:"records"`
	Going   bool   `json:"going"` // there is more
}

// againFor is how long people are told of it afterwards.
const againFor = 30 * 24 * time.Hour

// again says how many records were published again lately, and whether there are
// more.
func (d *device) again() (records uint64, going bool) {
	for _, a := range d.replica.Asides() {
		if a.Device != d.replica.Device() {
			continue
		}
		if a.Ended == 0 || d.now().Sub(time.UnixMilli(a.Ended)) < againFor {
			records += a.Published
			going = going || a.Ended == 0
		}
	}
	return records, going
}

// lanReport is how a device stands on its network.
type lanReport struct {
	Address string `json:"address"` // where it is called by other devices
	// Findings say what keeps it from others, in words.
	Findings []string `json:"findings"`
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

// peerReport is another device of the zone that is connected, or of which an
// address is known.
type peerReport struct {
	Device identity.DeviceID `json:"device"`
	Name   string            `json:"name"`
	// Address is that of the connection, or where the device would be called.
	Address   string         `json:"address"`
	Via       []string       `json:"via"`       // how the address came to be known
	Transport string         `json:"transport"` // quic or websocket; empty: not connected
	State     mesh.PeerState `json:"state"`
	RTT       *float64       `json:"rtt_ms"` // null: not measured
	// Lacks is how many records are here and, as far as is known, not there;
	// null: not known.
	Lacks *uint64 `json:"lacks"`
	// LastExchange is when the device last said something; null: not known.
	LastExchange *time.Time `json:"last_exchange"`
	Since        *time.Time `json:"since"` // of the connection
	Equal        bool       `json:"equal"` // at the last comparison both held the same
	// Uplink: it says that it reaches the coordinator.
	Uplink bool `json:"uplink"`
	// Late: it has told of work that has not arrived here.
	Late bool `json:"late"`
}

func newPeerReport(p *mesh.Peer) peerReport {
	r := peerReport{
		Device: p.Device, Name: p.Name, State: p.State, Address: p.Address, Via: viaWords(p),
		Transport: string(p.Transport), Equal: p.Session.Equal, Lacks: lacks(p), Uplink: p.Uplink, Late: p.Late,
	}
	if !p.LastExchange.IsZero() {
		r.LastExchange = &p.LastExchange
	}
	if p.State == mesh.PeerConnected {
		r.Since = &p.Since
	}
	if p.RTT > 0 {
		ms := float64(p.RTT.Microseconds()) / 1000
		r.RTT = &ms
	}
	return r
}

// viaWords are the ways in which a peer's address came to be known.
func viaWords(p *mesh.Peer) []string {
	words := []string{}
	for _, source := range p.Via {
		words = append(words, source.String())
	}
	return words
}

// lacks is how many records a peer lacks that are here, nil if it has not told.
func lacks(p *mesh.Peer) *uint64 {
	if !p.Told {
		return nil
	}
	return &p.Lacks
}

// uplinkStopped is the state of the uplink while the device does not run.
const uplinkStopped = "stopped"

type uplinkReport struct {
	State  string     `json:"state"`   // connected, connecting, offline, refused, stopped
	LastOK *time.Time `json:"last_ok"` // when the coordinator was last connected; null: never
	// NotYetSafe is how many counters, of all logs held, no receipt covers.
	NotYetSafe uint64 `json:"not_yet_safe"`
	Reason     string `json:"reason,omitempty"` // for the state, in a word or two that stay the same
	Words      string `json:"words,omitempty"`  // what that means, and what to do
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
	if n, going := d.again(); n > 0 || going {
		s.Again = &againReport{n, going}
	}
	for _, l := range d.replica.Logs() {
		if l.Aside { // another half of a log that is listed as well: what is left of it
			l.Counter, l.Receipted = l.Unsafe(), 0
		}
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
	s.Uplink.State, s.Uplink.Reason, s.Uplink.Words = string(m.Uplink.State), string(m.Uplink.Reason), m.Uplink.Words
	if !m.Uplink.LastOK.IsZero() {
		s.Uplink.LastOK = &m.Uplink.LastOK
	}
	for i := range m.Peers {
		s.Peers = append(s.Peers, newPeerReport(&m.Peers[i]))
	}
	if d.lan != nil {
		s.LAN = &lanReport{Address: d.lan.listener.Addr().String(), Findings: []string{}}
		for _, f := range d.findings() {
			s.LAN.Findings = append(s.LAN.Findings, f.Words)
		}
	}
	return s, nil
}

// findings say what keeps the device from others of its network.
func (d *device) findings() []mesh.Finding {
	if d.lan == nil {
		return nil
	}
	interfaces, err := discovery.SystemInterfaces()
	if err != nil {
		d.logger().Warn("the network cannot be looked at", "error", err)
		return nil // no interfaces would be a finding
	}
	return append(d.node.Doctor(interfaces), d.lan.copies.findings(d.nameOf)...)
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
		fmt.Fprintf(w, "safe         %d records are not yet with the coordinator\n", s.Uplink.NotYetSafe)
	}
	if a := s.Again; a != nil {
		fmt.Fprintf(w, "restored     from a backup, or copied: %d records that only this device had were published again\n", a.Records)
		if a.Going {
			fmt.Fprintln(w, "             and there may be more: let it meet the coordinator")
		}
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
	if len(s.Peers) > 0 {
		fmt.Fprintln(t, "\npeer\tdevice\tstate\tlacks\taddress\tby\tfound")
	}
	for _, p := range s.Peers {
		missing := "?"
		if p.Lacks != nil {
			missing = fmt.Sprint(*p.Lacks)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.Device.Short(), p.State, missing, p.Address, cmp.Or(p.Transport, "-"), strings.Join(p.Via, ", "))
	}
	for _, p := range s.Peers {
		if p.Late {
			fmt.Fprintf(t, "\n%s has newer work, which has not arrived here yet\n", p.Name)
		}
	}
	if s.LAN != nil {
		for _, words := range s.LAN.Findings {
			fmt.Fprintf(t, "\nother devices: %s\n", words)
		}
	}
	return t.Flush()
}

// errAilments ends a diagnosis that found something.
var errAilments = errors.New("something keeps this device from the coordinator or from other devices")

// diagnosis is what "device doctor" tells; scripts rely on the JSON.
type diagnosis struct {
	// Findings is what was found; empty: nothing keeps the device from others.
	Findings []ailment `json:"findings"`
	// LANOff: other devices are not looked for (--lan off).
	LANOff bool         `json:"lan_off"`
	Peers  []peerReport `json:"peers"`
}

// ailment is one thing that was found.
type ailment struct {
	About string `json:"about"` // device, coordinator, other devices, log
	Words string `json:"words"` // what it is, and what to do
	// Log that nothing more is taken of, and whose it is.
	Log    *identity.LogID    `json:"log,omitempty"`
	Device *identity.DeviceID `json:"device,omitempty"`
}

// diagnose says what keeps the device from others, as far as it can tell.
func (s *statusReport) diagnose() diagnosis {
	d := diagnosis{Findings: []ailment{}, Peers: []peerReport{}}
	say := func(about, words string) { d.Findings = append(d.Findings, ailment{About: about, Words: words}) }
	if s.Uplink.State == uplinkStopped {
		say("device", "it does not run: start it with \"classmesh device serve\"")
		return d
	}
	d.LANOff = s.LAN == nil
	if s.Uplink.State != string(mesh.Connected) {
		say("coordinator", s.Uplink.Words)
	}
	if s.LAN != nil {
		for _, words := range s.LAN.Findings {
			say("other devices", words)
		}
		d.Peers = append(d.Peers, s.Peers...)
	}
	for _, l := range s.Logs {
		if l.Trouble != "" {
			d.Findings = append(d.Findings, ailment{About: "log", Words: l.Trouble, Log: &l.Log, Device: &l.Device})
		}
	}
	return d
}

func (d *diagnosis) print(w io.Writer) {
	for _, f := range d.Findings {
		if f.Log != nil {
			f.About = fmt.Sprintf("log %s of %s", f.Log.Short(), f.Device.Short())
		}
		fmt.Fprintf(w, "%s: %s\n", f.About, f.Words)
	}
	if d.LANOff {
		fmt.Fprintln(w, "other devices: they are not looked for (--lan off)")
	}
	for _, p := range d.Peers {
		fmt.Fprintf(w, "%s: %s, %s, known by %s\n", p.Name, p.State, p.Address, strings.Join(p.Via, " and "))
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(w, "nothing was found that keeps this device from the coordinator or from others")
	}
}
