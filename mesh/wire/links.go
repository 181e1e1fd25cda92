package wire

import "github.com/classmesh/classmesh/records/message"

// MaxLinks bounds a Links.
const MaxLinks = 256

// Links says with which devices the sender has sessions: it sees to it that
// they get what it has.
type Links struct {
	// Among are the first 8 bytes of the IDs of these devices, strictly
	// ascending.
	Among []uint64

	among []byte
}

// Type returns TypeLinks.
func (*Links) Type() Type { return TypeLinks }

// Fields visits the fields.
func (m *Links) Fields(v *message.Visitor) { v.Bytes(1, &m.among, 8*MaxLinks) }

func (m *Links) seal() { m.among = appendPrefixes(m.Among) }

func (m *Links) open() (err error) {
	m.Among, err = decodePrefixes(m.among)
	return err
}

// Enough says that commits of a log come to the sender from elsewhere as well:
// word of them is enough, until it asks for the log again.
type Enough struct {
	plain
	Log uint64 // the first 8 bytes of the log's ID
}

// Type returns TypeEnough.
func (*Enough) Type() Type { return TypeEnough }

// Fields visits the fields.
func (m *Enough) Fields(v *message.Visitor) { v.Fixed64(1, &m.Log) }

// MaxMore bounds a More.
const MaxMore = 1024

// More asks for pushes of logs from now on: whoever pushed them to the sender
// has gone.
type More struct {
	Logs []uint64 // the first 8 bytes of the logs' IDs, strictly ascending

	logs []byte
}

// Type returns TypeMore.
func (*More) Type() Type { return TypeMore }

// Fields visits the fields.
func (m *More) Fields(v *message.Visitor) { v.Bytes(1, &m.logs, 8*MaxMore) }

func (m *More) seal() { m.logs = appendPrefixes(m.Logs) }

func (m *More) open() (err error) {
	m.Logs, err = decodePrefixes(m.logs)
	return err
}
