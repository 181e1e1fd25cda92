package coordinator

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of a Storage.
var (
	// ErrNotFound: there is no such organisation, zone, invitation or session.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name or ID is taken.
	ErrExists = errors.New("exists already")
	// ErrChanged: what was to be replaced is not there any more; read it again.
	ErrChanged = errors.New("changed in the meantime")
)

// Storage keeps what a coordinator must not forget. Implementations pass the
// suite in coordinator/storagetest.
//
// All methods are safe for concurrent use. A method that changes something
// returns nil when the change is on disk, surviving a power cut, and changes
// nothing when it fails, unless the error wraps records.ErrUncertain: then the
// change may have happened, and everything fails until the storage is opened
// again. Times are kept in milliseconds. Texts and lists are bounded by the
// caller.
type Storage interface {
	// CreateOrg stores an organisation. It is ErrExists if the ID or the name,
	// regardless of case, is taken.
	CreateOrg(ctx context.Context, o Org) error
	// Orgs returns all organisations by name.
	Orgs(ctx context.Context) ([]Org, error)

	// CreateZone makes an empty store of records, calls found with it, and
	// makes the zone known with the given roster: all of it, or, if found or
	// anything else fails, nothing that is ever seen. It is ErrNotFound without
	// the organisation, and ErrExists if the zone's ID is taken, or its name
	// within the organisation, regardless of case. found must not keep the
	// store.
	CreateZone(ctx context.Context, z Zone, roster []byte, found func(records.Store) error) error
	// Zone returns a zone, or ErrNotFound.
	Zone(ctx context.Context, id identity.ZoneID) (Zone, error)
	// Zones returns all zones by name.
	Zones(ctx context.Context) ([]Zone, error)
	// Roster returns the roster last stored for a zone, or ErrNotFound.
	Roster(ctx context.Context, id identity.ZoneID) ([]byte, error)
	// SetRoster replaces the roster whose hash is previous. It is ErrChanged
	// if another one is stored, ErrNotFound without the zone.
	SetRoster(ctx context.Context, id identity.ZoneID, previous identity.Hash, next []byte) error
	// OpenRecords opens a zone's records, which one caller at a time may have
	// open (records.ErrInUse), until it closes them. It is ErrNotFound without
	// the zone, and never makes an empty store in place of one that is gone.
	OpenRecords(ctx context.Context, id identity.ZoneID) (records.Store, error)

	// CreateInvitation stores an invitation. It is ErrNotFound without the
	// zone, and ErrExists if the secret is in use.
	CreateInvitation(ctx context.Context, i Invitation) error
	// Invitation returns the invitation with that hash of its secret, or
	// ErrNotFound.
	Invitation(ctx context.Context, secret identity.Hash) (Invitation, error)
	// Invitations returns those of a zone, the newest first.
	Invitations(ctx context.Context, zone identity.ZoneID) ([]Invitation, error)
	// UseInvitation notes that device has used an invitation. It is ErrChanged
	// if another device has; for the same device again it is nil and changes
	// nothing.
	UseInvitation(ctx context.Context, secret identity.Hash, device identity.DeviceID, at time.Time) error
	// PruneInvitations deletes those that expired before the given time.
	PruneInvitations(ctx context.Context, before time.Time) error

	// OpenSession stores the record of a session that begins, and returns its
	// number, which is above all that the zone had before. s.Number is ignored.
	OpenSession(ctx context.Context, s Session) (uint64, error)
	// CloseSession replaces the record of an open session by s. It is
	// ErrNotFound if there is none, ErrChanged if it was closed before.
	CloseSession(ctx context.Context, s Session) error
	// Sessions returns at most limit sessions of a zone, the newest first,
	// those with numbers below before; 0 stands for all.
	Sessions(ctx context.Context, zone identity.ZoneID, before uint64, limit int) ([]Session, error)
	// InterruptSessions closes every open record with OutcomeInterrupted and
	// returns how many there were. The process calls it as it starts.
	InterruptSessions(ctx context.Context, at time.Time) (int, error)
	// PruneSessions deletes closed sessions of a zone: those that ended before
	// the given time, and the oldest beyond the newest keep.
	PruneSessions(ctx context.Context, zone identity.ZoneID, before time.Time, keep int) error
	// LastContacts returns when each device of a zone last opened or closed a
	// session, whether or not the session is still recorded.
	LastContacts(ctx context.Context, zone identity.ZoneID) (map[identity.DeviceID]time.Time, error)

	// Upkeep makes what is stored smaller where that is worth it, once. It may
	// take long, holds nobody up, and ends early when ctx is done. What fails is
	// logged, and tried again by the next.
	Upkeep(ctx context.Context)

	// Close releases the files. Records that were opened must be closed before.
	Close() error
}

