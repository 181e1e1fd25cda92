package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// measured fetches metrics and returns them by name and labels, and the text.
func measured(t testing.TB, client *http.Client, url string) (map[string]float64, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v: %s", url, resp.Status, err, b)
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok {
			values[name+"}"], err = strconv.ParseFloat(value, 64)
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			values[name], err = strconv.ParseFloat(value, 64)
		}
		if err != nil && !strings.HasPrefix(line, "#") {
			t.Fatalf("%q: %v", line, err)
		}
		err = nil
	}
	return values, string(b)
}

// atSocket returns a client of the local socket of a data folder.
func atSocket(dir string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dialLocal(ctx, dir) },
	}}
}

// TestMetrics: what an operator measures is what happens, on devices and at the
// coordinator, and names nobody.
func TestMetrics(t *testing.T) {
	p := newPlayer(t, t.TempDir())
	p.await("all are linked", func(s map[string]string) bool { return same(s, "links") && s["links-1"] == "2" })
	before, _ := measured(t, atSocket(p.at.Devices[1].Data), "http://local/metrics")
	p.press("work", "1", "1")
	p.await("it has arrived", func(s map[string]string) bool {
		return same(s, "records") && same(s, "safe") && s["safe-1"] == "all safe"
	})

	m, text := measured(t, atSocket(p.at.Devices[1].Data), "http://local/metrics")
	for name, want := range map[string]float64{
		`classmesh_peers{state="connected",transport="quic"}`: 2,
		`classmesh_uplink_state{state="connected"}`:           1,
		`classmesh_uplink_state{state="offline"}`:             0,
		`classmesh_unsafe_records`:                            0,
		`classmesh_troubled_logs`:                             0,
		`classmesh_roster_epoch_life`:                         1,
		`classmesh_roster_devices{state="member"}`:            3,
		`classmesh_sessions_blamed_total{peer_kind="device"}`: 0,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	// One answer is a record of detail and some of progress, from whichever side
	// it came first.
	grown := func(lane string) (n float64) {
		for _, kind := range []string{"device", "coordinator"} {
			name := `classmesh_records_received_total{lane="` + lane + `",peer_kind="` + kind + `"}`
			n += m[name] - before[name]
		}
		return n
	}
	if grown("detail") != 1 || grown("progress") < 1 || grown("zone") != 0 {
		t.Errorf("received of an answer: %v of detail, %v of progress, %v of zone", grown("detail"), grown("progress"), grown("zone"))
	}
	for _, name := range []string{
		`classmesh_commit_duration_seconds_count`, `classmesh_bytes_received_total{peer_kind="device"}`, `classmesh_bytes_sent_total{peer_kind="coordinator"}`,
		`classmesh_uplink_last_contact_timestamp_seconds`, `classmesh_store_bytes`, `go_goroutines`, `process_start_time_seconds`,
		`classmesh_sessions_total{peer_kind="coordinator"}`, `classmesh_roster_epoch_number`,
	} {
		if m[name] <= 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	if m[`classmesh_commit_duration_seconds_count`] <= before[`classmesh_commit_duration_seconds_count`] {
		t.Error("a commit was not counted")
	}
	heads, receipts := 0.0, 0.0
	for name, value := range m {
		if strings.HasPrefix(name, "classmesh_head_counter{") {
			heads += value
		}
		if strings.HasPrefix(name, "classmesh_receipt_counter{") {
			receipts += value
		}
	}
	if heads == 0 || heads != receipts {
		t.Errorf("heads add up to %v, receipts to %v", heads, receipts)
	}

	center, centerText := measured(t, atSocket(p.at.Coordinator.Data), "http://local/metrics")
	for name, want := range map[string]float64{
		`classmesh_coordinator_ready`:               1,
		`classmesh_coordinator_connections`:         3,
		`classmesh_coordinator_zones{state="all"}`:  1,
		`classmesh_coordinator_zones{state="open"}`: 1,
	} {
		if got, ok := center[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{
		`classmesh_coordinator_records_received_total{lane="detail"}`, `classmesh_coordinator_receipts_total`, `classmesh_commit_duration_seconds_count`,
		`classmesh_coordinator_bytes_received_total`,
	} {
		if center[name] <= 0 {
			t.Errorf("%s is %v", name, center[name])
		}
	}
	for _, name := range []string{"Room", "Hillside", "teacher", "Otieno", p.at.Accounts[4].Username} {
		if strings.Contains(text, name) || strings.Contains(centerText, name) {
			t.Errorf("the metrics name %q", name)
		}
	}
}

// TestMetricsAddress: --metrics serves them at an address of their own, which the
// pages do not.
func TestMetricsAddress(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	free, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	ctx, stop := context.WithCancel(t.Context())
	up, done := make(chan serving, 1), make(chan error, 1)
	go func() {
		done <- serveDevice(ctx, testProgram(t), dir, serveOptions{web: anyPort, metrics: at}, func(s serving) { up <- s })
	}()
	select {
	case s := <-up:
		m, _ := measured(t, http.DefaultClient, "http://"+at+"/metrics")
		if m[`classmesh_uplink_state{state="connected"}`] != 0 || m[`classmesh_roster_devices{state="member"}`] != 1 {
			t.Errorf("metrics: %v", m)
		}
		resp, err := http.Get(s.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("the pages answer %s", resp.Status)
		}
	case err := <-done:
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code, _, words := command(t, "device", "serve", "--data", dir, "--web", anyPort, "--lan", noLAN, "--metrics", "no such place"); code == exitOK || !strings.Contains(words, "--metrics") {
		t.Errorf("an address that does not exist: exit code %d, %q", code, words)
	}
}
