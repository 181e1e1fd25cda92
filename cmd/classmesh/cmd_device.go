package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/classmesh/classmesh/cmd/internal/heap"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/classroom"
)

func newDeviceCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "A device: the server in a classroom"}
	users := &cobra.Command{Use: "users", Short: "The people who use a device's pages"}
	users.AddCommand(newUsersImportCommand(p), newUsersPasswordCommand(p))
	c.AddCommand(newJoinCommand(p), newServeCommand(p), newStatusCommand(p), newDoctorCommand(p), newSyncCommand(p), users)
	return c
}

func newJoinCommand(p *program) *cobra.Command {
	var dir, name string
	c := &cobra.Command{
		Use:   "join --data DIR --name NAME URL CODE",
		Short: "Make this machine a device of a zone, by an invitation",
		Long: `Make this machine a device of the zone that the invitation is for. URL is the
coordinator's address, such as https://coordinator.example or 192.0.2.1:8440,
and CODE the invitation. The data folder must not exist or be empty. If it is
interrupted, repeat the same command.`,
		Args: arguments("URL", "CODE"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := join(c.Context(), p, joinOptions{dir: dir, name: name, url: args[0], code: args[1]})
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "joined %q as %q (%v)\n", d.ZoneName, d.Name, d.Device)
			fmt.Fprintf(p.errOut, "Start it with: classmesh device serve --data %s --web :8080\n", dir)
			return nil
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&name, "name", "", "what people call the device, such as \"Room 12\" (required)")
	requireFlags(c, "name")
	return c
}

