package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// kills is how often processes are killed: most often without the race detector.
func kills(t *testing.T) int {
	if testing.Short() || raceDetector {
		return 20
	}
	return 200
}

// TestKilledWhileWorking kills a device that records answers and exchanges
// them, and sometimes the coordinator, at any moment: what had been answered
// with success is there afterwards, and the store is clean.
func TestKilledWhileWorking(t *testing.T) {
	s := newSchool(t, 2)
	s.importPeople()
	worker := s.rooms[0]
	worker.start()
	ana := worker.open()
	ana.signIn("ana", "open sesame")
	began := time.Now()
	if err := ana.answer(testExercise); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began) // how long an answer takes on this machine
	saved := uint64(1)        // answers that were answered with success
	for n := range kills(t) {
		killed := make(chan struct{})
		p, moment := worker.p, rand.N(10*took)
		time.AfterFunc(moment, func() { // the accident
			defer close(killed)
			p.signal(os.Kill)
		})
		unsure := uint64(0)
		for {
			began := time.Now()
			if err := ana.answer(testExercise); err != nil {
				unsure = 1 // it may be on disk although nobody was told
				break
			}
			saved++
			took = time.Since(began)
		}
		<-killed
		if n%10 == 9 {
			s.end(&s.coordinator, os.Kill)
			s.startCoordinator()
		}
		s.run("fsck", "--data", worker.data)
		worker.start()
		got := ana.progress().Totals.Attempts
		if got < saved || got > saved+unsure {
			t.Fatalf("after being killed %d times there are %d answers, of %d that were confirmed and %d that may be", n+1, got, saved, unsure)
		}
		saved = got
	}
	t.Logf("%d answers survived", saved)
	if saved < uint64(kills(t))/2 {
		t.Error("hardly anything was written between the accidents")
	}
	s.rooms[1].start()
	s.agree()
	s.sameDumps()
}

// kill runs the program and kills it at a moment after its start. The error is nil
// if it had ended well before.
func kill(t *testing.T, moment time.Duration, args ...string) error {
	t.Helper()
	cmd := exec.Command("classmesh", args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(moment, func() { cmd.Process.Kill() }).Stop()
	return cmd.Wait()
}

// TestKilledWhileJoining kills "device join" at any moment. Afterwards there
// is a device, or repeating the command makes it one, with the same code.
func TestKilledWhileJoining(t *testing.T) {
	s := newSchool(t, 0)
	unfinished := 0
	for n := range 20 {
		data := filepath.Join(s.dir, fmt.Sprint("room", n))
		code := s.invite()
		join := []string{"device", "join", "--data", data, "--name", filepath.Base(data), s.address, code}
		if kill(t, rand.N(60*time.Millisecond), join...) == nil {
			t.Logf("%s: it was faster", data)
		}
		if _, err := os.Stat(filepath.Join(data, "device.json")); err != nil {
			unfinished++
			s.run(join...)
		}
		s.run("device", "sync", "--data", data)
		s.run("fsck", "--data", data)
	}
	t.Logf("%d of 20 were not finished", unfinished)
}

// TestKilledDemo kills a demo while it is made, and then starts it.
func TestKilledDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for range 6 {
		kill(t, rand.N(600*time.Millisecond), "demo", "--dir", dir, "--devices", "2", "--json")
	}
	p, err := startProcess("", nil, "demo", "--dir", dir, "--devices", "2", "--json")
	if err != nil {
		t.Fatal(err)
	}
	defer p.signal(os.Kill)
	var r demoReport
	if err := json.Unmarshal([]byte(p.first), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Devices) != 2 || len(r.Accounts) != demoLearners+2 {
		t.Errorf("%d devices, %d accounts", len(r.Devices), len(r.Accounts))
	}
	dumps := map[string]bool{}
	for _, d := range r.Devices {
		dumps[mustCommand(t, "dump", "--data", d.Data)] = true
		mustCommand(t, "fsck", "--data", d.Data)
	}
	if len(dumps) != 1 {
		t.Error("the devices hold different things")
	}
}
