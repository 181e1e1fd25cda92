package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/boltstore"
)

// TestKilledWhileMaking leaves a device's folder as a process that is killed
// after each step of joining does: nobody takes it for a device, and repeating
// the command completes it, with the same identity key.
func TestKilledWhileMaking(t *testing.T) {
	for _, steps := range []string{"mark", "mark key", "mark key store", "mark key store half", "mark key store settings"} {
		t.Run(steps, func(t *testing.T) {
			p := testProgram(t)
			dir := filepath.Join(t.TempDir(), "device")
			f, err := createFolder(t.Context(), dir, deviceFolder)
			if err != nil {
				t.Fatal(err)
			}
			var first string
			if strings.Contains(steps, "key") {
				key, err := makeKey(f.path(keyName), p.random)
				if err != nil {
					t.Fatal(err)
				}
				first = key.Public().ID().String()
			}
			if strings.Contains(steps, "store") {
				s, err := boltstore.Create(f.path(recordsName), boltstore.Options{})
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			if strings.Contains(steps, "half") {
				os.WriteFile(f.path(deviceFolder.settingsName()+".new"), []byte("{"), 0o600)
			}
			f.Close() // as the end of the process does

			if strings.Contains(steps, "settings") {
				// The rename of the settings is what makes it whole.
				completeUnmarked(t, dir)
				openTestDevice(t, dir)
				return
			}
			if _, err := openDevice(t.Context(), p, dir); !errors.Is(err, errUnfinished) {
				t.Fatalf("open: %v", err)
			}
			if code, _, words := command(t, "dump", "--data", dir); code != exitFolder || !strings.Contains(words, "not finished") {
				t.Errorf("dump: exit code %d: %s", code, words)
			}
			newTestDevice(t, dir)
			d := openTestDevice(t, dir)
			if id := d.replica.Device().String(); first != "" && id != first {
				t.Error("the device has another identity than the one that may have been registered")
			}
			if _, err := os.Stat(filepath.Join(dir, unfinishedName)); err == nil {
				t.Error("the folder is still marked as unfinished")
			}
		})
	}
}

// completeUnmarked completes a folder and puts the mark back, as if the
// process had been killed before it could remove it.
func completeUnmarked(t *testing.T, dir string) {
	newTestDevice(t, dir)
	if err := os.WriteFile(filepath.Join(dir, unfinishedName), []byte(deviceFolder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAbandonLeavesNothing(t *testing.T) {
	for _, existed := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "device")
		if existed {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		f, err := createFolder(t.Context(), dir, deviceFolder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := makeKey(f.path(keyName), testProgram(t).random); err != nil {
			t.Fatal(err)
		}
		if err := f.abandon(keyName); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		switch {
		case existed && (err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != lockName):
			t.Errorf("left: %v %v", entries, err)
		case !existed && !errors.Is(err, os.ErrNotExist):
			t.Errorf("the folder is still there: %v", entries)
		}
		newTestDevice(t, dir)
	}
}

func TestFoldersThatAreRefused(t *testing.T) {
	p := testProgram(t)
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	device := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	coordinator := filepath.Join(t.TempDir(), "coordinator")
	if err := makeCoordinator(t.Context(), p, coordinator); err != nil {
		t.Fatal(err)
	}
	halfway := t.TempDir()
	if f, err := createFolder(t.Context(), halfway, coordinatorFolder); err != nil {
		t.Fatal(err)
	} else {
		f.Close()
	}
	for _, c := range []struct {
		dir  string
		want error
	}{{foreign, errForeign}, {device, errTaken}, {coordinator, errTaken}, {halfway, errForeign}} {
		if f, err := createFolder(t.Context(), c.dir, deviceFolder); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.dir) {
			t.Errorf("%s: %v", c.dir, err)
			if err == nil {
				f.Close()
			}
		}
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) != 1 {
		t.Errorf("the foreign folder holds %v, %v", entries, err)
	}
	for _, dir := range []string{foreign, coordinator, filepath.Join(foreign, "missing")} {
		if code, _, words := command(t, "device", "status", "--data", dir); code != exitFolder || !strings.Contains(words, dir) {
			t.Errorf("%s: exit code %d: %s", dir, code, words)
		}
	}
}

// TestMissingFiles: whoever lost or damaged a file is told which, and that it is
// to be put back.
func TestMissingFiles(t *testing.T) {
	for _, c := range []struct{ name, content, word string }{
		{deviceFolder.settingsName(), "", "device.json"},
		{deviceFolder.settingsName(), `{"format":1,`, "damaged"},
		{deviceFolder.settingsName(), `{}`, "damaged"},
		{deviceFolder.settingsName(), `{"format":1,"zone":7}`, "damaged"},
		{keyName, "", "identity key is missing"},
		{recordsName, "", "records is missing"},
	} {
		dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
		path := filepath.Join(dir, c.name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if c.content != "" {
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range [][]string{{"device", "status", "--data", dir}, {"device", "serve", "--data", dir, "--web", "127.0.0.1:0"}} {
			code, _, words := command(t, line...)
			if code != exitFolder || !strings.Contains(words, c.word) || !strings.Contains(words, "backup") {
				t.Errorf("%s with %q: exit code %d: %s", c.name, c.content, code, words)
			}
		}
		// What is left of it is nobody's to make something else of.
		if c.name == deviceFolder.settingsName() && c.content == "" {
			if code, _, words := command(t, "coordinator", "serve", "--data", dir, "--listen", "127.0.0.1:0"); code != exitFolder || !strings.Contains(words, "backup") {
				t.Errorf("as a coordinator: exit code %d: %s", code, words)
			}
		}
	}
}

func TestFolderInUse(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	openTestDevice(t, dir)
	_, err := openDevice(t.Context(), testProgram(t), dir)
	if code, words := outcome(err); code != exitInUse || !strings.Contains(words, dir) || !strings.Contains(words, "in use by another process") {
		t.Errorf("exit code %d: %s", code, words)
	}
}

func TestNewerFolder(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	path := filepath.Join(dir, deviceFolder.settingsName())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]any
	if err := json.Unmarshal(b, &settings); err != nil {
		t.Fatal(err)
	}
	settings["format"] = folderFormat + 1
	if b, err = json.Marshal(settings); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, words := command(t, "dump", "--data", dir); code != exitNewer || !strings.Contains(words, "newer version") {
		t.Errorf("exit code %d: %s", code, words)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), keyName)
	made, err := makeKey(path, testProgram(t).random)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := makeKey(path, testProgram(t).random)
	if err != nil || again.Public() != made.Public() {
		t.Errorf("read: another key, %v", err)
	}
	for _, damaged := range []string{"", "x", keyHeading, keyHeading + "\n00", strings.Repeat("0", 97)} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := makeKey(path, testProgram(t).random); !errors.Is(err, errKey) {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}
