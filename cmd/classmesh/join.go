package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

type joinOptions struct{ dir, name, url, code string }

// joined says what a device has become.
type joined struct {
	ZoneName string
	Name     string
	Device   identity.DeviceID
}

// join makes a device of a folder: a whole one, or none. What is left of a join
// that was cut off is the identity key, so that the same command completes it
// even if the coordinator has registered the device already.
func join(ctx context.Context, p *program, o joinOptions) (j joined, err error) {
	if _, err := roster.ParseInvitation(o.code); err != nil {
		return j, fmt.Errorf("join a zone: %w", err)
	}
	f, err := createFolder(ctx, o.dir, deviceFolder)
	if err != nil {
		return j, fmt.Errorf("join a zone: %w", err)
	}
	_, err = readKey(f.path(keyName))
	resumed := err == nil
	key, err := makeKey(f.path(keyName), p.random)
	var reg api.Registration
	if err == nil {
		reg, err = api.Register(ctx, api.RegisterConfig{
			URL: o.url, Key: key, Code: o.code, Name: o.name, Software: software(), Proxy: http.ProxyFromEnvironment,
		})
	}
	switch {
	case err != nil && !resumed && !mayBeRegistered(err):
		return j, errors.Join(err, f.abandon(keyName))
	case err != nil:
		err = fmt.Errorf("%w (%s keeps what was begun: repeat the same command)", err, o.dir)
		return j, errors.Join(err, f.Close())
	}
	err = makeDevice(ctx, p, f, key, deviceSettings{
		Name: o.name, Zone: reg.Zone, ZoneName: reg.ZoneName,
		Coordinator: publicKey(reg.Coordinator), Addresses: []string{reg.Address},
	}, reg.Roster)
	return joined{reg.ZoneName, o.name, key.Public().ID()}, errors.Join(err, f.Close())
}

// mayBeRegistered reports whether a registration may have taken place although
// it failed here: the answer was lost, or nobody waited for it.
func mayBeRegistered(err error) bool {
	for _, e := range []error{link.ErrBroken, link.ErrTimeout, link.ErrClosed, api.ErrAnswer, api.ErrFault, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
