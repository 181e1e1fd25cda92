package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// serving says where a device that serves is to be found.
type serving struct {
	name string
	id   identity.DeviceID
	url  string // of its pages
}

// serveDevice runs a device until ctx is done. It calls ready when pages and
// local socket answer.
func serveDevice(ctx context.Context, p *program, dir, address string, ready func(serving)) (err error) {
	d, err := openDevice(ctx, p, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.serve(ctx, address, ready)
}

// serve is serveDevice with data that is open already, and stays so.
func (d *device) serve(ctx context.Context, address string, ready func(serving)) error {
	node, err := mesh.New(d.meshConfig())
	if err != nil {
		return fmt.Errorf("serve device: %w", err)
	}
	d.node = node
	pages, err := d.pages()
	if err != nil {
		return fmt.Errorf("serve device: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serve pages at %s: %w: name another address with --web", address, err)
	}
	defer listener.Close()
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
	group.Go(func() error { return node.Run(exchange) })
	group.Go(func() error {
		defer stopExchange()
		servers, serversCtx := errgroup.WithContext(groupCtx)
		servers.Go(func() error { return serveHTTP(serversCtx, d.server(pages), listener) })
		servers.Go(func() error { return serveHTTP(serversCtx, d.server(controlHandler(d)), socket) })
		return servers.Wait()
	})
	ready(serving{d.settings.Name, d.replica.Device(), pageURL(listener.Addr())})
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
