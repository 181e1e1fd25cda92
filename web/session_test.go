package web_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// cookie returns the session cookie of a browser.
func (b *browser) cookie() string {
	b.d.t.Helper()
	r := b.request("GET", "/", nil)
	for _, c := range b.client.Jar.Cookies(r.URL) {
		return c.Value
	}
	return ""
}

// statusWith returns how a request with a cookie is answered.
func (d *device) statusWith(cookie string) int {
	d.t.Helper()
	b := d.browser()
	r := b.request("GET", "/api/v1/progress", nil)
	r.AddCookie(&http.Cookie{Name: "classmesh_session", Value: cookie})
	return b.do(r).StatusCode
}

func TestSessionCookie(t *testing.T) {
	d := newDevice(t)
	b := d.browser()
	r := b.request("POST", "/api/v1/session", strings.NewReader(`{"username":" AMINA ","password":"`+password+`"}`))
	a := b.do(r)
	c := a.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 12*3600 {
		t.Errorf("cookie: %+v", c)
	}
	first := b.cookie()
	if d.signedIn("amina").cookie() == first {
		t.Error("two sessions have the same token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 1
		if got := d.statusWith(base64.RawURLEncoding.EncodeToString(changed)); got != 401 {
			t.Fatalf("with byte %d changed: %d", i, got)
		}
	}
	for _, bad := range []string{"", "x", first + "A", first[:len(first)-1], strings.Repeat("A", len(first))} {
		if got := d.statusWith(bad); got != 401 {
			t.Errorf("with %q: %d", bad, got)
		}
	}
}

func TestSessionOutlivesRestart(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("amina")
	d.start()
	b.json("GET", "/api/v1/progress", nil, 200)
	// The board woke up in the past.
	d.pass(-10_000 * time.Hour)
	b.json("GET", "/api/v1/progress", nil, 200)
	// Another key is another device.
	d.config.SessionKey = []byte(strings.Repeat("k", 32))
	d.start()
	b.json("GET", "/api/v1/progress", nil, 401)
}

func TestSessionEnds(t *testing.T) {
	d := newDevice(t)
	t.Run("after half a day", func(t *testing.T) {
		b := d.signedIn("amina")
		d.pass(11 * time.Hour)
		b.json("GET", "/api/v1/progress", nil, 200)
		d.pass(2 * time.Hour)
		b.json("GET", "/api/v1/progress", nil, 401)
	})
	t.Run("by signing out, copies included", func(t *testing.T) {
		b := d.signedIn("amina")
		stolen := b.cookie()
		if d.statusWith(stolen) != 200 {
			t.Fatal("the copy is not valid before")
		}
		b.json("DELETE", "/api/v1/session", nil, 204)
		if b.cookie() != "" || d.statusWith(stolen) != 401 {
			t.Error("the session goes on")
		}
		b = d.signedIn("amina")
		stolen = b.cookie()
		if a := b.post("/signout", "", 200); a.path != "/signin" || d.statusWith(stolen) != 401 {
			t.Error("the session goes on after signing out by the page")
		}
	})
	t.Run("with the password", func(t *testing.T) {
		b, c := d.signedIn("amina"), d.signedIn("bako")
		if err := classroom.SetPassword(t.Context(), d.replica, d.gate, d.teacher, d.learner, "new one"); err != nil {
			t.Fatal(err)
		}
		b.json("GET", "/api/v1/progress", nil, 401)
		c.json("GET", "/api/v1/progress", nil, 200)
		b.json("POST", "/api/v1/session", map[string]string{"username": "amina", "password": "new one"}, 200)
		b.json("GET", "/api/v1/progress", nil, 200)
	})
	t.Run("with the role", func(t *testing.T) {
		b := d.signedIn("bako")
		if err := classroom.SetRole(t.Context(), d.replica, identity.UserID{}, d.other, classroom.RoleTeacher); err != nil {
			t.Fatal(err)
		}
		b.json("GET", "/api/v1/class", nil, 401)
		if err := classroom.SetRole(t.Context(), d.replica, identity.UserID{}, d.other, classroom.RoleLearner); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("when the person is hidden", func(t *testing.T) {
		b := d.signedIn("bako")
		if err := classroom.Hide(t.Context(), d.replica, d.teacher, classroom.UserTarget(d.other), "left"); err != nil {
			t.Fatal(err)
		}
		b.json("GET", "/api/v1/progress", nil, 401)
	})
}

// TestWrongPasswords: who guesses has to wait, and nobody is locked out.
func TestWrongPasswords(t *testing.T) {
	d := newDevice(t)
	b := d.browser()
	wrong := map[string]string{"username": "amina", "password": "guess"}
	right := map[string]string{"username": "amina", "password": password}
	for range 5 {
		b.json("POST", "/api/v1/session", wrong, 401)
	}
	if got := code(b.json("POST", "/api/v1/session", right, 429)); got != "too_many_tries" {
		t.Error(got)
	}
	a := b.post("/signin", "username=amina&password=x", 429)
	if a.Header.Get("Retry-After") != "1" || !strings.Contains(a.body, "Wait 1 second,") || !strings.Contains(a.body, `value="amina"`) {
		t.Errorf("Retry-After %q, page %s", a.Header.Get("Retry-After"), a.body)
	}
	b.json("POST", "/api/v1/session", map[string]string{"username": "bako", "password": password}, 200)
	d.pass(time.Second)
	b.json("POST", "/api/v1/session", wrong, 401)
	d.pass(time.Second)
	b.json("POST", "/api/v1/session", right, 429) // two seconds by now
	d.pass(time.Second)
	b.json("POST", "/api/v1/session", right, 200)
	b.json("POST", "/api/v1/session", wrong, 401) // forgotten what was before
}