func newServeCommand(p *program) *cobra.Command {
	var dir string
	var o serveOptions
	var limit string
	c := &cobra.Command{
		Use:   "serve --data DIR --web ADDR",
		Short: "Serve the device's pages and keep it in sync, until it is interrupted",
		Long: `Serve the device's pages and keep it in sync, until it is interrupted: with the
coordinator whenever that can be reached, and with the other devices of the zone
on the same network, which find each other by themselves. Where a network does
not let them, --peer names one device, and that is enough for all to connect.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			o.lan.any = !c.Flags().Changed("lan")
			if o.lan.address == noLAN {
				if len(o.lan.peers) > 0 {
					return usagef("%s--peer names a device of the LAN, and --lan %s exchanges with none", inCommand(c), noLAN)
				}
				o.lan.address = ""
			}
			for flag, address := range map[string]string{"web": o.web, "lan": o.lan.address} {
				if _, _, err := net.SplitHostPort(address); err != nil && address != "" {
					return usagef("%s--%s %s: give HOST:PORT, or :PORT for all of this machine's addresses", inCommand(c), flag, address)
				}
			}
			if limit != "" {
				var err error
				if o.limit, err = mesh.ParseUplinkLimit(limit); err != nil {
					return usageError{err}
				}
			}
			heap.StartYoung()
			return serveDevice(c.Context(), p, dir, o, func(s serving) {
				fmt.Fprintf(p.out, "%q serves its pages at %s\n", s.name, s.url)
			})
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&o.lan.address, "lan", defaultLAN, "host:port for other devices of the network, over UDP and TCP; "+noLAN+": exchange with the coordinator alone")
	c.Flags().StringArrayVar(&o.lan.peers, "peer", nil, "host:port of another device, if they do not find each other; may be repeated")
	c.Flags().StringVar(&limit, "uplink-limit", "", "how much may go to and from the coordinator each day, such as 50MB for all records or detail=20MB for single answers")
	c.Flags().StringVar(&o.web, "web", ":8080", "host:port for the pages; without a host, all of this machine's addresses")
	metricsFlag(c, &o.metrics)
	return c
}

func newDoctorCommand(p *program) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor --data DIR",
		Short: "Say in words what keeps the device from the coordinator and from other devices",
		Long: `Say in words what keeps the device from the coordinator and from other devices.
The exit code is 0 if nothing was found, otherwise 1.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return withData(c.Context(), p, dir, func(o operations) error {
				s, err := o.status(c.Context())
				if err != nil {
					return err
				}
				d := s.diagnose()
				if !asJSON {
					d.print(p.out)
				} else if err := printJSON(p.out, d); err != nil {
					return err
				}
				if len(d.Findings) > 0 {
					return errAilments
				}
				return nil
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	return c
}

func newStatusCommand(p *program) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status --data DIR",
		Short: "Tell what the device holds and what of it is safe",
		Args:  arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return withData(c.Context(), p, dir, func(o operations) error {
				s, err := o.status(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.out, s)
				}
				return s.print(p.out)
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	return c
}

func newSyncCommand(p *program) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "sync --data DIR",
		Short: "Exchange records with the coordinator now",
		Long: `Exchange records with the coordinator once, now. The exit code is 0 if both
hold the same afterwards and all that this device wrote is safe there.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			heap.StartYoung()
			return withData(c.Context(), p, dir, func(o operations) error {
				r, err := o.sync(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.out, r)
				}
				_, err = fmt.Fprintf(p.out, "in sync: %d records sent, %d received\n", r.Sent, r.Received)
				return err
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	return c
}

func newUsersImportCommand(p *program) *cobra.Command {
	var dir string
	var partial, asJSON bool
	c := &cobra.Command{
		Use:   "import --data DIR FILE.csv",
		Short: "Add people from a CSV file",
		Long: `Add people from a CSV file whose first line names the columns: full name,
username, password, class, role, language. A bad row is named by its line, and then
nothing of the file is imported, or with --partial all but the bad rows, and the
exit code is 1. A file named - is standard input.`,
		Args: arguments("FILE.csv"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := openInput(p, args[0])
			if err != nil {
				return usageError{fmt.Errorf("import users: %w", err)}
			}
			defer file.Close()
			return withData(c.Context(), p, dir, func(o operations) error {
				res, err := o.importUsers(c.Context(), file, partial)
				if err != nil {
					return err
				}
				return printImport(p, res, asJSON)
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&partial, "partial", false, "import the good rows even if others are bad")
	return c
}

func newUsersPasswordCommand(p *program) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "password --data DIR USERNAME",
		Short: "Give somebody a new password, read from standard input",
		Long: `Give somebody a new password: the first line of standard input. Wherever
the person is signed in with the old one, that ends. It is the way back in for an
administrator who has forgotten theirs; for everybody else there are the pages.`,
		Args: arguments("USERNAME"),
		RunE: func(c *cobra.Command, args []string) error {
			lines := bufio.NewScanner(io.LimitReader(p.in, classroom.MaxPasswordBytes+2))
			lines.Scan()
			if err := lines.Err(); err != nil {
				return fmt.Errorf("set password: read standard input: %w", err)
			}
			if lines.Text() == "" || !utf8.ValidString(lines.Text()) {
				return usageError{errors.New("set password: standard input has no password: give it as its first line, in UTF-8")}
			}
			return withData(c.Context(), p, dir, func(o operations) error {
				res, err := o.setPassword(c.Context(), passwordOptions{args[0], lines.Text()})
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.out, res)
				}
				_, err = fmt.Fprintf(p.out, "%s (%s) has a new password\n", res.Name, res.Role)
				return err
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	return c
}

// openInput opens a file, or standard input for "-".
func openInput(p *program, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(p.in), nil
	}
	return os.Open(name)
}

// errRefusedRows: a part of a file was imported.
var errRefusedRows = errors.New("the rows above were not imported: correct them and import the file again")

func printImport(p *program, res importReport, asJSON bool) error {
	if asJSON {
		if err := printJSON(p.out, res); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.out, "imported: %d added, %d changed, %d unchanged, %d new classes\n", res.Added, res.Changed, res.Unchanged, res.Classes)
	}
	for _, row := range res.Refused {
		fmt.Fprintln(p.errOut, row)
	}
	if len(res.Refused) > 0 {
		return errRefusedRows
	}
	return nil
}
