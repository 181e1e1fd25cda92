package content

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxCaptionsBytes is the size of the largest caption file that is read.
const MaxCaptionsBytes = 256 << 10

// cueTiming is the line of WebVTT that says when a caption is shown:
// [hh:]mm:ss.ttt --> [hh:]mm:ss.ttt [settings].
var cueTiming = regexp.MustCompile(`^(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})[ \t]+-->[ \t]+(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})(?:[ \t]+.*)?$`)

// checkCaptions makes sure that a caption file is WebVTT, which browsers would
// otherwise drop in silence: at least one cue, each with a text, in the order
// of their beginnings, and none beyond the end of the film.
func checkCaptions(data []byte, duration time.Duration) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	text := string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[0] != "WEBVTT" && !strings.HasPrefix(lines[0], "WEBVTT ") {
		return errors.New(`line 1: does not begin with "WEBVTT"`)
	}

	cues := 0
	var last time.Duration
	for i := 1; i < len(lines); i++ {
		if !strings.Contains(lines[i], "-->") {
			continue // an identifier, a note, a style, a line of the heading
		}
		begin, end, err := parseCueTiming(lines[i])
		switch {
		case err != nil:
			return fmt.Errorf("line %d: %w", i+1, err)
		case end <= begin:
			return fmt.Errorf("line %d: cue ends before it begins", i+1)
		case begin < last:
			return fmt.Errorf("line %d: cue begins before the one above it", i+1)
		case end > duration:
			return fmt.Errorf("line %d: cue ends after the film, which lasts %v", i+1, duration)
		case i+1 == len(lines) || strings.TrimSpace(lines[i+1]) == "":
			return fmt.Errorf("line %d: cue has no text", i+1)
		}
		last = begin
		cues++
		for i+1 < len(lines) && lines[i+1] != "" {
			if i++; strings.Contains(lines[i], "-->") {
				return fmt.Errorf("line %d: no empty line before this cue", i+1)
			}
		}
	}
	if cues == 0 {
		return errors.New("has no cue")
	}
	return nil
}

func parseCueTiming(line string) (begin, end time.Duration, err error) {
	m := cueTiming.FindStringSubmatch(line)
	if m == nil {
		return 0, 0, errors.New("not the times of a cue (00:01.000 --> 00:02.500)")
	}
	if begin, err = cueTime(m[1:5]); err != nil {
		return 0, 0, err
	}
	end, err = cueTime(m[5:9])
	return begin, end, err
}

// cueTime adds up hours (which may be missing), minutes, seconds and
// milliseconds.
func cueTime(parts []string) (time.Duration, error) {
	units := [...]time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond}
	var sum time.Duration
	for i, s := range parts {
		if len(s) > 3 {
			return 0, errors.New("time of more than 999 hours")
		}
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * units[i]
	}
	return sum, nil
}
