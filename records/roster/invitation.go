package roster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelInvitationCheck  = identity.NewLabel("classmesh 1 invitation check")
	labelInvitationSecret = identity.NewLabel("classmesh 1 invitation secret")
)

// ErrInvitation is wrapped by errors about texts that are not an invitation
// code. They never repeat the text.
var ErrInvitation = errors.New("not an invitation code")

// Invitation is what lets a device that knows nobody join a zone. People pass
// it on as a code of 26 characters, 130 bits:
//
//	bits   0– 79  the first 80 of the coordinator's device ID, the hash of its
//	              public key: nobody else can answer to the code
//	bits  80–125  secret, drawn at random, told to that coordinator alone
//	bits 126–129  check: the first 4 of a hash of the others
//
// The coordinator keeps [Secret.Hash] in place of the code, lets it expire
// after some days, and counts wrong tries. An Invitation does not print
// itself; [Invitation.Code] does.
type Invitation struct {
	bits [invitationBytes]byte // with six zero bits behind the check
}

// Secret is the secret part of an invitation, 46 bits and two of zero. It is
// sent only inside a channel to the coordinator that the invitation matches.
type Secret [secretBytes]byte

const (
	codeLength      = 26
	coordinatorBits = 80
	secretBits      = 46
	secretBytes     = (secretBits + 7) / 8
	invitationBytes = (codeLength*5 + 7) / 8

	coordinatorBytes = coordinatorBits / 8
	checkShift       = 6 // of the check within the byte after coordinator and secret
)

// codeDigits has no I, L, O and U, so that what is read wrongly is still read.
const codeDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// misread maps what people take those digits for.
var misread = strings.NewReplacer("I", "1", "L", "1", "O", "0")

// NewInvitation draws an invitation to the coordinator with the given key.
func NewInvitation(random io.Reader, coordinator identity.DevicePublic) (Invitation, error) {
	var s Secret
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return Invitation{}, fmt.Errorf("draw invitation: %w", err)
	}
	s[secretBytes-1] &^= 3
	id := coordinator.ID()
	var i Invitation
	copy(i.bits[:coordinatorBytes], id[:])
	copy(i.bits[coordinatorBytes:], s[:])
	i.setCheck()
	return i, nil
}

// The last two bits of the byte that the secret ends in, and the first two of
// the next, are the check.
func (i *Invitation) setCheck() {
	const last = coordinatorBytes + secretBytes - 1
	i.bits[last] &^= 3
	i.bits[last+1] = 0
	check := labelInvitationCheck.Hash(i.bits[:last+1])[0] >> 4
	i.bits[last] |= check >> 2
	i.bits[last+1] = check << checkShift
}

// Code returns the code in groups, as people pass it on.
func (i Invitation) Code() string {
	var b strings.Builder
	for n := range codeLength {
		switch n {
		case 5, 10, 16, 21:
			b.WriteByte('-')
		}
		b.WriteByte(codeDigits[i.digit(n)])
	}
	return b.String()
}

// digit returns the nth group of five bits.
func (i *Invitation) digit(n int) byte {
	at := n * 5
	two := uint16(i.bits[at/8])<<8 | uint16(i.bits[at/8+1])
	return byte(two>>(11-at%8)) & 31
}

// ParseInvitation reads a code. Case, hyphens and spaces do not matter, nor
// whether I and L stand for 1 and O for 0. The check finds fifteen of sixteen
// slips; those that it misses in the secret count as a wrong try, all others
// match no coordinator.
func ParseInvitation(code string) (Invitation, error) {
	digits := misread.Replace(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.Is(unicode.Dash, c) {
			return -1
		}
		return unicode.ToUpper(c)
	}, code))
	if n := len([]rune(digits)); n != codeLength {
		return Invitation{}, fmt.Errorf("a code has %d letters and digits, this has %d: %w", codeLength, n, ErrInvitation)
	}
	var i Invitation
	for n, c := range []rune(digits) {
		d := strings.IndexRune(codeDigits, c)
		if d < 0 {
			return Invitation{}, fmt.Errorf("character %d is one that no code has: %w", n+1, ErrInvitation)
		}
		at := n * 5
		two := uint16(d) << (11 - at%8)
		i.bits[at/8] |= byte(two >> 8)
		i.bits[at/8+1] |= byte(two)
	}
	checked := i
	checked.setCheck()
	if checked != i {
		return Invitation{}, fmt.Errorf("mistyped, compare it with the original: %w", ErrInvitation)
	}
	return i, nil
}

// Matches reports whether the invitation is one to the coordinator with the
// given key.
func (i Invitation) Matches(coordinator identity.DevicePublic) bool {
	id := coordinator.ID()
	return [coordinatorBytes]byte(i.bits[:]) == [coordinatorBytes]byte(id[:])
}

// Secret returns the secret part.
func (i Invitation) Secret() Secret {
	s := Secret(i.bits[coordinatorBytes:])
	s[secretBytes-1] &^= 3
	return s
}

// Hash returns what the coordinator keeps of the secret and finds it by.
func (s Secret) Hash() identity.Hash { return labelInvitationSecret.Hash(s[:]) }

// String names the kind of thing without giving it away.
func (Invitation) String() string { return "[invitation]" }

// Format is String, whatever the verb.
func (i Invitation) Format(f fmt.State, _ rune) { io.WriteString(f, i.String()) }

// LogValue is String, for slog.
func (i Invitation) LogValue() slog.Value { return slog.StringValue(i.String()) }

// String names the kind of thing without giving it away.
func (Secret) String() string { return "[secret]" }

// Format is String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
