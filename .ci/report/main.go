// Command report runs `go test -json` with the arguments that it is given, after
// variables for it (GOARCH=arm64), and prints what a person wants to know of it: a
// line for each package, everything that failing tests said, and at the end which
// tests took longest, which were left out and why. It fails if a test does, and, where
// CI is "true", if one was left out.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of a build
	Elapsed                       float64
}

// name is what an event is about.
type name struct{ pkg, test string }

// took is how long a test took.
type took struct {
	name    name
	seconds float64
}

// The tests that take longest are named: so many, if they take so many seconds.
const (
	mostLongest  = 20
	leastLongest = 5
)

// assignment is an argument that sets a variable for the tests, as GOARCH=arm64
// does; such come before the others.
var assignment = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

func main() {
	began := time.Now()
	args, env := os.Args[1:], os.Environ()
	for len(args) > 0 && assignment.MatchString(args[0]) {
		env, args = append(env, args[0]), args[1:]
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Env = env
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	output := map[name][]string{}
	var skipped []string
	var longest []took
	passed, failed := 0, 0
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		n := name{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "output":
			output[n] = append(output[n], e.Output)
		case "pass", "skip", "fail":
			switch {
			case e.Action == "fail":
				failed++
				for _, line := range output[n] {
					fmt.Print(line)
				}
			case e.Test == "":
				if e.Action == "pass" {
					fmt.Printf("ok    %6.1f s  %s\n", e.Elapsed, e.Package)
				}
			case e.Action == "skip":
				skipped = append(skipped, fmt.Sprintf("%s.%s: %s", e.Package, e.Test, reason(output[n])))
			default:
				passed++
				if !strings.Contains(e.Test, "/") {
					longest = append(longest, took{n, e.Elapsed})
				}
			}
			delete(output, n)
		}
	}
	err = cmd.Wait()
	fmt.Printf("\n%d tests passed, %d failed, %d left out, in %v\n", passed, failed, len(skipped), time.Since(began).Round(time.Second))
	slices.SortFunc(longest, func(a, b took) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, t := range longest[:min(len(longest), mostLongest)] {
		if t.seconds >= leastLongest {
			fmt.Printf("long: %6.1f s  %s.%s\n", t.seconds, t.name.pkg, t.name.test)
		}
	}
	for _, s := range skipped {
		fmt.Println("left out:", s)
	}
	if len(skipped) > 0 && os.Getenv("CI") == "true" {
		fmt.Println("with CI=true nothing may be left out")
		os.Exit(1)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

// reason finds what a skipped test said.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if _, why, ok := strings.Cut(line, ".go:"); ok && !strings.HasPrefix(line, "---") {
			if _, said, ok := strings.Cut(why, ": "); ok {
				return said
			}
		}
	}
	return "it gives no reason"
}
