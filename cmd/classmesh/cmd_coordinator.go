package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/classmesh/classmesh/cmd/internal/heap"
	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func newCoordinatorCommand(p *program) *cobra.Command {
	group := func(use, short string, commands ...*cobra.Command) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short}
		c.AddCommand(commands...)
		return c
	}
	return group("coordinator", "The coordinator: who belongs to which zone, and what is safe",
		newCoordinatorServeCommand(p),
		group("org", "Organisations, which run zones", newOrgCreateCommand(p), newOrgListCommand(p)),
		group("zone", "Zones: devices that share records", newZoneCreateCommand(p), newZoneListCommand(p)),
		group("invite", "Invitations, by which devices join", newInviteCreateCommand(p), newInviteListCommand(p)),
		group("device", "Devices of a zone", newDeviceListCommand(p), newDeviceRevokeCommand(p), newDeviceRoleCommand(p)),
		group("session", "Exchanges with devices", newSessionListCommand(p)),
	)
}

func newCoordinatorServeCommand(p *program) *cobra.Command {
	var dir string
	var o coordinateOptions
	c := &cobra.Command{
		Use:   "serve --data DIR --listen ADDR",
		Short: "Run the coordinator until it is interrupted",
		Long: `Run the coordinator until it is interrupted. UDP and TCP of the port must be
reachable by devices. A new or empty data folder becomes that of a new
coordinator, with a new key: keep a copy of its identity.key in a safe place.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			heap.StartYoung()
			return serveCoordinator(c.Context(), p, dir, o, func(url string) {
				fmt.Fprintf(p.out, "coordinator at %s\n", url)
			})
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&o.listen, "listen", ":8440", "host:port for devices; without a host, all of this machine's addresses")
	metricsFlag(c, &o.metrics)
	return c
}

// adminCommand completes a command that asks the running coordinator. ask
// returns what is printed as JSON, or by show for people.
func adminCommand[T any](p *program, c *cobra.Command, ask func(context.Context, *api.Admin, []string) (T, error), show func(io.Writer, T)) *cobra.Command {
	var dir string
	var asJSON bool
	c.RunE = func(c *cobra.Command, args []string) error {
		admin, err := adminOf(dir)
		if err != nil {
			return err
		}
		v, err := ask(c.Context(), admin, args)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.out, v)
		}
		t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
		show(t, v)
		return t.Flush()
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	return c
}

func newOrgCreateCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "create --data DIR NAME", Short: "Create an organisation", Args: arguments("NAME")}
	return adminCommand(p, c, func(ctx context.Context, a *api.Admin, args []string) (api.Org, error) {
		return a.CreateOrg(ctx, args[0])
	}, func(w io.Writer, o api.Org) { fmt.Fprintf(w, "%v\t%s\n", o.ID, o.Name) })
}

func newOrgListCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "list --data DIR", Short: "List the organisations", Args: arguments()}
	return adminCommand(p, c, func(ctx context.Context, a *api.Admin, _ []string) ([]api.Org, error) { return a.Orgs(ctx) },
		func(w io.Writer, list []api.Org) {
			for _, o := range list {
				fmt.Fprintf(w, "%v\t%s\n", o.ID, o.Name)
			}
		})
}

func newZoneCreateCommand(p *program) *cobra.Command {
	var org string
	c := &cobra.Command{Use: "create --data DIR [--org ORG] NAME", Short: "Create a zone", Args: arguments("NAME")}
	c.Flags().StringVar(&org, "org", "", "name or ID of the organisation (default: the only one)")
	return adminCommand(p, c, func(ctx context.Context, a *api.Admin, args []string) (z api.Zone, err error) {
		o, err := chosenOrg(ctx, a, org)
		if err != nil {
			return z, err
		}
		return a.CreateZone(ctx, o.ID, args[0])
	}, func(w io.Writer, z api.Zone) { fmt.Fprintf(w, "%v\t%s\n", z.ID, z.Name) })
}

func newZoneListCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "list --data DIR", Short: "List the zones", Args: arguments()}
	return adminCommand(p, c, func(ctx context.Context, a *api.Admin, _ []string) ([]api.Zone, error) { return a.Zones(ctx) },
		func(w io.Writer, list []api.Zone) {
			for _, z := range list {
				fmt.Fprintf(w, "%v\t%s\t%v\n", z.ID, z.Name, z.Org)
			}
		})
}

// chosenOrg finds an organisation by what was typed, or the only one.
func chosenOrg(ctx context.Context, a *api.Admin, which string) (o api.Org, err error) {
	if which != "" {
		return a.Org(ctx, which)
	}
	list, err := a.Orgs(ctx)
	if err != nil {
		return o, err
	}
	if len(list) != 1 {
		return o, usagef("there are %d organisations: name one with --org", len(list))
	}
	return list[0], nil
}

// chosenZone finds a zone by what was typed, or the only one.
func chosenZone(ctx context.Context, a *api.Admin, which string) (z api.Zone, err error) {
	if which != "" {
		return a.Zone(ctx, which)
	}
	list, err := a.Zones(ctx)
	if err != nil {
		return z, err
	}
	if len(list) != 1 {
		return z, usagef("there are %d zones: name one with --zone", len(list))
	}
	return list[0], nil
}

// zoneCommand is an adminCommand about one zone.
func zoneCommand[T any](p *program, c *cobra.Command, ask func(context.Context, *api.Admin, identity.ZoneID, []string) (T, error), show func(io.Writer, T)) *cobra.Command {
	var zone string
	c.Flags().StringVar(&zone, "zone", "", "name or ID of the zone (default: the only one)")
	return adminCommand(p, c, func(ctx context.Context, a *api.Admin, args []string) (v T, err error) {
		z, err := chosenZone(ctx, a, zone)
		if err != nil {
			return v, err
		}
		return ask(ctx, a, z.ID, args)
	}, show)
}

func newInviteCreateCommand(p *program) *cobra.Command {
	var role string
	var valid time.Duration
	c := &cobra.Command{Use: "create --data DIR [--zone ZONE]", Short: "Make an invitation for one device", Args: arguments()}
	c.Flags().StringVar(&role, "role", "", "what the device may do: administrates or classroom (default: the first device of a zone administrates)")
	c.Flags().DurationVar(&valid, "valid", coordinator.InvitationTime, "for how long, in whole hours, at most seven days")
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, _ []string) (i api.Invitation, err error) {
		if valid < time.Hour || valid > coordinator.InvitationTime || valid%time.Hour != 0 {
			return i, usagef("--valid: want whole hours, from 1h to %dh", coordinator.InvitationTime/time.Hour)
		}
		var given *roster.Role
		if role != "" {
			r, err := roster.ParseRole(role)
			if err != nil {
				return i, usagef("--role %q: want administrates, classroom or plain", role)
			}
			given = &r
		}
		return a.CreateInvitation(ctx, zone, given, valid)
	}, func(w io.Writer, i api.Invitation) {
		fmt.Fprintf(w, "%s\nfor one device, until %s\n", i.Code, i.Expires.Local().Format(time.DateTime))
	})
}

func newInviteListCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "list --data DIR [--zone ZONE]", Short: "List a zone's invitations, without their codes", Args: arguments()}
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, _ []string) ([]api.Invitation, error) {
		return a.Invitations(ctx, zone)
	}, func(w io.Writer, list []api.Invitation) {
		for _, i := range list {
			state := "until " + i.Expires.Local().Format(time.DateTime)
			if i.Device != nil {
				state = "used by " + i.Device.Short() + " " + i.Used.Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\n", i.Created.Local().Format(time.DateTime), state)
		}
	})
}

func newDeviceListCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "list --data DIR [--zone ZONE]", Short: "List a zone's devices", Args: arguments()}
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, _ []string) ([]api.Device, error) {
		return a.Devices(ctx, zone)
	}, func(w io.Writer, list []api.Device) {
		for _, d := range list {
			contact := "never connected"
			if d.Connected {
				contact = "connected"
			} else if !d.LastContact.IsZero() {
				contact = d.LastContact.Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%v\t%s\t%s\t%s\t%s\n", d.ID, d.Name, d.Role, d.State, contact)
		}
	})
}

func newDeviceRevokeCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke --data DIR [--zone ZONE] DEVICE",
		Short: "Remove a device from its zone; what it wrote until now stays",
		Args:  arguments("DEVICE"),
	}
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, args []string) (d api.Device, err error) {
		if d, err = chosenDevice(ctx, a, zone, args[0]); err != nil {
			return d, err
		}
		if err = a.Revoke(ctx, zone, d.ID); err != nil {
			return d, err
		}
		return chosenDevice(ctx, a, zone, d.ID.String())
	}, showDevice)
}

func newDeviceRoleCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "role --data DIR [--zone ZONE] DEVICE ROLE",
		Short: "Change what a device may do: administrates or classroom",
		Long: `Change what a device may do. On one that administrates, teachers and
administrators can be added; on a classroom device learners and classes; on a
plain one only the work of learners is recorded.

The role also judges what the device has written before: teachers and
administrators that were added on a device that no longer administrates cannot
sign in anywhere until it administrates again.`,
		Args: arguments("DEVICE", "ROLE"),
	}
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, args []string) (d api.Device, err error) {
		role, err := roster.ParseRole(args[1])
		if err != nil {
			return d, usagef("role %q: want administrates, classroom or plain", args[1])
		}
		if d, err = chosenDevice(ctx, a, zone, args[0]); err != nil {
			return d, err
		}
		if err = a.SetDeviceRole(ctx, zone, d.ID, role); err != nil {
			return d, err
		}
		return chosenDevice(ctx, a, zone, d.ID.String())
	}, showDevice)
}

func showDevice(w io.Writer, d api.Device) {
	fmt.Fprintf(w, "%v\t%s\t%s\t%s\n", d.ID, d.Name, d.Role, d.State)
}

// chosenDevice finds a device by its ID or its name, which must then be that
// of one device only.
func chosenDevice(ctx context.Context, a *api.Admin, zone identity.ZoneID, which string) (d api.Device, err error) {
	list, err := a.Devices(ctx, zone)
	if err != nil {
		return d, err
	}
	found := 0
	for _, known := range list {
		if known.ID.String() == which {
			return known, nil
		}
		if known.Name == which {
			d = known
			found++
		}
	}
	switch found {
	case 0:
		return api.Device{}, fmt.Errorf("find device %q: %w: \"classmesh coordinator device list\" shows the names and IDs", which, coordinator.ErrNotFound)
	case 1:
		return d, nil
	}
	return api.Device{}, fmt.Errorf("find device %q: %d devices have that name: give the ID: %w", which, found, coordinator.ErrNotFound)
}

func newSessionListCommand(p *program) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "list --data DIR [--zone ZONE]", Short: "List a zone's newest exchanges", Args: arguments()}
	c.Flags().IntVar(&limit, "limit", 50, "how many")
	return zoneCommand(p, c, func(ctx context.Context, a *api.Admin, zone identity.ZoneID, _ []string) ([]api.Session, error) {
		if limit < 1 {
			return nil, usagef("--limit: want at least 1")
		}
		return a.Sessions(ctx, zone, 0, limit)
	}, func(w io.Writer, list []api.Session) {
		for _, s := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\tsent %d\treceived %d\n", s.Number, s.Opened.Local().Format(time.DateTime),
				s.Device.Short(), s.Transport, s.Outcome, s.RecordsSent, s.RecordsReceived)
		}
	})
}
