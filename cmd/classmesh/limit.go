package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/classmesh/classmesh/mesh"
)

// spentName is the file that keeps what was used of the uplink's limit.
const spentName = "uplink.json"

// limitUplink has the exchange keep to a limit, of which some may be used already.
func (d *device) limitUplink(c *mesh.Config, limit mesh.UplinkLimit) {
	c.UplinkLimit = limit
	b, err := os.ReadFile(d.folder.path(spentName))
	if err == nil {
		err = json.Unmarshal(b, &c.Spent)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("what was used of the uplink's limit cannot be read; it counts from now", "error", err)
		c.Spent = mesh.Spent{}
	}
	c.SaveSpent = func(s mesh.Spent) {
		b, err := json.Marshal(s)
		if err == nil {
			err = writeDurably(d.folder.path(spentName), append(b, '\n'), 0o600)
		}
		if err != nil {
			d.log.Warn("what is used of the uplink's limit cannot be kept", "error", err)
		}
	}
}
