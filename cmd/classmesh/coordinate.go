package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/mesh/link"
)

// serveCoordinator runs a coordinator until ctx is done. It calls ready with
// its address when it answers.
func serveCoordinator(ctx context.Context, p *program, dir string, o coordinateOptions, ready func(url string)) (err error) {
	data, err := openCoordinator(ctx, p, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	return data.serve(ctx, o, ready)
}

// coordinateOptions say where a coordinator is to be found.
type coordinateOptions struct {
	listen  string // host:port for devices
	metrics string // host:port of the metrics; empty: none
}

func (d *coordinatorData) serve(ctx context.Context, o coordinateOptions, ready func(url string)) error {
	log := d.log.With("coordinator", d.key.Public().ID().Short())
	times := newCommitTimes()
	c, err := coordinator.New(coordinator.Config{
		Storage: &timedStorage{d.storage, times}, Key: d.key, Now: d.now, Random: d.random, Logger: log, Software: software(),
	})
	if err != nil {
		return fmt.Errorf("serve coordinator: %w", err)
	}
	listener, err := link.Listen(link.Config{
		Key: d.key, Address: o.listen, Protocols: []string{link.ProtocolExchange, link.ProtocolControl},
		HTTP: api.NewPublicHandler(c), Timing: link.TimingInternet(), Log: log,
	})
	if err != nil {
		return fmt.Errorf("serve coordinator: %w: name another address with --listen", err)
	}
	defer listener.Close()
	measured, err := listenMetrics(o.metrics)
	if err != nil {
		return err
	}
	if measured != nil {
		defer measured.Close()
	}
	socket, err := listenLocal(d.folder)
	if err != nil {
		return err
	}
	defer socket.Close()
	metrics := d.metrics(c, times)
	local := http.NewServeMux()
	local.Handle("/", api.NewAdminHandler(c, log))
	local.Handle("GET "+pathMetrics, metrics)
	admin := &http.Server{
		Handler: local, ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	control := api.NewServer(c, log)

	// The listener ends last: sessions that the coordinator ends still have
	// something to say.
	links, stopLinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLinks()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return listener.Run(links) })
	group.Go(func() error {
		defer stopLinks()
		return c.Run(groupCtx)
	})
	group.Go(func() error { return serveHTTP(groupCtx, admin, socket) })
	group.Go(func() error { return serveMetrics(groupCtx, measured, metrics, log) })
	group.Go(func() error {
		for {
			conn, err := listener.Accept(groupCtx)
			if err != nil {
				if groupCtx.Err() != nil {
					return nil
				}
				return err
			}
			group.Go(func() error {
				if conn.Protocol() == link.ProtocolControl {
					control.Serve(groupCtx, conn)
				} else {
					c.Serve(groupCtx, conn)
				}
				return nil
			})
		}
	})
	ready("http://" + listener.Addr().String())
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve coordinator: %w", err)
	}
	return nil
}

// adminOf is the client of the coordinator that runs on the data in dir.
func adminOf(dir string) (*api.Admin, error) {
	if err := coordinatorFolder.expect(dir); err != nil {
		return nil, fmt.Errorf("ask the coordinator: %w", err)
	}
	socket, err := socketPath(dir)
	if err != nil {
		return nil, fmt.Errorf("ask the coordinator: %w", err)
	}
	return api.NewAdmin(socket), nil
}
