package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

func newRootCommand(p *program) *cobra.Command {
	var level string
	root := &cobra.Command{
		Use:   "classmesh",
		Short: "Learning records that stay consistent across many small servers",
		Long: `classmesh keeps learning records consistent across the small servers of schools,
with or without the Internet. To see it at work: classmesh demo`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("--log: %q is none of debug, info, warn, error", level)
			}
			p.level.Set(l)
			return nil
		},
	}
	root.PersistentFlags().StringVar(&level, "log", "warn", "what to log to standard error: debug, info, warn or error")
	root.SetOut(p.out)
	root.SetErr(p.errOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newDemoCommand(p),
		newCoordinatorCommand(p),
		newDeviceCommand(p),
		newDumpCommand(p),
		newFsckCommand(p),
		newGenerateCommand(p),
		newVersionCommand(p),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: "Exit codes of all commands:\n\n" + exitCodes},
	)
	requireCommands(root)
	return root
}

// requireCommands makes every command that only has others beneath it say so
// when it is called alone or with a word that it does not know.
func requireCommands(c *cobra.Command) {
	for _, sub := range c.Commands() {
		requireCommands(sub)
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%sthere is no command %q", inCommand(c), args[0])
			}
			return usagef("%sname a command", inCommand(c))
		}
	}
}

// inCommand begins the words about a command: they stand behind the program's
// name.
func inCommand(c *cobra.Command) string {
	if !c.HasParent() {
		return ""
	}
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ") + ": "
}

// arguments demands exactly the named arguments.
func arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s%s is missing", inCommand(c), names[len(args)])
		case len(args) > len(names):
			return usagef("%s%q is one argument too many", inCommand(c), args[len(names)])
		}
		return nil
	}
}

// dataFlag adds --data, without which the command is refused.
func dataFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data", "", "the data folder (required)")
	requireFlags(c, "data")
}

// requireFlags refuses a command line on which one of the flags is missing or
// empty.
func requireFlags(c *cobra.Command, names ...string) {
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, name := range names {
			if f := c.Flags().Lookup(name); f.Value.String() == "" {
				return usagef("%s--%s is missing: %s", inCommand(c), name, f.Usage)
			}
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}

func metricsFlag(c *cobra.Command, address *string) {
	c.Flags().StringVar(address, "metrics", "", "host:port for metrics (Prometheus), such as 127.0.0.1:9770; empty: only at the local socket")
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print JSON for scripts")
}

func newVersionCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program",
		Args:  arguments(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, software())
			return err
		},
	}
}
