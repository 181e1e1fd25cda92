package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// parts are what other processes of this program do, by their first argument.
var parts map[string]func(ctx context.Context, args []string, in io.Reader, out io.Writer) error

func init() {
	parts = map[string]func(context.Context, []string, io.Reader, io.Writer) error{
		"hold": hold, "receive": receive, "serve": serve, "echo": echo,
	}
}

// apartVariable is set in the environment of a benchmark that has a network of
// its own.
const apartVariable = "CLASSMESH_BENCH_APART"

// process is another process of this program.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	ended bool
}

// start runs a part of this program. More environment can be given.
func start(ctx context.Context, env []string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(ctx, env, self, args...)
}

func startProgram(ctx context.Context, env []string, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, path, args...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// say sends a line, hear reads one as JSON.
func (p *process) say(line string) error {
	_, err := fmt.Fprintln(p.in, line)
	return err
}

func (p *process) hear(v any) error {
	if !p.out.Scan() {
		return errors.Join(errors.New("the other process ended early"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), v)
}

// ask sends a line and hears the answer.
func (p *process) ask(line string, v any) error {
	if err := p.say(line); err != nil {
		return err
	}
	return p.hear(v)
}

// end waits for the process to end in good order.
func (p *process) end() error {
	p.in.Close()
	for p.out.Scan() {
	}
	p.ended = true
	return p.cmd.Wait()
}

func (p *process) kill() {
	if !p.ended {
		p.ended = true
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}
