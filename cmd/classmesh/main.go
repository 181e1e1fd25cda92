// Command classmesh keeps the learning records of schools consistent across
// many small servers: it is the device in a classroom, the coordinator on the
// Internet, and the tool to look after both.
//
// # Way through the files
//
//	main, root           start, signals, the tree of commands
//	cmd_*                commands: flags in, words or JSON out
//	exit                 errors to exit codes and words, in one place
//	program              the outside world: streams, clock, randomness, log
//	folder, key, lock_*  data folders: made whole or not at all, locked
//	device, coordinator  the data of either, opened by this process
//	join                 how a folder becomes a device
//	serve, coordinate    a device and a coordinator at work; pages, http
//	operations, inspect  what commands do with data, whether it is in use or not
//	status, sync, check, generate
//	                     each of these operations on a device
//	metrics*, disk_*     what operators measure
//	socket, control      the same through the socket of the process that runs
//	lan, network, meet   how a device finds others, and with the coordinator's help
//	neighbours, heads, copies
//	                     what others tell by gossip: links, news, being there twice
//	limit                what the way to the coordinator may carry a day
//	demo, demo_*         a coordinator and devices in one process, and what cuts
//	                     them off: cables, seats, switches, terminal, page
//
// A command that needs a device's data opens it, or, if the device runs, asks
// it through the local socket in the data folder. Results go to standard
// output and everything for people to standard error.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/classmesh/classmesh/cmd/internal/heap"
)

func main() {
	heap.SetPercent()
	os.Exit(run(os.Args[1:]))
}

// run executes the command line and returns the exit code. The first signal
// asks the command to stop in good order; the second ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	p := newProgram()
	root := newRootCommand(p)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code, words := outcome(err)
	if words != "" {
		fmt.Fprintln(p.errOut, "classmesh:", words)
	}
	return code
}
