package web

import (
	"fmt"
	"math"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// drawing is the mesh as a picture: this device in the middle, the others
// around it, the coordinator above. Lengths are in pixels; the browser makes
// it smaller where there is less room, unless it is Wide.
type drawing struct {
	Width, Height int
	Wide          bool // too much for a phone: it is scrolled
	Lines         []drawnLine
	Centre        drawnNode
	Nodes         []drawnNode
}

// drawnLine is a link. Its class says what it is: own, slow, told, uplink.
type drawnLine struct {
	Class          string
	X1, Y1, X2, Y2 int
}

// Has reports whether there is a line of a class.
func (d *drawing) Has(class string) bool {
	return slices.ContainsFunc(d.Lines, func(l drawnLine) bool { return l.Class == class })
}

// drawnNode is a device or the coordinator.
type drawnNode struct {
	Class      string
	X, Y, R    int
	Sign       string // within
	Name, Note string // below; empty: the number stands within
	Title      string
}

// Sizes of a drawing.
const (
	nodeRadius   = 18
	ownRadius    = 22
	namedDevices = 8  // around; with more there are numbers instead of names
	longestName  = 13 // characters
	centreY      = 38
	// gap is the part of the circle, in degrees, that is left free above,
	// where the line to the coordinator goes.
	gap = 60
	// spacing is the least distance of devices that have only numbers.
	spacing = 42
	// widest is what is made smaller to fit a phone: more is scrolled.
	widest = 480
)

// draw draws the devices, the first of which is this one.
func draw(p *phrases, devices []meshDevice, centre SyncState) *drawing {
	others := len(devices) - 1
	named := others <= namedDevices
	arc := (360 - gap) * math.Pi / 180
	radius := 122.0
	if others > 6 {
		radius = 152
	}
	if !named {
		radius = max(radius, float64(others)*spacing/arc)
	}
	d := &drawing{Width: int(2*radius) + 110}
	d.Wide = d.Width > widest
	midX, midY := d.Width/2, int(radius)+86
	d.Height = midY + int(radius) + 58
	if others < 3 {
		d.Height = midY + 86 // nobody is at the bottom, or nearly so
		if others == 1 {
			d.Height = midY + int(radius) + 58
		}
	}

	at := map[identity.DeviceID][2]int{}
	for i, dev := range devices {
		n := drawnNode{Class: string(dev.Bond), X: midX, Y: midY, R: ownRadius, Sign: dev.Sign, Title: dev.Name + ": " + dev.State}
		if i > 0 {
			angle := (-90+gap/2)*math.Pi/180 + (float64(i-1)+0.5)*arc/float64(others)
			n.X, n.Y = midX+int(math.Round(radius*math.Cos(angle))), midY+int(math.Round(radius*math.Sin(angle)))
			n.R = nodeRadius
		}
		if named {
			n.Name, n.Note = shorten(dev.Name, longestName), p.text("mesh.note."+string(dev.Bond), "n", dev.missing())
		} else {
			n.Sign = fmt.Sprint(dev.Number)
		}
		at[dev.id] = [2]int{n.X, n.Y}
		d.Nodes = append(d.Nodes, n)
	}
	d.Centre = drawnNode{Class: string(centre), X: midX, Y: centreY, Name: p.text("mesh.centre")}

	line := func(class string, a, b [2]int) {
		d.Lines = append(d.Lines, drawnLine{class, a[0], a[1], b[0], b[1]})
	}
	top := [2]int{midX, centreY}
	drawn := map[[2]identity.DeviceID]bool{}
	own := devices[0].id
	for _, dev := range devices[1:] {
		if dev.Bond.linked() {
			class := "own"
			if dev.peer.Transport == "websocket" {
				class = "own slow"
			}
			line(class, at[own], at[dev.id])
		}
		if dev.uplink {
			line("uplink", at[dev.id], top)
		}
		if dev.peer == nil {
			continue
		}
		for _, other := range dev.peer.Links {
			pair := [2]identity.DeviceID{dev.id, other}
			slices.SortFunc(pair[:], identity.DeviceID.Compare)
			if _, known := at[other]; !known || other == own || other == dev.id || drawn[pair] {
				continue // what this device knows itself, others need not tell
			}
			drawn[pair] = true
			line("told", at[dev.id], at[other])
		}
	}
	switch centre {
	case StateConnected:
		line("uplink", at[own], top)
	case StateNone:
	default:
		line("uplink cut", at[own], top)
	}
	// Thin lines first, so that this device's own lie above.
	slices.SortStableFunc(d.Lines, func(a, b drawnLine) int { return drawnOrder(a.Class) - drawnOrder(b.Class) })
	return d
}

func drawnOrder(class string) int {
	if class == "told" {
		return 0
	}
	return 1
}
