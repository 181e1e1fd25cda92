package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh"
)

// player is somebody who plays with a demo of three devices, at its page and at
// the terminal.
type player struct {
	t     testing.TB
	at    demoReport
	typed io.Writer
	said  *safeBuffer
	ended chan error
}

// safeBuffer is a buffer that several goroutines write.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func newPlayer(t *testing.T, dir string) *player {
	t.Helper()
	in, typed := io.Pipe()
	p := &player{t: t, typed: typed, said: &safeBuffer{}, ended: make(chan error, 1)}
	program := testProgram(t)
	program.out = p.said
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan demoReport, 1)
	go func() {
		p.ended <- runDemo(ctx, program, dir, 3, in, func(r demoReport) error {
			ready <- r
			return nil
		})
		close(p.ended)
	}()
	t.Cleanup(func() {
		cancel()
		in.Close()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case p.at = <-ready:
	case err := <-p.ended:
		t.Fatal(err)
	}
	return p
}

// press presses a button of the page.
func (p *player) press(what, device, on string) {
	p.t.Helper()
	resp, err := http.PostForm(p.at.Switches+"/switch", url.Values{"what": {what}, "device": {device}, "on": {on}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s of device %s: %s: %s", what, device, resp.Status, body)
	}
}

// page returns what the page shows, by the IDs of its parts.
func (p *player) page() map[string]string {
	p.t.Helper()
	resp, err := http.Get(p.at.Switches)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	shown := map[string]string{"page": string(b)}
	for _, m := range regexp.MustCompile(`(?s)id="([a-z]+-[0-9])"[^>]*>([^<]*)<`).FindAllStringSubmatch(string(b), -1) {
		shown[m[1]] = m[2]
	}
	return shown
}

// await waits until the page shows something.
func (p *player) await(what string, want func(map[string]string) bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		shown := p.page()
		if want(shown) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not within %v: %s: %v", patience, what, shown)
		}
		pause(p.t.Context(), 10*time.Millisecond)
	}
}

func (p *player) write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.typed, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// hear waits until the terminal says something.
func (p *player) hear(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(patience)
	for !re.MatchString(p.said.String()) {
		if time.Now().After(deadline) {
			p.t.Fatalf("not said within %v: %s\n%s", patience, pattern, p.said)
		}
		pause(p.t.Context(), 10*time.Millisecond)
	}
}

// status asks the device itself, as another program would.
func (p *player) status(i int) (st statusReport) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(mustCommand(p.t, "device", "status", "--json", "--data", p.at.Devices[i].Data)), &st); err != nil {
		p.t.Fatal(err)
	}
	return st
}

// connected is to how many others a device says that it is connected.
func connected(st statusReport) (n int) {
	for _, peer := range st.Peers {
		if peer.State == mesh.PeerConnected {
			n++
		}
	}
	return n
}

func same(shown map[string]string, name string) bool {
	return shown[name+"-1"] != "" && shown[name+"-1"] == shown[name+"-2"] && shown[name+"-2"] == shown[name+"-3"]
}

