package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the program as people and scripts do. Beside the commands of
// testscript there are
//
//	start NAME args…    start the program and wait for its first line of output,
//	                    which is then in the file NAME.out; $NAME is its last
//	                    word, a URL, and $NAME_ADDR that without http://
//	stop NAME           SIGTERM, and it must end with exit code 0
//	crash NAME          SIGKILL
//	exits N args…       run the program, which must end with exit code N
//	agree DIR…          wait until all devices hold the same, and it is safe
//	set NAME            set $NAME to the first line of the last output
//	field NAME PATH [FILE]
//	                    set $NAME to a value in the JSON of a file, or of the
//	                    last output
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[processesKey{}] = processes{}
			e.Setenv("GORACE", os.Getenv("GORACE")) // the race detector's options
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": scriptStart, "stop": scriptStop, "crash": scriptCrash,
			"exits": scriptExits, "agree": scriptAgree, "set": scriptSet, "field": scriptField,
		},
	})
}

type (
	processesKey struct{}
	processes    map[string]*process
)

// process is the program at work.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read when it has ended
	first  string       // line of its output
	ended  chan error
}

// patience is how long tests wait for what should happen at once.
const patience = 60 * time.Second

// startProcess starts the program in dir and waits until it has printed a line.
func startProcess(dir string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command("classmesh", args...), ended: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, env, &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n')
		line <- strings.TrimSuffix(s, "\n")
		io.Copy(io.Discard, r)
		p.ended <- p.cmd.Wait()
	}()
	select {
	case p.first = <-line:
	case <-time.After(patience):
	}
	if p.first == "" {
		p.cmd.Process.Kill()
		<-p.ended
		return nil, errors.New("it did not start: " + p.stderr.String())
	}
	return p, nil
}

// signal sends a signal and returns how the process ended.
func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.cmd.Process.Kill()
		return errors.New("it did not end")
	}
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME args…")
	}
	running := ts.Value(processesKey{}).(processes)
	p, err := startProcess(ts.MkAbs("."), environment(ts), args[1:]...)
	ts.Check(err)
	running[args[0]] = p
	ts.Defer(func() {
		if running[args[0]] == p {
			p.signal(os.Kill)
		}
	})
	words := strings.Fields(p.first)
	ts.Setenv(args[0], words[len(words)-1])
	ts.Setenv(args[0]+"_ADDR", strings.TrimPrefix(words[len(words)-1], "http://"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(p.first+"\n"), 0o600))
}

// environment is that of the script.
func environment(ts *testscript.TestScript) (env []string) {
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "GORACE"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	p := take(ts, neg, args)
	if err := p.signal(syscall.SIGTERM); err != nil {
		ts.Fatalf("%s: %v: %s", args[0], err, &p.stderr)
	}
	if p.stderr.Len() > 0 {
		ts.Logf("%s: %s", args[0], &p.stderr)
	}
}

func scriptCrash(ts *testscript.TestScript, neg bool, args []string) {
	take(ts, neg, args).signal(os.Kill)
}

func take(ts *testscript.TestScript, neg bool, args []string) *process {
	running := ts.Value(processesKey{}).(processes)
	if neg || len(args) != 1 || running[args[0]] == nil {
		ts.Fatalf("name one of %v", slices.Collect(maps.Keys(running)))
	}
	p := running[args[0]]
	delete(running, args[0])
	return p
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits N args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("classmesh", args[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d instead of %d", got, want)
	}
}

func scriptAgree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: agree DIR…")
	}
	for deadline := time.Now().Add(patience); ; {
		prints := map[string]bool{}
		unsafe := uint64(0)
		for _, dir := range args {
			cmd := exec.Command("classmesh", "device", "status", "--json", "--data", ts.MkAbs(dir))
			out, err := cmd.Output()
			ts.Check(err)
			var s statusReport
			ts.Check(json.Unmarshal(out, &s))
			prints[s.Fingerprint] = true
			unsafe += s.Uplink.NotYetSafe
		}
		if len(prints) == 1 && unsafe == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the devices hold %d different states, and %d changes are not safe", len(prints), unsafe)
		}
	}
}

func scriptSet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: set NAME")
	}
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}

func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: field NAME PATH [FILE]")
	}
	file := "stdout"
	if len(args) == 3 {
		file = args[2]
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &v))
	for _, step := range strings.Split(args[1], ".") {
		switch node := v.(type) {
		case map[string]any:
			v = node[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			v = node[i]
		default:
			ts.Fatalf("there is no %s", args[1])
		}
	}
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		ts.Check(err)
		text = string(b)
	}
	ts.Setenv(args[0], text)
}
