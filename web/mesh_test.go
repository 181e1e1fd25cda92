package web_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web"
)

// linked is a peer with a link that holds the same.
func linked(id identity.DeviceID, links ...identity.DeviceID) web.MeshPeer {
	return web.MeshPeer{
		Device: id, State: web.PeerConnected, Address: "10.0.0.5:7701", Via: []string{"mdns"}, Transport: "quic",
		RTT: 1500 * time.Microsecond, Equal: true, Links: links,
	}
}

func lacking(p web.MeshPeer, n uint64) web.MeshPeer {
	p.Lacks, p.Equal = &n, n == 0
	return p
}

// TestMeshInWords: of each device the page says how things stand with it, and
// what that means.
func TestMeshInWords(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	a, l, r5, r6 := d.members[0], d.members[1], d.members[2], d.members[3]
	for _, c := range []struct {
		name  string
		sync  web.SyncState
		mesh  web.Mesh
		texts []string
		never []string
	}{
		{"nobody", web.StateOffline, web.Mesh{}, []string{
			"linked to 0 of 4 others", "Nobody is known to reach the centre", "Not seen on this network.", "Only the links of this device are drawn",
			`class="uplink cut"`, "Laboratory of &lt;science&gt; upstairs",
		}, nil},
		{"all linked", web.StateConnected, web.Mesh{Peers: []web.MeshPeer{
			{Device: a, State: web.PeerConnected, Lacks: new(uint64), Missing: 7}, lacking(linked(l), 0), lacking(linked(r5), 1), lacking(linked(r6), 12)}}, []string{
			"linked to 4 of 4 others", "It reaches the centre", "Both have the same", "7 records are on their way here", "1 record is on its way there", "12 records are on their way there",
			"12 on the way", "the fast way (QUIC over UDP)", "by itself on this network", "1 ms",
		}, []string{"Not seen", "Does not answer"}},
		{"slow", web.StateConnected, web.Mesh{Peers: []web.MeshPeer{{Device: a, State: web.PeerConnected, Transport: "websocket", Via: []string{"typed", "owl"}}},
			Problems: []web.MeshProblem{{Name: "no UDP", Words: "unused"}, {Name: "copy", Words: "unused", Detail: "Room 7: 10.0.0.1"}, {Name: "eclipse", Words: "It is dark."}}}, []string{
			"linked to 1 of 4 others", "They are comparing what each has", "the slower way (TCP): UDP did not get through, or too slowly", "an address that somebody typed",
			"owl", `class="own slow"`, "seems to let only the slower way", "It is dark.", "one and the same identity", "(\u2068Room 7: 10.0.0.1\u2069)",
		}, []string{"unused"}},
		{"apart", web.StateOffline, web.Mesh{Problems: []web.MeshProblem{{Name: "isolated"}}, Peers: []web.MeshPeer{
			{Device: a, State: web.PeerAway, Address: "10.0.0.9:7701", Via: []string{"remembered"}}, {Device: l, State: web.PeerConnecting},
			{Device: r5, State: web.PeerKnown, Lacks: new(uint64), Late: true}, {Device: r6, State: "gone mad"}}}, []string{
			"does not let devices see each other", "Does not answer.", "It may be switched off, in another room", "It is being called", "Known, but not linked now", "10.0.0.9:7701",
			"remembered from before", "0 records that are here", "newer work that has not arrived here yet", "Not seen on this network.",
		}, []string{"Both have the same"}},
		{"through others", web.StateOffline, web.Mesh{Peers: []web.MeshPeer{
			linked(a, r5, d.replica.Device()), {Device: r5, State: web.PeerKnown, Uplink: true}, {Device: l, State: web.PeerAway, Links: []identity.DeviceID{a}}}}, []string{
			"what each has passes through", "link between others, as they say", "everybody&#39;s work goes there through \u2068room 5\u2069.",
		}, []string{"Only the links of this device", "Does not answer"}},
		{"others reach it", web.StateOffline, web.Mesh{Peers: []web.MeshPeer{{Device: r5, State: web.PeerKnown, Uplink: true}}}, []string{
			"linked to 0 of 4 others", "The centre is reached by \u2068room 5\u2069, but this device has no link there now",
		}, []string{"everybody&#39;s work goes there", "Nobody is known"}},
		{"off", web.StateConnected, web.Mesh{Off: true}, []string{"exchanges with the centre only"}, nil},
		{"alone", web.StateNone, web.Mesh{}, []string{"has not joined a centre"}, nil},
		{"refused", web.StateRefused, web.Mesh{}, []string{"The centre refuses this device"}, nil},
	} {
		d.setSync(web.Sync{State: c.sync})
		d.setMesh(c.mesh)
		page := b.get("/status/mesh", 200).body
		for _, text := range c.texts {
			if !strings.Contains(page, text) {
				t.Errorf("%s: the page does not say %q:\n%s", c.name, text, page)
			}
		}
		for _, text := range c.never {
			if strings.Contains(page, text) {
				t.Errorf("%s: the page says %q:\n%s", c.name, text, page)
			}
		}
		status := b.get("/status", 200).body
		for _, problem := range c.mesh.Problems {
			if problem.Name == "isolated" && !strings.Contains(status, "does not let devices see each other") {
				t.Errorf("%s: the status page does not say what keeps devices apart:\n%s", c.name, status)
			}
		}
	}
}

// TestMeshDrawing: each link is drawn once, from device to device, and nothing
// outside of the picture.
func TestMeshDrawing(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	d.setSync(web.Sync{State: web.StateConnected})
	own := d.replica.Device()
	// All are linked to all, and say so.
	var mesh web.Mesh
	for _, m := range d.members {
		mesh.Peers = append(mesh.Peers, linked(m, append(d.members, own, identity.DeviceID{99})...))
	}
	mesh.Peers[1].Uplink = true
	d.setMesh(mesh)
	page := b.get("/status/mesh", 200).body
	svg := page[strings.Index(page, "<svg viewBox"):strings.Index(page, "</svg>\n</div>")]
	var width, height int
	if _, err := fmt.Sscanf(svg, `<svg viewBox="0 0 %d %d"`, &width, &height); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`<line class="([a-z ]+)" x1="(-?\d+)" y1="(-?\d+)" x2="(-?\d+)" y2="(-?\d+)"/>`).FindAllStringSubmatch(svg, -1) {
		counts[m[1]]++
	}
	if counts["own"] != 4 || counts["told"] != 6 || counts["uplink"] != 2 {
		t.Errorf("lines: %v in\n%s", counts, svg)
	}
	nodes := regexp.MustCompile(`<circle cx="(-?\d+)" cy="(-?\d+)" r="(\d+)"/>`).FindAllStringSubmatch(svg, -1)
	if len(nodes) != 5 {
		t.Errorf("%d devices are drawn in\n%s", len(nodes), svg)
	}
	for _, n := range nodes {
		var x, y, r int
		fmt.Sscan(n[1]+" "+n[2]+" "+n[3], &x, &y, &r)
		if x < r || y < r || x > width-r || y+48 > height {
			t.Errorf("a device at %d, %d is outside of %d by %d", x, y, width, height)
		}
	}
}
