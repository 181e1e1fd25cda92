package mesh

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
)

// lanes is how many lanes a limit tells apart.
const lanes = len(identity.Lanes)

// UplinkLimit is how many bytes of records a day may go between a device and the
// coordinator, both ways together. Zero fields are no limit.
type UplinkLimit struct {
	// Total is for all lanes. The last fifth of it is kept for the lanes zone and
	// progress, and of that the last half for zone.
	Total int64
	Lanes [lanes]int64 // for each lane
}

// IsZero reports whether there is no limit.
func (l UplinkLimit) IsZero() bool { return l == UplinkLimit{} }

// keep is how much of Total must be left for a lane.
func (l UplinkLimit) keep(lane int) int64 {
	return l.Total / 10 * int64(min(lane, 2)) // none, a tenth, a fifth
}

// ParseUplinkLimit reads a limit as people write it: "50MB" for all lanes
// together, "detail=20MB" for one, or several of these with commas between.
func ParseUplinkLimit(text string) (l UplinkLimit, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, size, named := strings.Cut(strings.TrimSpace(part), "=")
		to := &l.Total
		if !named {
			size = name
		} else if to = laneLimit(&l, name); to == nil {
			return UplinkLimit{}, fmt.Errorf("read the limit %q: there is no lane %q: write zone, progress or detail", text, name)
		}
		n, ok := parseSize(size)
		if !ok {
			return UplinkLimit{}, fmt.Errorf("read the limit %q: %q is no size: write such as 500kB, 20MB or 1GB", text, size)
		}
		if *to != 0 {
			return UplinkLimit{}, fmt.Errorf("read the limit %q: it says the same twice", text)
		}
		*to = n
	}
	return l, nil
}

func laneLimit(l *UplinkLimit, name string) *int64 {
	for i, lane := range identity.Lanes {
		if lane.String() == name {
			return &l.Lanes[i]
		}
	}
	return nil
}

// parseSize reads a positive number of bytes.
func parseSize(text string) (int64, bool) {
	unit := 1.0
	for _, u := range []struct {
		suffix string
		bytes  float64
	}{{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(strings.ToLower(text), u.suffix); ok {
			text, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n*unit >= 1) || n*unit > math.MaxInt64/2 {
		return 0, false
	}
	return int64(n * unit), true
}

// Spent is what was used of an UplinkLimit on a day. It is kept over restarts.
type Spent struct {
	Day   string       `json:"day"` // as 2006-01-02, of the device's clock
	Lanes [lanes]int64 `json:"lanes"`
}

// on returns what was used on the day of now. A clock that was set back does not
// give the day anew.
func (s Spent) on(now time.Time) Spent {
	if day := now.Format(time.DateOnly); day > s.Day {
		return Spent{Day: day}
	}
	return s
}

// left is what a limit still allows.
func (l UplinkLimit) left(s Spent) exchange.Allowance {
	a := exchange.Allowance{Total: math.MaxInt64 / 2}
	used := int64(0)
	for i := range lanes {
		used += s.Lanes[i]
		if a.Lanes[i] = math.MaxInt64 / 2; l.Lanes[i] > 0 {
			a.Lanes[i] = l.Lanes[i] - s.Lanes[i]
		}
		a.Keep[i] = l.keep(i)
	}
	if l.Total > 0 {
		a.Total = l.Total - used
	}
	return a
}

// meter counts what sessions with the coordinator carry against a limit.
type meter struct {
	limit UplinkLimit
	spent Spent
	seen  [lanes]uint64 // of the session that is open
	saved Spent
}

// count takes what a session has carried so far; it reports whether a new day has
// begun, for which the session needs a new allowance.
func (m *meter) count(now time.Time, carried [lanes]uint64) (newDay bool) {
	today := m.spent.on(now)
	newDay = today.Day != m.spent.Day
	m.spent = today
	for i := range lanes {
		m.spent.Lanes[i] += int64(carried[i] - m.seen[i])
	}
	m.seen = carried
	return newDay
}

// meterEvery is how often it is counted what the uplink has carried, saveEvery how
// often that is kept.
const (
	meterEvery = time.Second
	saveEvery  = time.Minute
)

// runMeter counts what the uplink carries until ctx is done.
func (n *Node) runMeter(ctx context.Context) {
	var since time.Duration
	for n.passes(ctx, meterEvery) {
		n.mu.Lock()
		n.meterNow()
		n.mu.Unlock()
		if since += meterEvery; since >= saveEvery {
			since = 0
			n.saveSpent()
		}
	}
}

// meterNow counts what the session that is open, if there is one, has carried. n.mu
// must be held.
func (n *Node) meterNow() {
	if l := n.uplink.link; l != nil && n.meter.count(n.cfg.Clock.Now(), l.session.Report().LaneBytes) {
		n.allow(l)
	}
}

// allow gives a session what is left of the limit. n.mu must be held.
func (n *Node) allow(l *peerLink) {
	n.meter.spent = n.meter.spent.on(n.cfg.Clock.Now())
	l.session.Allow(n.meter.limit.left(n.meter.spent))
}

// saveSpent has it kept what was used, if that has changed.
func (n *Node) saveSpent() {
	n.mu.Lock()
	now, changed := n.meter.spent, n.meter.spent != n.meter.saved
	n.meter.saved = now
	n.mu.Unlock()
	if changed {
		n.cfg.SaveSpent(now)
	}
}

// limitStatus says what is used of the limit.
func (n *Node) limitStatus(u *UplinkStatus) {
	if n.meter == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meterNow()
	u.Limit, u.Spent = n.meter.limit, n.meter.spent
	if u.State != Connected {
		return
	}
	for i, lane := range identity.Lanes {
		if u.Session.Withheld>>i&1 != 0 {
			u.Withheld = append(u.Withheld, lane)
		}
	}
	if len(u.Withheld) > 0 {
		u.Reason = LimitSpent
	}
}
