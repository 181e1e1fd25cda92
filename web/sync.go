package web

import (
	"slices"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// SyncState is how things stand with the coordinator.
type SyncState string

// The states. Any other text counts as StateOffline.
const (
	StateNone       SyncState = "none"       // this device knows no coordinator
	StateConnecting SyncState = "connecting" // it is being dialled
	StateConnected  SyncState = "connected"
	StateOffline    SyncState = "offline" // it is tried again and again
	StateRefused    SyncState = "refused" // it will not have this device; only people can change it
)

// Sync is how far the exchange of records is: what the status page shows.
type Sync struct {
	State     SyncState
	Reason    string // why, in a word or two that the texts know
	Words     string // the same in English, and what to do, for what they do not know
	Address   string // of the coordinator, as far as known
	Transport string // "quic", "websocket", or nothing
	Since     time.Time
	LastOK    time.Time // when the coordinator was last connected; zero: not since the start
	LastError string    // for those who look closer

	// NotYetSafe is how many records are held here for which the coordinator
	// has given no receipt yet, whoever wrote them.
	NotYetSafe uint64

	// Again is what only this device had, because it was copied or restored from
	// a backup, and has published again.
	Again struct {
		Records uint64
		Going   bool // there is more
	}

	Logs  []SyncLog
	Peers []SyncPeer
}

// SyncLog is how much of a log is held, and how much of it is safe.
type SyncLog struct {
	Log     identity.LogID    `json:"log"`
	Device  identity.DeviceID `json:"device"` // whose log it is
	Lane    identity.Lane     `json:"lane"`
	Counter uint64            `json:"counter"`
	Receipt uint64            `json:"receipt"`           // counter up to which the coordinator has a copy
	Trouble string            `json:"trouble,omitempty"` // why nothing more is taken of it
}

// SyncPeer is another device that is connected.
type SyncPeer struct {
	Device    identity.DeviceID
	Name      string
	Address   string
	Transport string
	Since     time.Time
	Equal     bool // both hold the same
}

// safety is what people want to know.
type safety string

const (
	safe    safety = "safe"    // everything is with the coordinator
	sending safety = "sending" // it is on its way
	waiting safety = "waiting" // the coordinator cannot be reached
	refused safety = "refused" // the coordinator refuses
	alone   safety = "alone"   // there is no coordinator
	forked  safety = "forked"  // a log of this device goes no further
)

// safety says how safe the work on device own is.
func (s *Sync) safety(own identity.DeviceID) safety {
	switch {
	case s.State == StateNone:
		return alone
	case s.State == StateRefused:
		return refused
	case slices.ContainsFunc(s.Logs, func(l SyncLog) bool { return l.Device == own && l.Trouble != "" }):
		// A receipt may be for the other version, so it says nothing here.
		return forked
	case s.NotYetSafe == 0:
		return safe
	case s.State == StateConnected:
		return sending
	}
	return waiting
}