// TestDemoSwitches cuts off what can be cut off in a demo, and puts it back. What
// the page shows is compared with what devices say.
func TestDemoSwitches(t *testing.T) {
	p := newPlayer(t, t.TempDir())
	p.await("all are linked", func(s map[string]string) bool {
		return same(s, "links") && s["links-1"] == "2" && same(s, "centre") && s["centre-1"] == "connected"
	})
	records := p.page()["records-1"]

	// Without the Internet, work arrives on all devices, and is not safe.
	p.press("internet", "0", "0")
	p.await("nobody reaches the centre", func(s map[string]string) bool { return same(s, "centre") && s["centre-1"] == "not reached" })
	for i := range p.at.Devices {
		if st := p.status(i); st.Uplink.State == string(mesh.Connected) || connected(st) != 2 {
			t.Errorf("without the Internet: %+v", st)
		}
	}
	p.press("work", "2", "1")
	p.await("it arrives everywhere", func(s map[string]string) bool {
		return same(s, "records") && s["records-1"] != records && strings.Contains(s["safe-3"], "not yet safe")
	})

	// One gets it: then everything is safe, on all of them.
	p.press("internet", "3", "1")
	p.await("everything is safe", func(s map[string]string) bool {
		return same(s, "safe") && s["safe-1"] == "all safe" && s["centre-1"] == "not reached" && s["centre-3"] == "connected"
	})

	// Unplugged, a device works alone.
	p.press("lan", "1", "0")
	p.await("it has no links", func(s map[string]string) bool {
		return s["links-1"] == "0" && s["links-2"] == "1" && s["links-3"] == "1"
	})
	if st := p.status(0); connected(st) != 0 {
		t.Errorf("without the network: %+v", st)
	}
	before := p.page()
	p.press("work", "1", "1")
	p.await("it is on one device", func(s map[string]string) bool {
		return s["records-1"] != before["records-1"] && strings.Contains(s["page"], "do not hold the same")
	})
	if s := p.page(); s["records-2"] != before["records-2"] {
		t.Errorf("what was done on the unplugged device is on another one: %v", s)
	}
	p.press("lan", "1", "1")
	p.await("all have it", func(s map[string]string) bool {
		return same(s, "records") && same(s, "safe") && s["safe-1"] == "all safe"
	})

	// A device that is off has no pages, and comes back at the same place.
	p.press("power", "2", "0")
	if _, err := http.Get(p.at.Devices[1].URL); err == nil {
		t.Error("a device that is switched off answers")
	}
	if s := p.page(); s["state-2"] != "switched off" || !strings.Contains(s["page"], "The 2 devices that are on hold the same.") {
		t.Errorf("a device is switched off: %v", s)
	}
	p.press("work", "3", "1")
	p.press("back", "0", "1")
	p.await("all is as it was", func(s map[string]string) bool {
		return same(s, "records") && same(s, "safe") && same(s, "state") && s["state-1"] == "on" && same(s, "links") && s["links-1"] == "2" && same(s, "centre")
	})
	resp, err := http.Get(p.at.Devices[1].URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	for _, c := range []struct{ device, what, words string }{{"7", "lan", "no such device"}, {"x", "lan", "no such device"}, {"1", "moon", "no switch"}, {"0", "work", "no such device"}} {
		resp, err := http.PostForm(p.at.Switches+"/switch", url.Values{"what": {c.what}, "device": {c.device}})
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(b), c.words) {
			t.Errorf("%+v: %s %s", c, resp.Status, b)
		}
		resp.Body.Close()
	}
	// Neither other sites nor names that lead here may press buttons.
	req, err := http.NewRequest("POST", p.at.Switches+"/switch", strings.NewReader("what=power&device=1&on=0"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range map[string]string{"Origin": "https://evil.example", "Host": "evil.example"} {
		r := req.Clone(t.Context())
		r.Body = io.NopCloser(strings.NewReader("what=power&device=1&on=0"))
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s", name, value, resp.Status)
		}
	}
	if s := p.page(); s["state-1"] != "on" {
		t.Errorf("another site has switched a device off")
	}
}

// TestDemoTerminal does the same by typing, and quits.
func TestDemoTerminal(t *testing.T) {
	p := newPlayer(t, t.TempDir())
	p.write("w 2")
	p.hear(`answers a question on Room 2: it is saved there(?s:.*)'s answer: (Room [13]|the centre) has it after`)
	p.write("internet")
	p.hear(`all devices: cut off the Internet`)
	p.write("I 1")
	p.hear(`Room 1: connected to the Internet again`)
	p.write("l 3")
	p.hear(`Room 3: cut off the network between the devices`)
	p.write("d2")
	p.hear(`Room 2 is switched off; its pages are gone until "d 2"`)
	p.write("")
	p.hear(`(?s)1 +Room 1 +on .*2 +Room 2 +switched off.*3 +Room 3 +all alone`)
	p.write("2")
	p.hear(`Room 2 is on again: ` + p.at.Devices[1].URL)
	p.write("work 9")
	p.hear(`no such device: 9; they are 1 to 3`)
	p.write("d")
	p.hear(`which device\?`)
	p.write("l x")
	p.hear(`"x" is no number of a device`)
	p.write("make tea")
	p.hear(`(?s)"tea" is no number`)
	p.write("tea")
	p.hear(`(?s)"tea" is not known.*w 2 `)
	p.write("back")
	p.hear(`everything is as it was`)
	p.await("all is as it was", func(s map[string]string) bool {
		return same(s, "records") && same(s, "safe") && s["safe-1"] == "all safe" && same(s, "links") && s["links-1"] == "2"
	})
	p.write("q")
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(p.at.Switches); err == nil {
		t.Error("the page of a demo that has ended answers")
	}
}
