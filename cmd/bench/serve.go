package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web"
)

// serving is what a device says when its pages answer.
type serving struct {
	URL       string
	Usernames []string // of a class of its own
}

// password is that of everybody whom a device that is measured enrols, and
// teacherName is who may see classes.
const (
	password    = "measure this"
	teacherName = "bench.teacher"
)

// ownClass is how many learners sit in front of a device.
const ownClass = 40

// serve is the process of a device with pages, a class of forty and a teacher.
// Arguments: the folder, the zone's, and the address of a holder. A line "sync N"
// has it exchange with the holder, until it has N records; "write" has it write
// an answer of somebody in the zone.
func serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	dir, address := args[0], args[2]
	z, err := loadZone(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := watchHeap(ctx)
	p, err := openPeer(ctx, dir)
	if err != nil {
		return err
	}
	defer p.close()
	said, pages, err := newPages(ctx, p.replica, z, dir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: pages}
	go server.Serve(listener)
	defer server.Close()
	said.URL = "http://" + listener.Addr().String()
	answers := json.NewEncoder(out)
	if err := answers.Encode(said); err != nil {
		return err
	}
	probes := newProbeWriter(p.replica)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "write" {
			if err := probes.mixed(ctx, 2); err != nil {
				return err
			}
			if err := answers.Encode(written{2, time.Now().UnixNano()}); err != nil {
				return err
			}
			continue
		}
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "sync %d", &n); err != nil {
			return err
		}
		got, err := p.again().syncUntil(ctx, address, n)
		if err != nil {
			return err
		}
		got.Memory = watched.memory()
		if err := answers.Encode(got); err != nil {
			return err
		}
	}
	return nil
}

// newPages enrols a class and a teacher, and builds the pages.
func newPages(ctx context.Context, r *records.Replica, z *zone, dir string) (said serving, h http.Handler, err error) {
	gate, err := classroom.NewGate(rand.Reader, 2)
	if err != nil {
		return said, nil, err
	}
	made, err := classroom.Generate(ctx, classroom.GenerateConfig{
		Replica: r, Gate: gate, Learners: ownClass, ClassSize: ownClass, Until: time.Now(), Password: password,
	})
	if err != nil {
		return said, nil, err
	}
	said.Usernames = made.Usernames
	_, err = classroom.AddUser(ctx, r, gate, identity.UserID{}, classroom.NewUser{
		Name: "Teacher", Username: teacherName, Password: password, Language: "en", Role: classroom.RoleTeacher,
	})
	if err != nil {
		return said, nil, err
	}
	lessons, err := library(dir, z.Contents)
	if err != nil {
		return said, nil, err
	}
	server, err := web.New(web.Config{
		Replica: r, Gate: gate, Library: lessons, SessionKey: make([]byte, web.SessionKeyBytes),
		Name: filepath.Base(dir), Random: rand.Reader,
	})
	if err != nil {
		return said, nil, err
	}
	return said, server.Handler(), nil
}

// syncUntil exchanges with a holder until n of its records are on disk.
func (p *peer) syncUntil(ctx context.Context, address string, n int) (got received, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	conn, err := p.dial(ctx, address)
	if err != nil {
		return got, err
	}
	ended := make(chan error, 1)
	go func() { _, err := p.session(ctx, conn, false); ended <- err }()
	<-p.began
	for tick := time.NewTicker(time.Millisecond); got.Records < n; {
		select {
		case err := <-ended:
			return got, errors.Join(errors.New("the session ended early"), err)
		case <-tick.C:
			got.Records = int(p.live.Report().RecordsReceived)
		}
	}
	got.Seconds = time.Since(began).Seconds()
	return got, nil
}
