package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// uplinkSizes are those with which the program itself is measured: more records
// take long to make, and tell nothing that first does not.
func uplinkSizes(sizes []int) (list []int) {
	for _, n := range sizes {
		if n <= 100_000 {
			list = append(list, n)
		}
	}
	return list
}

// The devices of a site on which the uplink is measured: one has made up all
// records, the other holds nothing but its teacher.
const (
	authorName = "author"
	newName    = "new"
)

// What classmesh generate makes of a learner in generatedDays with the content that
// is shipped.
const (
	generatedDays    = 56
	generatedRecords = 255
)

// uplink measures the program itself: a device that sends all that it has made to
// the coordinator, and another one that gets it from there.
func (b *bench) uplink(ctx context.Context, n int) error {
	size := sizeName(n)
	path, why := program(programVariable)
	if why != "" {
		b.table.explain("program/upload/"+size+"/time", why)
		b.table.explain("program/first/"+size+"/records", why)
		return nil
	}
	b.say("making a zone of %s records with the program …", size)
	dir := filepath.Join(b.dir, "run-uplink-"+size)
	defer os.RemoveAll(dir)
	made, teacher, err := makeUplink(ctx, path, filepath.Join(dir, "made"), n)
	if err != nil {
		return fmt.Errorf("make a zone with the program: %w", err)
	}
	for i := range b.runs {
		b.say("the program with %s records, run %d of %d …", size, i+1, b.runs)
		if err := b.uplinkOnce(ctx, made, teacher, filepath.Join(dir, strconv.Itoa(i)), size); err != nil {
			return fmt.Errorf("the program with %s records: %w", size, err)
		}
	}
	return nil
}

// makeUplink returns a site with about n records at one device, and a teacher who
// has signed in at the other. Nothing of it runs.
func makeUplink(ctx context.Context, program, dir string, n int) (_ *site, teacher *browser, err error) {
	s, err := newSite(ctx, program, dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.stopCoordinator()) }()
	for _, name := range []string{newName, authorName} { // the first may have teachers
		if err := s.join(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	if err := s.stopCoordinator(); err != nil {
		return nil, nil, err
	}
	_, err = s.run(ctx, "generate", "--data", s.data(authorName), "--batch", "1024",
		"--learners", strconv.Itoa(max(1, n/generatedRecords)), "--days", strconv.Itoa(generatedDays))
	if err != nil {
		return nil, nil, err
	}
	people := filepath.Join(dir, "people.csv")
	if err := os.WriteFile(people, []byte("full name,username,password,class,role\nTeacher,"+teacherName+","+password+",,teacher\n"), 0o600); err != nil {
		return nil, nil, err
	}
	if _, err := s.run(ctx, "device", "users", "import", "--data", s.data(newName), people); err != nil {
		return nil, nil, err
	}
	d, err := s.serve(ctx, newName)
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true} // pages end when their device does
	teacher, err = signIn(ctx, transport, d.url, teacherName)
	return s, teacher, errors.Join(err, d.stop())
}

// serve starts a device that exchanges with the coordinator alone.
func (s *site) serve(ctx context.Context, name string) (*daemon, error) {
	return startDaemon(exec.CommandContext(ctx, s.program, "device", "serve", "--data", s.data(name), "--web", "127.0.0.1:0", "--lan", "off"), s.data(name))
}

func (b *bench) uplinkOnce(ctx context.Context, made *site, teacher *browser, dir, size string) (err error) {
	s, err := made.again(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer func() { err = errors.Join(err, s.stopCoordinator()) }()
	sent, err := b.upload(ctx, s, size)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	// A coordinator of which the memory is that of what follows.
	if err := s.stopCoordinator(); err != nil {
		return err
	}
	return b.download(ctx, s, teacher, size, sent)
}

// upload measures "device sync" of the device that has made everything, and returns
// how many records that were.
func (b *bench) upload(ctx context.Context, s *site, size string) (sent float64, err error) {
	if err := s.startCoordinator(ctx); err != nil {
		return 0, err
	}
	var said bytes.Buffer
	before, counted := loopbackBytes()
	took, peak, err := runCommand(ctx, &said, s.program, "device", "sync", "--json", "--data", s.data(authorName))
	if err != nil {
		return 0, err
	}
	after, _ := loopbackBytes()
	var report struct {
		Sent uint64 `json:"records_sent"`
	}
	if err := json.Unmarshal(said.Bytes(), &report); err != nil {
		return 0, err
	}
	if sent = float64(report.Sent); sent == 0 {
		return 0, errors.New("nothing was sent")
	}
	at := func(name string) string { return "program/upload/" + size + "/" + name }
	b.table.add(at("time"), ms(took))
	b.table.add(at("rate"), sent/took.Seconds())
	b.addBytes(at("bytes"), counted, float64(after-before)/sent)
	b.table.add(at("sender"), peak/1e6)
	b.table.add(at("coordinator"), peakMemory(s.coordinator.pid())/1e6)
	return sent, nil
}

func (b *bench) addBytes(id string, counted bool, value float64) {
	if counted {
		b.table.add(id, value)
	} else {
		b.table.explain(id, "only root on Linux can have a network of its own")
	}
}

// download measures "device serve" of the device that holds nothing, until its pages
// show what the other one has made.
func (b *bench) download(ctx context.Context, s *site, teacher *browser, size string, records float64) (err error) {
	all, err := s.status(ctx, authorName)
	if err != nil {
		return err
	}
	if err := s.startCoordinator(ctx); err != nil {
		return err
	}
	before, counted := loopbackBytes()
	began := time.Now()
	d, err := s.serve(ctx, newName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	started := time.Since(began)
	var failed error
	err = until(ctx, "a new device has everything", func() bool {
		var now standing
		now, failed = d.status(ctx)
		return failed != nil || now.has(&all)
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	after, _ := loopbackBytes()
	teacher.url = d.url
	shown, err := answersShown(ctx, teacher)
	took := time.Since(began)
	if err != nil {
		return err
	}
	if shown == 0 {
		return errors.New("the page of a class shows no answers")
	}
	at := func(name string) string { return "program/first/" + size + "/" + name }
	b.table.add(at("records"), records)
	b.table.add(at("start"), ms(started))
	b.table.add(at("time"), ms(took))
	b.table.add(at("rate"), records/took.Seconds())
	b.addBytes(at("bytes"), counted, float64(after-before)/records)
	b.table.add(at("device"), peakMemory(d.pid())/1e6)
	b.table.add(at("coordinator"), peakMemory(s.coordinator.pid())/1e6)
	return nil
}

// answersShown asks for the table of the first class, which has a query for each of
// its learners, and returns how many answers it counts.
func answersShown(ctx context.Context, teacher *browser) (answers uint64, err error) {
	body, err := teacher.get(ctx, "/api/v1/class")
	if err != nil {
		return 0, err
	}
	var table struct {
		Rows []struct{ Totals struct{ Attempts uint64 } }
	}
	if err := json.Unmarshal(body, &table); err != nil {
		return 0, err
	}
	for _, row := range table.Rows {
		answers += row.Totals.Attempts
	}
	return answers, nil
}
