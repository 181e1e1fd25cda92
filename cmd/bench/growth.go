package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/classmesh/classmesh/records/boltstore"
)

// growthRuns is how often a command of the program is measured.
const growthRuns = 3

// growth measures what becomes dearer when much is stored: opening, looking,
// checking, the file itself, and a teacher's page.
func (b *bench) growth(ctx context.Context, n int) error {
	z, err := b.school(ctx, n)
	if err != nil {
		return err
	}
	size := sizeName(n)
	dir := filepath.Join(b.dir, "run-growth")
	defer os.RemoveAll(dir)
	receiver := filepath.Join(dir, "receiver")
	if b.table.wants("growth/file/" + size) {
		if err := b.file(ctx, z, dir, size); err != nil {
			return fmt.Errorf("the file of %s records: %w", size, err)
		}
	}
	if err := z.holder(receiver); err != nil {
		return err
	}
	if b.table.wants("growth/open/" + size) {
		for range growthRuns {
			began := time.Now()
			_, closeStore, err := open(ctx, receiver)
			if err != nil {
				return err
			}
			b.table.add("growth/open/"+size+"/time", ms(time.Since(began)))
			if err := closeStore(); err != nil {
				return err
			}
		}
	}
	if b.table.wants("page/" + size) {
		if err := b.page(ctx, z, receiver, size, ""); err != nil {
			return fmt.Errorf("pages with %s records: %w", size, err)
		}
		compacted := filepath.Join(dir, "compacted")
		if err := z.holder(compacted); err != nil {
			return err
		}
		if err := b.compactedPage(ctx, z, compacted, size); err != nil {
			return fmt.Errorf("pages with %s records, compacted: %w", size, err)
		}
	}
	return b.commands(ctx, z, receiver, size)
}

// file measures the store of a receiver, as it is and compacted.
func (b *bench) file(ctx context.Context, z *zone, dir, size string) error {
	p, err := b.pair(ctx, z, "run-growth", settings{})
	if err != nil {
		return err
	}
	defer p.close()
	if _, err := p.sync(ctx); err != nil {
		return err
	}
	if z.sample == nil {
		if z.sample, err = z.readSample(ctx, sampleRecords); err != nil {
			return err
		}
	}
	_, each, err := compress(z.sample)
	if err != nil {
		return err
	}
	packed := each * float64(z.Records)
	path := filepath.Join(p.receiver, storeName)
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	synced, err := os.Stat(path)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := compact(ctx, store); err != nil {
		return err
	}
	b.table.add("growth/file/"+size+"/compact", ms(time.Since(began)))
	compacted, err := os.Stat(path)
	if err != nil {
		return err
	}
	b.table.add("growth/file/"+size+"/synced", float64(synced.Size())/packed)
	b.table.add("growth/file/"+size+"/compacted", float64(compacted.Size())/packed)
	b.table.add("growth/file/"+size+"/each", float64(compacted.Size())/float64(z.Records))
	return nil
}

// compact does to a store what upkeep does, without its rests.
func compact(ctx context.Context, store *boltstore.Store) error {
	for {
		more, err := store.Tidy(ctx)
		if err != nil {
			return err
		}
		if !more {
			return store.Shrink(ctx)
		}
	}
}

// compactedPage is page where the store was compacted.
func (b *bench) compactedPage(ctx context.Context, z *zone, dir, size string) error {
	store, err := boltstore.Open(filepath.Join(dir, storeName), boltstore.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(compact(ctx, store), store.Close()); err != nil {
		return err
	}
	return b.page(ctx, z, dir, size, "packed-")
}

// commands measures what the program says of a device's folder.
func (b *bench) commands(ctx context.Context, z *zone, dir, size string) error {
	path, why := program(programVariable)
	if err := z.deviceFolder(dir); err != nil {
		return err
	}
	for _, command := range []string{"status", "dump", "fsck"} {
		family := "growth/" + command + "/" + size
		if !b.table.wants(family) {
			continue
		}
		if why != "" {
			b.table.explain(family+"/time", why)
			continue
		}
		b.say("%s with %s records …", command, size)
		args := []string{command, "--data", dir}
		if command == "status" {
			args = append([]string{"device"}, args...)
		}
		for range growthRuns {
			took, peak, err := runCommand(ctx, io.Discard, path, args...)
			if err != nil {
				return err
			}
			b.table.add(family+"/time", ms(took))
			b.table.add(family+"/memory", peak/1e6)
		}
	}
	return nil
}

// runCommand runs a command once and returns how long it took and the most memory
// that it had. What it prints goes to w.
func runCommand(ctx context.Context, w io.Writer, path string, args ...string) (took time.Duration, peak float64, err error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan struct{})
	watched := make(chan float64)
	go func() {
		peak := 0.0
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-ended:
				tick.Stop()
				watched <- peak
				return
			case <-tick.C:
				peak = max(peak, peakMemory(strconv.Itoa(cmd.Process.Pid)))
			}
		}
	}()
	_, copied := io.Copy(w, bufio.NewReaderSize(out, 64<<10))
	err = cmd.Wait()
	took = time.Since(began)
	close(ended)
	peak = <-watched
	if err == nil {
		err = copied
	}
	if err != nil {
		err = fmt.Errorf("classmesh %v: %w: %s", args, err, said.Bytes())
	}
	return took, peak, err
}

