package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// withData runs f with the data in a folder.
func withData(ctx context.Context, p *program, dir string, f func(operations) error) error {
	o, err := reach(ctx, p, dir)
	if err != nil {
		return err
	}
	return errors.Join(f(o), o.Close())
}

// withRecords runs f with the records of a device, or of a coordinator's zone.
func withRecords(ctx context.Context, p *program, dir, zone string, f func(inspection) error) error {
	o, err := inspect(ctx, p, dir, zone)
	if err != nil {
		return err
	}
	return errors.Join(f(o), o.Close())
}

func zoneFlag(c *cobra.Command, zone *string) {
	c.Flags().StringVar(zone, "zone", "", "of a coordinator's data: name or ID of the zone (default: the only one)")
}

func newDumpCommand(p *program) *cobra.Command {
	var dir, zone string
	c := &cobra.Command{
		Use:   "dump --data DIR",
		Short: "Print the merged state as JSON Lines",
		Long: `Print what all records together say, one JSON object a line, in a fixed order:
the same bytes on all devices that hold the same. The data of a coordinator can
be read while it does not run.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return withRecords(c.Context(), p, dir, zone, func(o inspection) error { return o.dump(c.Context(), p.out) })
		},
	}
	dataFlag(c, &dir)
	zoneFlag(c, &zone)
	return c
}

func newFsckCommand(p *program) *cobra.Command {
	var dir, zone string
	var asJSON bool
	c := &cobra.Command{
		Use:   "fsck --data DIR",
		Short: "Check that the stored records are whole and consistent",
		Args:  arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return withRecords(c.Context(), p, dir, zone, func(o inspection) error {
				if err := printFindings(c.Context(), o, p.out, asJSON); err != nil || asJSON {
					return err
				}
				_, err := fmt.Fprintln(p.out, "clean")
				return err
			})
		},
	}
	dataFlag(c, &dir)
	zoneFlag(c, &zone)
	jsonFlag(c, &asJSON)
	return c
}

func newGenerateCommand(p *program) *cobra.Command {
	var dir string
	var o generateOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "generate --data DIR --learners N --days D --seed S",
		Short: "Make up classes and weeks of work, for trials and measurements",
		Args:  arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return withData(c.Context(), p, dir, func(ops operations) error {
				g, err := ops.generate(c.Context(), o)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.out, g)
				}
				_, err = fmt.Fprintf(p.out, "made up %d learners in %d classes, %d answers, %d viewings\n", g.Learners, g.Classes, g.Attempts, g.Viewings)
				return err
			})
		},
	}
	dataFlag(c, &dir)
	jsonFlag(c, &asJSON)
	c.Flags().IntVar(&o.Learners, "learners", 30, "how many learners")
	c.Flags().IntVar(&o.Days, "days", 28, "how many days of work, up to today")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "the same seed makes up the same")
	c.Flags().IntVar(&o.Class, "class", 30, "how many learners in a class")
	c.Flags().StringVar(&o.Password, "password", "", "password of all learners (default: they cannot sign in)")
	c.Flags().IntVar(&o.Batch, "batch", 0, "how many answers to write at once (default 256)")
	return c
}
