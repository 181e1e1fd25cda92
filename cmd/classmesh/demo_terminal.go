package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
)

// demoHelp is what can be typed while a demo runs.
const demoHelp = `Type a letter or word, and Enter:
  w 2          work: a learner answers a question on device 2; see where it arrives
  i            internet: cut all devices off the Internet, or connect them again
  i 2          the same for device 2 alone
  l, l 2       lan: the network between the devices
  d 2          device: switch device 2 off, or on again
  b            back: everything as it was
  s            show how things stand
  q            quit
`

// terminal lets somebody play with a demo by typing.
type terminal struct {
	switches *switches
	quit     func()

	mu  sync.Mutex // guards out
	out io.Writer
}

func (t *terminal) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

// read does what is typed until there is nothing more to read or ctx is done.
// Reading itself cannot be interrupted.
func (t *terminal) read(ctx context.Context, in io.Reader) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(in)
		for s.Scan() {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return // nobody types: the demo goes on
			}
			if err := t.do(line); err != nil {
				t.say("%v", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// do does what a line says.
func (t *terminal) do(line string) error {
	words := strings.Fields(strings.ToLower(line))
	if len(words) == 0 {
		words = []string{"s"}
	}
	word := words[0]
	// "2" and "d2" are as good as "d 2".
	if n := strings.TrimLeft(word, "abcdefghijklmnopqrstuvwxyz"); n != "" && n != word {
		words = append([]string{strings.TrimSuffix(word, n), n}, words[1:]...)
	} else if _, err := strconv.Atoi(word); err == nil {
		words = append([]string{"d"}, words...)
	}
	number, err := numberIn(words[1:])
	if err != nil {
		return err
	}
	switch words[0] {
	case "w", "work":
		if number == everybody {
			number = 1
		}
		return t.work(number)
	case "i", "internet", "u", "uplink":
		return t.toggle(wayInternet, number)
	case "l", "lan":
		return t.toggle(wayLAN, number)
	case "d", "device", "p", "power":
		return t.power(number)
	case "b", "back":
		t.say("putting everything back …")
		if err := t.switches.restore(); err != nil {
			return err
		}
		t.say("everything is as it was")
	case "s", "show", "status":
		t.show()
	case "h", "help", "?":
		t.say("%s", demoHelp)
	case "q", "quit", "exit":
		t.quit()
	default:
		return fmt.Errorf("%q is not known.\n%s", line, demoHelp)
	}
	return nil
}

// numberIn returns the number of a device among words, which may call it "room
// 2", or everybody.
func numberIn(words []string) (int, error) {
	for _, w := range words {
		if w == "room" || w == "device" || w == "all" {
			continue
		}
		n, err := strconv.Atoi(w)
		if err != nil || n == everybody {
			return 0, fmt.Errorf("%q is no number of a device", w)
		}
		return n, nil
	}
	return everybody, nil
}

func (t *terminal) work(number int) error {
	told := make(chan struct{}) // closed when the first sentence has been said
	defer close(told)
	var who string // known when told is closed
	learner, err := t.switches.work(number, func(a arrival) {
		<-told
		t.say("  %s's answer: %s", who, a)
	})
	who = learner
	if err == nil {
		t.say("%s answers a question on %s: it is saved there", learner, t.switches.seats[number-1].name)
	}
	return err
}

func (t *terminal) toggle(w way, number int) error {
	out, err := t.switches.toggle(w, number)
	if err != nil {
		return err
	}
	who := "all devices"
	if number != everybody {
		who = t.switches.seats[number-1].name
	}
	what := [ways]string{"the Internet", "the network between the devices"}[w]
	if out {
		t.say("%s: cut off %s. Work goes on: try \"w\"", who, what)
	} else {
		t.say("%s: connected to %s again", who, what)
	}
	return nil
}

func (t *terminal) power(number int) error {
	if number == everybody {
		return fmt.Errorf("which device? Such as \"d 2\"")
	}
	if _, err := t.switches.of(number); err != nil {
		return err
	}
	seat := t.switches.seats[number-1]
	on := !seat.isOn()
	if err := t.switches.power(number, on); err != nil {
		return err
	}
	if on {
		t.say("%s is on again: http://%s", seat.name, seat.address())
	} else {
		t.say("%s is switched off; its pages are gone until \"d %d\"", seat.name, number)
	}
	return nil
}

// show prints how things stand.
func (t *terminal) show() {
	views := t.switches.views()
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tdevice\tstate\trecords\tsafe\tlinks\tcentre")
	for _, v := range views {
		if !v.On {
			fmt.Fprintf(w, "%d\t%s\t%s\t\t\t\t\n", v.Number, v.Name, v.state())
			continue
		}
		centre := "not reached"
		if v.Centre {
			centre = "connected"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%d\t%s\n", v.Number, v.Name, v.state(), v.Records, v.safe(), v.Links, centre)
	}
	w.Flush()
	fmt.Fprintln(t.out, agreement(views))
}

// agreement says whether devices that are on hold the same.
func agreement(views []seatView) string {
	prints, on := map[string]bool{}, 0
	for _, v := range views {
		if v.On {
			prints[v.Fingerprint] = true
			on++
		}
	}
	switch {
	case on == 0:
		return "All devices are switched off."
	case on == 1:
		return "One device is on."
	case len(prints) == 1:
		return fmt.Sprintf("The %d devices that are on hold the same.", on)
	}
	return "The devices do not hold the same at the moment."
}
