package link_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/mesh/link"
)

func TestFrameBytes(t *testing.T) {
	got := link.AppendEnd(link.AppendData(nil, []byte("abc")), 0x01020304, "why")
	if want := "000003616263" + "ffffff" + "01020304" + "03776879"; hex.EncodeToString(got) != want {
		t.Errorf("frames %x, want %s", got, want)
	}
}

// However data is cut into frames and reads, it comes out, and the end after it.
func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 9000)).Draw(t, "parts")
		code := link.Code(rapid.Uint32().Draw(t, "code"))
		reason := rapid.String().Draw(t, "reason")
		var wire, want []byte
		for _, p := range parts {
			wire = link.AppendData(wire, p)
			want = append(want, p...)
		}
		wire = link.AppendEnd(wire, code, reason)
		for _, r := range []io.Reader{bytes.NewReader(wire), iotest.OneByteReader(bytes.NewReader(wire)), iotest.DataErrReader(bytes.NewReader(wire))} {
			got, err := io.ReadAll(link.Frames(r))
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, want %d", len(got), len(want))
			}
			e, ok := errors.AsType[*link.CloseError](err)
			if !ok || e.Code != code || !e.Remote || !strings.HasPrefix(reason, e.Reason) || len(e.Reason) < min(len(reason), link.MaxReasonBytes-3) {
				t.Fatalf("end: %v", err)
			}
		}
		// Cut anywhere, it is never an orderly end.
		cut := rapid.IntRange(0, len(wire)-1).Draw(t, "cut")
		if _, err := io.ReadAll(link.Frames(bytes.NewReader(wire[:cut]))); errors.Is(err, link.ErrClosed) {
			t.Fatalf("cut after %d of %d bytes: %v", cut, len(wire), err)
		}
	})
}

func TestOddEndsAreRefused(t *testing.T) {
	long := append([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 201}, make([]byte, 201)...)
	binary := []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0xff}
	for _, b := range [][]byte{long, binary} {
		if _, err := io.ReadAll(link.Frames(bytes.NewReader(b))); !errors.Is(err, link.ErrProtocol) {
			t.Errorf("%x: %v", b[:9], err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(link.AppendEnd(link.AppendData(nil, []byte("abc")), 16, "done"))
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := io.ReadAll(link.Frames(bytes.NewReader(b)))
		if len(got) > len(b) {
			t.Error("more came out than went in")
		}
		if e, ok := errors.AsType[*link.CloseError](err); ok && !utf8.ValidString(e.Reason) {
			t.Error("reason is not UTF-8")
		}
	})
}
