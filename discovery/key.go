package discovery

import (
	"fmt"
	"io"
	"log/slog"
)

// KeyBytes is the size of a zone key's secret.
const KeyBytes = 32

// ZoneKey is a secret that the members of a zone share. Its number stands in
// the roster; the highest is the one in use, lower ones are kept for those who
// were away. It never prints its secret.
type ZoneKey struct {
	Number uint32
	Secret [KeyBytes]byte
}

// String names the key without giving it away.
func (k ZoneKey) String() string { return fmt.Sprintf("zone key %d", k.Number) }

// Format is String, whatever the verb.
func (k ZoneKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String, for slog.
func (k ZoneKey) LogValue() slog.Value { return slog.StringValue(k.String()) }
