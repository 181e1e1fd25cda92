package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// The tables of the control file.
const (
	tableOrgs        = "orgs"
	tableZones       = "zones"
	tableRosters     = "rosters"
	tableInvitations = "invitations"
	tableInvited     = "invited"
	tableSessions    = "sessions"
	tableOpen        = "open"
	tableNumbers     = "numbers"
	tableContacts    = "contacts"
)

// errFound ends an iteration.
var errFound = errors.New("found")

// get returns a copy of one item, or coordinator.ErrNotFound.
func get(tx records.Tx, table string, key []byte) (value []byte, err error) {
	err = tx.Items(table, key, func(k, v []byte) error {
		if len(k) != len(key) {
			return nil
		}
		value = append([]byte{}, v...)
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return value, nil
	case err == nil:
		return nil, coordinator.ErrNotFound
	}
	return nil, err
}

// getRow reads one item of JSON into row, or returns coordinator.ErrNotFound.
func getRow(tx records.Tx, table string, key []byte, row any) error {
	b, err := get(tx, table, key)
	if err != nil {
		return err
	}
	return decodeRow(table, b, row)
}

func decodeRow(table string, b []byte, row any) error {
	if err := json.Unmarshal(b, row); err != nil {
		return fmt.Errorf("read a row of %s: %w (%v)", table, records.ErrDamaged, err)
	}
	return nil
}

func setRow(tx records.WriteTx, table string, key []byte, row any) error {
	b, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("write a row of %s: %w", table, err)
	}
	return tx.SetItem(table, key, b)
}

// verdictOf parts what concerns one change from what fails the transaction.
func verdictOf(err error) (verdict, failure error) {
	for _, v := range []error{coordinator.ErrNotFound, coordinator.ErrExists, coordinator.ErrChanged} {
		if errors.Is(err, v) {
			return err, nil
		}
	}
	return nil, err
}

func join(a, b []byte) []byte { return append(a[:len(a):len(a)], b...) }

// numberKey sorts the sessions of a zone with the newest first.
func numberKey(zone identity.ZoneID, number uint64) []byte {
	return binary.BigEndian.AppendUint64(zone[:len(zone):len(zone)], ^number)
}

func numberOf(key []byte) (uint64, error) {
	if len(key) != 16+8 {
		return 0, fmt.Errorf("key of a session with %d bytes: %w", len(key), records.ErrDamaged)
	}
	return ^binary.BigEndian.Uint64(key[16:]), nil
}

// Rows as they stand in the file. Their fields are never given another meaning.

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

type orgRow struct {
	Name    string `json:"name"`
	Created int64  `json:"created"`
}

type zoneRow struct {
	Org     coordinator.OrgID `json:"org"`
	Name    string            `json:"name"`
	Created int64             `json:"created"`
}

func (r *zoneRow) zone(id identity.ZoneID) coordinator.Zone {
	return coordinator.Zone{ID: id, Org: r.Org, Name: r.Name, Created: timeOf(r.Created)}
}

type invitationRow struct {
	Zone    identity.ZoneID `json:"zone"`
	Role    *uint8          `json:"role,omitempty"`
	Created int64           `json:"created"`
	Expires int64           `json:"expires"`
	Device  []byte          `json:"device,omitempty"`
	Used    int64           `json:"used,omitempty"`
}

func invitationRowOf(i coordinator.Invitation) invitationRow {
	r := invitationRow{Zone: i.Zone, Created: milliseconds(i.Created), Expires: milliseconds(i.Expires), Used: milliseconds(i.Used)}
	if i.Role != nil {
		r.Role = (*uint8)(i.Role)
	}
	if !i.Device.IsZero() {
		r.Device = i.Device[:]
	}
	return r
}

func (r *invitationRow) invitation(secret identity.Hash) coordinator.Invitation {
	i := coordinator.Invitation{
		Secret: secret, Zone: r.Zone, Role: (*roster.Role)(r.Role),
		Created: timeOf(r.Created), Expires: timeOf(r.Expires), Used: timeOf(r.Used),
	}
	copy(i.Device[:], r.Device)
	return i
}

type sessionRow struct {
	Device      []byte `json:"device"`
	Incarnation uint64 `json:"incarnation"`
	Start       []byte `json:"start"`
	Remote      string `json:"remote"`
	Transport   string `json:"transport"`
	Software    string `json:"software"`
	Protocol    uint32 `json:"protocol"`
	Opened      int64  `json:"opened"`
	Closed      int64  `json:"closed,omitempty"`
	Outcome     string `json:"outcome"`
	Words       string `json:"words,omitempty"`

	RecordsSent     uint64 `json:"records_sent"`
	RecordsReceived uint64 `json:"records_received"`
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	Equal           bool   `json:"equal"`
}

func sessionRowOf(s coordinator.Session) sessionRow {
	return sessionRow{
		Device: s.Device[:], Incarnation: s.Incarnation, Start: s.Start[:],
		Remote: s.Remote, Transport: s.Transport, Software: s.Software, Protocol: s.Protocol,
		Opened: milliseconds(s.Opened), Closed: milliseconds(s.Closed), Outcome: string(s.Outcome), Words: s.Words,
		RecordsSent: s.RecordsSent, RecordsReceived: s.RecordsReceived,
		BytesSent: s.BytesSent, BytesReceived: s.BytesReceived, Equal: s.Equal,
	}
}

func (r *sessionRow) session(zone identity.ZoneID, number uint64) coordinator.Session {
	s := coordinator.Session{
		Number: number, Zone: zone, Incarnation: r.Incarnation,
		Remote: r.Remote, Transport: r.Transport, Software: r.Software, Protocol: r.Protocol,
		Opened: timeOf(r.Opened), Closed: timeOf(r.Closed), Outcome: coordinator.Outcome(r.Outcome), Words: r.Words,
		RecordsSent: r.RecordsSent, RecordsReceived: r.RecordsReceived,
		BytesSent: r.BytesSent, BytesReceived: r.BytesReceived, Equal: r.Equal,
	}
	copy(s.Device[:], r.Device)
	copy(s.Start[:], r.Start)
	return s
}
