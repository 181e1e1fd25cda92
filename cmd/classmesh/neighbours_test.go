package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

func deviceNumber(n byte) identity.DeviceID { return identity.DeviceID{n, 0, 0, 0, 0, 0, 0, n, 77} }

func linkedTo(devices ...identity.DeviceID) (links []mesh.Neighbour) {
	for _, d := range devices {
		links = append(links, mesh.Neighbour{Device: d})
	}
	return links
}

// TestNeighbours: what a device tells of its links is heard, for a while; what
// is no such thing is dropped, and nobody fills the memory.
func TestNeighbours(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	n := newNeighbours(func() time.Time { return now })
	a, b, c := deviceNumber(1), deviceNumber(2), deviceNumber(3)
	members := []identity.DeviceID{a, b, c, deviceNumber(99)}
	message := encodeNeighbours(a, linkedTo(b, c))
	n.hear(message)
	if got := n.of(a, members); !slices.Equal(got, []identity.DeviceID{b, c}) {
		t.Errorf("heard %v", got)
	}
	if got := n.of(b, members); got != nil {
		t.Errorf("of one that told nothing: %v", got)
	}
	n.hear(encodeNeighbours(a, linkedTo(c)))
	if got := n.of(a, members); !slices.Equal(got, []identity.DeviceID{c}) {
		t.Errorf("after a change: %v", got)
	}
	for _, bad := range [][]byte{nil, {}, message[:20], append([]byte{9}, message[1:]...), append(bytes.Clone(message), 1), bytes.Repeat(message, 9)} {
		n.hear(bad)
	}
	if got := n.of(a, members); !slices.Equal(got, []identity.DeviceID{c}) {
		t.Errorf("after what is no such thing: %v", got)
	}
	now = now.Add(toldFor + time.Second)
	if got := n.of(a, members); got != nil {
		t.Errorf("much later: %v", got)
	}
	if got := n.of(a, append(make([]identity.DeviceID, 200), members...)); len(got) != 1 {
		t.Errorf("among many, who tell less often: %v", got)
	}

	var many []identity.DeviceID
	for i := range byte(60) {
		many = append(many, deviceNumber(i+100))
	}
	if size := len(encodeNeighbours(a, linkedTo(many...))); size > gossip.MaxHintBytes {
		t.Errorf("of many links a hint of %d bytes is told", size)
	}
	for i := range 2 * maxTellers {
		n.hear(encodeNeighbours(identity.DeviceID{byte(i), byte(i >> 8), 1}, nil))
	}
	if len(n.told) > maxTellers {
		t.Errorf("%d devices are remembered", len(n.told))
	}
	n.hear(message)
	if got := n.of(a, members); got != nil {
		t.Errorf("one more than there is room for: %v", got)
	}
	now = now.Add(toldFor + time.Second)
	n.hear(message)
	if got := n.of(a, members); len(got) != 2 {
		t.Errorf("when there is room again: %v", got)
	}
}

// TestNeighboursAreTold: at once when they change, and otherwise seldom.
func TestNeighboursAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNeighbours(time.Now)
		var links atomic.Pointer[[]mesh.Neighbour]
		set := func(now []mesh.Neighbour) { links.Store(&now) }
		set(linkedTo(deviceNumber(2)))
		var told, others atomic.Int32
		ctx, stop := context.WithCancel(t.Context())
		go n.tell(ctx, deviceNumber(1), func() []mesh.Neighbour { return *links.Load() }, func() int { return int(others.Load()) }, func(topic, message []byte) error {
			if len(topic) == 0 || len(topic) > gossip.MaxTopicBytes {
				t.Errorf("a topic of %d bytes", len(topic))
			}
			told.Add(1)
			n.hear(message)
			return nil
		})
		wait := func(d time.Duration) {
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
		}
		wait(tellAgain / 2)
		if told.Load() != 1 {
			t.Errorf("told %d times in %v", told.Load(), tellAgain/2)
		}
		set(linkedTo(deviceNumber(2), deviceNumber(3)))
		wait(tellEvery)
		if told.Load() != 2 || len(n.of(deviceNumber(1), []identity.DeviceID{deviceNumber(3)})) != 1 {
			t.Errorf("told %d times after a change", told.Load())
		}
		wait(10 * tellAgain)
		if n := told.Load(); n < 10 || n > 13 {
			t.Errorf("told %d times in ten rounds", n)
		}
		others.Store(200)
		wait(tellAgain)
		told.Store(0)
		wait(1000 * tellShare)
		if n := told.Load(); n < 4 || n > 6 {
			t.Errorf("among many told %d times in five rounds", n)
		}
		stop()
		synctest.Wait()
	})
}

// teacherAt returns a function that opens pages of a device as the demo's
// teacher.
func (p *player) teacherAt(i int) func(path string) string {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: patience}
	read := func(resp *http.Response, err error) string {
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	at := p.at.Devices[i].URL
	read(client.PostForm(at+"/signin", url.Values{"username": {"teacher"}, "password": {demoPassword}}))
	return func(path string) string { return read(client.Get(at + path)) }
}

// TestDrawnMesh: the page of a device draws the links of others as they tell
// them, who reaches the coordinator, and who is gone.
func TestDrawnMesh(t *testing.T) {
	p := newPlayer(t, t.TempDir())
	open := p.teacherAt(0)
	await := func(texts ...string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for {
			page := open("/status/mesh")
			missing := slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return strings.Contains(page, s) })
			if len(missing) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("not within %v: %q:\n%s", patience, missing, page)
			}
			pause(t.Context(), 50*time.Millisecond)
		}
	}
	await("linked to 2 of 2 others", `<line class="told"`, `<line class="uplink"`, "Both have the same", "It reaches the centre", "the fast way (QUIC over UDP)")
	p.press("internet", "1", "0")
	await("It does not reach the centre itself", "everybody&#39;s work goes there through")
	p.press("power", "3", "0")
	await("linked to 1 of 2 others", "records that are here")
	p.press("back", "0", "1")
	await("linked to 2 of 2 others", "It reaches the centre")
}
