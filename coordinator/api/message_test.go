package api

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

var update = flag.Bool("update", false, "write the golden files anew; only for messages that no release has spoken yet")

func samples() map[string]message.Message {
	return map[string]message.Message{
		"request": &request{Version: 1, Join: &join{Secret: roster.Secret{1, 2, 3, 4, 5, 8}, Name: "Room 4", Software: "classmesh 1.0"}},
		"meet":    &request{Version: 1, Meet: &meet{Zone: identity.ZoneID{9}, Addresses: []string{"10.0.0.7:7701", "[fd00::7]:7701"}}},
		"met":     &answer{Version: 1, Met: &met{Places: []place{{identity.DeviceID{3}, []string{"10.0.0.8:7701"}}, {identity.DeviceID{4}, nil}}}},
		"joined":  &answer{Version: 1, Joined: &joined{Zone: identity.ZoneID{9}, Name: "School", Roster: []byte("roster")}},
		"refused": &answer{Version: 1, Code: codeUsedCode, Words: "used"},
	}
}

func blank(m message.Message) message.Message {
	if _, ok := m.(*request); ok {
		return new(request)
	}
	return new(answer)
}

// The bytes of each message stay what they are.
func TestGolden(t *testing.T) {
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := writeMessage(&b, m, MaxAnswerBytes); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".hex")
			if *update {
				if err := os.WriteFile(file, fmt.Appendf(nil, "%x\n", b.Bytes()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("got  %x\nwant %x", b.Bytes(), want)
			}
			got := blank(m)
			if err := readMessage(iotest.OneByteReader(bytes.NewReader(want)), got, MaxAnswerBytes); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(m, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReadMessageRefuses(t *testing.T) {
	frame := func(body []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	whole := frame(message.Append(nil, samples()["request"]))
	for n := range whole {
		if err := readMessage(bytes.NewReader(whole[:n]), new(request), MaxRequestBytes); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	long := message.Append(nil, &request{Version: 1, Join: &join{Name: strings.Repeat("x", coordinator.MaxNameBytes+1)}})
	for name, b := range map[string][]byte{
		"announced too large": binary.BigEndian.AppendUint32(nil, MaxRequestBytes+1),
		"noise":               frame(bytes.Repeat([]byte{0xff}, 50)),
		"name too long":       frame(long),
		"field twice":         frame([]byte{8, 1, 8, 1}),
	} {
		if err := readMessage(bytes.NewReader(b), new(request), MaxRequestBytes); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A later release's field is no obstacle.
	var q request
	if err := readMessage(bytes.NewReader(frame([]byte{8, 2, 0x78, 1})), &q, MaxRequestBytes); err != nil || q.Version != 2 {
		t.Errorf("a request with a later field: %+v, %v", q, err)
	}
}

// Every code has words of ours, and comes back from the error that it stands
// for.
func TestCodes(t *testing.T) {
	for c, err := range errorsOf {
		if got := codeOf(fmt.Errorf("wrapped: %w", err)); got != c {
			t.Errorf("%v travels as %d, not %d", err, got, c)
		}
	}
	if got := codeOf(io.ErrClosedPipe); got != codeFault {
		t.Errorf("an unknown error travels as %d", got)
	}
}

// Whatever is read is written as the same bytes, but for fields that are
// dropped; nothing panics.
func FuzzMessage(f *testing.F) {
	for _, m := range samples() {
		f.Add(message.Append(nil, m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		for _, m := range []message.Message{new(request), new(answer)} {
			if readMessage(bytes.NewReader(frame), m, MaxAnswerBytes) != nil {
				continue
			}
			var b bytes.Buffer
			if err := writeMessage(&b, m, MaxAnswerBytes); err != nil {
				t.Fatalf("%+v was read and cannot be written: %v", m, err)
			}
			again := blank(m)
			if err := readMessage(&b, again, MaxAnswerBytes); err != nil || !cmp.Equal(m, again) {
				t.Errorf("%+v reads back as %+v, %v", m, again, err)
			}
		}
	})
}
