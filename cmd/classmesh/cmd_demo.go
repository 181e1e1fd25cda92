package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newDemoCommand(p *program) *cobra.Command {
	var dir string
	var devices int
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo [--dir DIR] [--devices N]",
		Short: "Run a coordinator and three devices on this machine, with a sample class",
		Long: `Run a coordinator and devices on this machine, with a class that has worked for
some weeks, until it is interrupted. While it runs, letters that are typed, and a
page, cut off the Internet, the network between the devices, or a device, and put
them back; and they let a learner work, so that one sees where it arrives. The
next start in the same folder continues where this one ended. To begin anew,
delete the folder.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return usageError{fmt.Errorf("choose a folder for the demo: %w: name one with --dir", err)}
				}
				dir = filepath.Join(cache, "classmesh", "demo")
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.errOut, "The demo's data is in %s\n", abs)
			typed := p.in
			if asJSON {
				typed = nil // it is for scripts
			}
			return runDemo(c.Context(), p, abs, devices, typed, func(r demoReport) error {
				if asJSON {
					return printJSON(p.out, r)
				}
				return r.print(p.out)
			})
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder for the data (default: classmesh/demo in the user's cache folder)")
	c.Flags().IntVar(&devices, "devices", 3, "how many devices, at least")
	jsonFlag(c, &asJSON)
	return c
}

// print shows a demo to a person.
func (r *demoReport) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nBegin here, in a browser:\n  %s\n", r.Switches)
	fmt.Fprintln(t, "It shows the devices, lets a learner work on one, and cuts things off.")
	fmt.Fprintln(t, "\nThe devices' own pages:")
	for _, d := range r.Devices {
		fmt.Fprintf(t, "  %s\t%s\n", d.Name, d.URL)
	}
	fmt.Fprintln(t, "\nSign in there as:")
	const shown = 5
	for i, a := range r.Accounts {
		if i == shown {
			fmt.Fprintf(t, "  … and %d more learners\n", len(r.Accounts)-i)
			break
		}
		fmt.Fprintf(t, "  %s\t%s\tpassword %s\n", a.Role, a.Username, a.Password)
	}
	fmt.Fprintf(t, "\nThe coordinator, in the pages called the centre, has no pages; it is at %s\n", r.Coordinator.URL)
	fmt.Fprintf(t, "\nThe same can be done here. %s", demoHelp)
	fmt.Fprintln(t, "\nStop with Ctrl-C; the next start continues here.")
	return t.Flush()
}
