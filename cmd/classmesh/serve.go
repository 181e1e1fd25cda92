package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// serving says where a device that serves is to be found.
type serving struct {
	name string
	id   identity.DeviceID
	url  string // of its pages
}

// serveOptions say where a device is to be found.
type serveOptions struct {
	web     string // host:port of the pages
	metrics string // host:port of the metrics; empty: none
	lan     lanOptions
	limit   mesh.UplinkLimit // of what goes to the coordinator each day
}

// serveDevice runs a device until ctx is done. It calls ready, in a goroutine of its
// own, when pages and local socket answer.
func serveDevice(ctx context.Context, p *program, dir string, o serveOptions, ready func(serving)) (err error) {
	d, err := openDevice(ctx, p, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.serve(ctx, o, ready)
}

// serve is serveDevice with data that is open already, and stays so.
func (d *device) serve(ctx context.Context, o serveOptions, ready func(serving)) error {
	config := d.meshConfig()
	if !o.limit.IsZero() {
		d.limitUplink(&config, o.limit)
	}
	if o.lan.address != "" {
		lan, err := newLAN(d, o.lan)
		if err != nil {
			return fmt.Errorf("serve device: %w", err)
		}
		defer lan.listener.Close()
		d.lan, config.Listener, config.Book = lan, lan.listener, lan.book
		config.HasUplink = lan.hasUplink
	}
	node, err := mesh.New(config)
	if err != nil {
		return fmt.Errorf("serve device: %w", err)
	}
	d.node = node
	listener, err := net.Listen("tcp", o.web)
	if err != nil {
		return fmt.Errorf("serve pages at %s: %w: name another address with --web", o.web, err)
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

	// The exchange ends last, so that it can pass on the last work of people
	// and tell the coordinator good-bye.
	exchange, stopExchange := context.WithCancel(context.WithoutCancel(ctx))
	defer stopExchange()
	group, groupCtx := errgroup.WithContext(ctx)
	// Others are told good-bye before the port is closed.
	afterwards, stopLAN := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLAN()
	if d.lan != nil {
		group.Go(func() error { return d.lan.run(afterwards) })
	}
	group.Go(func() error {
		return discovery.Watch{Changed: d.networkChanged(), Logger: d.logger()}.Run(afterwards)
	})
	group.Go(func() error {
		defer stopLAN()
		return node.Run(exchange)
	})
	group.Go(func() error {
		defer stopExchange()
		pages, err := d.pages() // the device is on its way to its peers meanwhile
		if err != nil {
			return err
		}
		servers, serversCtx := errgroup.WithContext(groupCtx)
		servers.Go(func() error { return serveHTTP(serversCtx, d.server(pages), listener) })
		metrics := d.metrics()
		servers.Go(func() error { return serveMetrics(serversCtx, measured, metrics, d.logger()) })
		local := http.NewServeMux()
		local.Handle("/", controlHandler(d))
		local.Handle("GET "+pathMetrics, metrics)
		servers.Go(func() error { return serveHTTP(serversCtx, d.server(local), socket) })
		ready(serving{d.settings.Name, d.replica.Device(), pageURL(listener.Addr())})
		return servers.Wait()
	})
	group.Go(func() error { d.store.Upkeep(groupCtx); return nil })
	group.Go(func() error { d.publishAgain(groupCtx); return nil })
	err = group.Wait()
	d.setLastOK(node.Status().Uplink.LastOK)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve device: %w", err)
	}
	return nil
}

func (d *device) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(d.logger().Handler(), slog.LevelDebug),
	}
}

// pageURL is the address of pages for a browser on this machine.
func pageURL(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return "http://" + a.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