// deviceFolder makes a folder with a replica the data of a device.
func (z *zone) deviceFolder(dir string) error {
	key, err := readKey(dir)
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]any{
		"format": 1, "name": "bench", "zone": z.Founding.Zone, "zone_name": "bench",
		"coordinator": hex.EncodeToString(z.Founding.Coordinator), "addresses": []string{},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.key"), fmt.Appendf(nil, "classmesh identity key 1\n%x\n", key.Seed()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "device.json"), settings, 0o600)
}

// pageVisits is how often a page is asked for.
const pageVisits = 15

// page measures a teacher's page of a class, after each change and once more; its
// rows' names begin with prefix, and with one there are those after a change only.
func (b *bench) page(ctx context.Context, z *zone, dir, size, prefix string) error {
	device, err := start(ctx, nil, "serve", dir, z.dir, "")
	if err != nil {
		return err
	}
	defer device.kill()
	var said serving
	if err := device.hear(&said); err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	teacher, err := signIn(ctx, transport, said.URL, teacherName)
	if err != nil {
		return err
	}
	visit := func(path string) (float64, error) {
		began := time.Now()
		_, err := teacher.get(ctx, path)
		return ms(time.Since(began)), err
	}
	for i := range pageVisits {
		var wrote written
		if err := device.ask("write", &wrote); err != nil {
			return err
		}
		took, err := visit("/classes/" + z.Class)
		if err != nil {
			return err
		}
		name := "changed"
		if i == 0 {
			name = "first"
		}
		b.table.add("page/"+size+"/"+prefix+name, took)
		if prefix != "" {
			continue
		}
		if took, err = visit("/classes/" + z.Class); err != nil {
			return err
		}
		b.table.add("page/"+size+"/again", took)
		if took, err = visit("/api/v1/class?class=" + z.Class); err != nil {
			return err
		}
		b.table.add("page/"+size+"/json", took)
	}
	return errors.Join(checkClass(ctx, teacher, z), device.end())
}

// checkClass makes sure that the page that was measured shows a whole class.
func checkClass(ctx context.Context, teacher *browser, z *zone) error {
	body, err := teacher.get(ctx, "/api/v1/class?class="+z.Class)
	if err != nil {
		return err
	}
	var table struct {
		Contents []any `json:"contents"`
		Rows     []any `json:"rows"`
	}
	if err := json.Unmarshal(body, &table); err != nil {
		return err
	}
	if len(table.Rows) != z.ClassSize || len(table.Contents) != schoolContents {
		return fmt.Errorf("the table of the class has %d rows and %d contents", len(table.Rows), len(table.Contents))
	}
	return nil
}

// slowPage is from how many microseconds on a page of memory is worth a word: a process
// that has just been started takes thousands.
const slowPage = 2

// compare adds the rows that follow from others: how near they are to what the machine
// allows, and what the same costs with little and with much stored.
func (b *bench) compare() {
	t := b.table
	small, middle, large := sizeName(b.sizes[0]), sizeName(middle(b.sizes)), sizeName(b.sizes[len(b.sizes)-1])
	ratio := func(id, of, to string, times float64) {
		if above, below := t.figure(of), t.figure(to); len(above.values) > 0 && len(below.values) > 0 {
			t.add(id, times*above.median()/below.median())
		}
	}
	for _, n := range b.sizes {
		size := sizeName(n)
		ratio("nothing/"+size+"/connections", "nothing/"+size+"/time", "limit/connect", 1)
		if commit, datagram := t.figure("limit/commit"), t.figure("limit/datagram"); len(commit.values) > 0 {
			for _, p50 := range t.figure("live/" + size + "/p50").values {
				t.add("live/"+size+"/limits", p50/(2*commit.median()+datagram.median()))
			}
		}
	}
	if page := t.figure("limit/page"); len(page.values) > 0 && page.median() > slowPage {
		t.note("A page of memory that is used for the first time takes long here (limit/page): whatever has just been started is slow for that reason, rows of first syncs and of the program among it.")
	}
	if small == large {
		return
	}
	ratio("growth/changed/time", "changed/"+large+"/time", "changed/"+small+"/time", 1)
	ratio("growth/changed/bytes", "changed/"+large+"/bytes", "changed/"+small+"/bytes", 1)
	ratio("growth/rate", "first/"+large+"/rate", "first/"+middle+"/rate", 100)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