// MaxNameBytes is how long the name of an organisation, a zone or a device may
// be, in UTF-8.
const MaxNameBytes = roster.MaxNameBytes

// OrgID names an organisation: 16 random bytes, printed as "org-" and 26
// characters.
type OrgID [16]byte

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewOrgID draws an ID from random.
func NewOrgID(random io.Reader) (o OrgID, err error) {
	if _, err := io.ReadFull(random, o[:]); err != nil {
		return o, fmt.Errorf("draw organisation ID: %w", err)
	}
	return o, nil
}

// String returns "org-" and 26 characters.
func (o OrgID) String() string { return "org-" + base32Lower.EncodeToString(o[:]) }

// MarshalText is String.
func (o OrgID) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is ParseOrgID.
func (o *OrgID) UnmarshalText(t []byte) (err error) { *o, err = ParseOrgID(string(t)); return err }

// ParseOrgID is the inverse of String. Errors wrap identity.ErrID and do not
// repeat the text.
func ParseOrgID(s string) (o OrgID, err error) {
	text, ok := strings.CutPrefix(s, "org-")
	b, err := base32Lower.DecodeString(text)
	if !ok || err != nil || copy(o[:], b) != len(o) || len(b) != len(o) || o.String() != s {
		return OrgID{}, fmt.Errorf("an organisation's ID is \"org-\" and 26 characters: %w", identity.ErrID)
	}
	return o, nil
}

// Org is an organisation: who runs zones.
type Org struct {
	ID      OrgID
	Name    string
	Created time.Time
}

// Zone is a zone as it is listed. Who belongs to it stands in its roster.
type Zone struct {
	ID      identity.ZoneID
	Org     OrgID
	Name    string
	Created time.Time
}

// Invitation is what is kept of an invitation: not the code.
type Invitation struct {
	Secret  identity.Hash // of the secret
	Zone    identity.ZoneID
	Role    *roster.Role // of the device that joins; nil: see Coordinator.Register
	Created time.Time
	Expires time.Time
	Device  identity.DeviceID // that used it; zero: none yet
	Used    time.Time         // zero: not yet
}

// Outcome says how a session ended.
type Outcome string

// The outcomes.
const (
	OutcomeOpen        Outcome = "open"        // it has not
	OutcomeDone        Outcome = "done"        // in good order
	OutcomeBroken      Outcome = "broken"      // the connection broke off, or the device failed
	OutcomeRefused     Outcome = "refused"     // the device does not belong to the zone any more
	OutcomeBlamed      Outcome = "blamed"      // the device broke the rules
	OutcomeReplaced    Outcome = "replaced"    // by a newer session of the same start
	OutcomeStopped     Outcome = "stopped"     // one side's program was about to end
	OutcomeFailed      Outcome = "failed"      // by a fault of the coordinator
	OutcomeInterrupted Outcome = "interrupted" // the coordinator died
)

// Session is the record of one session with a device.
type Session struct {
	Number      uint64 // within the zone
	Zone        identity.ZoneID
	Device      identity.DeviceID
	Incarnation uint64 // sequence number
	Start       identity.StartID
	Remote      string // address
	Transport   string
	Software    string
	Protocol    uint32 // version; 0 before it was agreed
	Opened      time.Time
	Closed      time.Time // zero while it is open
	Outcome     Outcome
	Words       string // about the outcome

	RecordsSent, RecordsReceived uint64
	BytesSent, BytesReceived     uint64 // of frames
	Equal                        bool   // both sides held the same at the last comparison
}
