package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// sessionCookie is the name of the cookie.
const sessionCookie = "classmesh_session"

// maxSession is how long a session lasts: a school day.
const maxSession = 12 * time.Hour

// maxEnded bounds how many ended sessions are remembered.
const maxEnded = 10_000

// sessionLabel keeps the HMAC to its one use.
const sessionLabel = "classmesh session 1"

// token is what the cookie of a session carries, base64url coded:
//
//	 0  format, 1
//	 1  user (16)
//	17  issued, seconds since 1970, big-endian (8)
//	25  random (16)
//	41  HMAC-SHA256 over label, all before, and the stamp of the user's
//	    password (32)
type token struct {
	user   identity.UserID
	issued time.Time
	nonce  [16]byte
	mac    [sha256.Size]byte
}

const tokenBytes = 1 + 16 + 8 + 16 + sha256.Size

// sessions issues and checks tokens. Nothing is stored of a session that is
// going on, so a restart of the device signs nobody out.
type sessions struct {
	key []byte

	mu    sync.Mutex // guards ended
	ended map[[16]byte]time.Time
}

func (t *token) body() []byte {
	b := make([]byte, 0, tokenBytes)
	b = append(b, 1)
	b = append(b, t.user[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.issued.Unix()))
	return append(b, t.nonce[:]...)
}

func (s *sessions) sign(t *token, st stamp) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(sessionLabel))
	h.Write(t.body())
	h.Write(st[:])
	h.Sum(mac[:0])
	return mac
}

// start begins a session and returns its cookie.
func (s *sessions) start(user identity.UserID, st stamp, now time.Time, random io.Reader) (*http.Cookie, error) {
	t := token{user: user, issued: now}
	if _, err := io.ReadFull(random, t.nonce[:]); err != nil {
		return nil, fmt.Errorf("draw session token: %w", err)
	}
	mac := s.sign(&t, st)
	return newCookie(base64.RawURLEncoding.EncodeToString(append(t.body(), mac[:]...)), int(maxSession/time.Second)), nil
}

func newCookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// read returns the token that a request carries, unchecked.
func (s *sessions) read(r *http.Request) (t token, ok bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil || len(c.Value) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return t, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil || b[0] != 1 {
		return t, false
	}
	copy(t.user[:], b[1:])
	t.issued = time.Unix(int64(binary.BigEndian.Uint64(b[17:])), 0)
	copy(t.nonce[:], b[25:])
	copy(t.mac[:], b[41:])
	return t, true
}

// valid reports whether a token was issued here, for the password that has
// the given stamp, and has not ended. One of the future is valid: boards
// without a battery wake up in the past.
func (s *sessions) valid(t token, st stamp, now time.Time) bool {
	mac := s.sign(&t, st)
	if !hmac.Equal(mac[:], t.mac[:]) || now.Sub(t.issued) > maxSession {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[t.nonce]
	return !ended
}

// end ends one session. It is forgotten with a restart; until then the token
// is worth nothing even to who has copied it.
func (s *sessions) end(t token, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil || len(s.ended) >= maxEnded {
		kept := map[[16]byte]time.Time{}
		for nonce, issued := range s.ended {
			if now.Sub(issued) <= maxSession && len(kept) < maxEnded/2 {
				kept[nonce] = issued
			}
		}
		s.ended = kept
	}
	s.ended[t.nonce] = t.issued
}
