package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bounds of what memberlist logs: much of it is caused by others.
const (
	maxLogLine = 300
	logBurst   = 10
	logEvery   = time.Minute // for one burst
)

// logWriter turns lines that memberlist logs into records of slog.
type logWriter struct {
	logger *slog.Logger

	mu      sync.Mutex
	since   time.Time // when this burst began
	written int
	left    int // unsaid in this burst
}

func newLogger(logger *slog.Logger) *log.Logger {
	return log.New(&logWriter{logger: logger}, "", 0)
}

// Write takes one line, such as "[WARN] memberlist: …".
func (w *logWriter) Write(b []byte) (int, error) {
	level, line := slog.LevelDebug, strings.TrimSpace(string(b[:min(len(b), maxLogLine)]))
	if word, rest, ok := strings.Cut(line, "]"); ok && strings.HasPrefix(word, "[") {
		line = rest
		// What memberlist calls an error is mostly somebody else's, or a
		// network that is away: nothing that people must know.
		switch word[1:] {
		case "ERR", "ERROR", "WARN":
			level = slog.LevelInfo
		}
	}
	line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "memberlist:"))
	if !w.logger.Enabled(context.Background(), level) {
		return len(b), nil
	}
	w.mu.Lock()
	now := time.Now()
	var unsaid int
	if w.since.IsZero() || now.Sub(w.since) >= logEvery {
		unsaid = w.left
		w.since, w.written, w.left = now, 0, 0
	}
	if w.written == logBurst {
		w.left++
		w.mu.Unlock()
		return len(b), nil
	}
	w.written++
	w.mu.Unlock()
	if unsaid > 0 {
		w.logger.Log(context.Background(), level, "membership", "said", line, "lines_left_out", unsaid)
	} else {
		w.logger.Log(context.Background(), level, "membership", "said", line)
	}
	return len(b), nil
}
