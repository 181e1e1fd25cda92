package main

import (
	"cmp"
	"runtime/debug"
)

// software is the version of the program, for people.
func software() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "classmesh"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = s.Value[:min(len(s.Value), 12)]
		}
	}
	return "classmesh " + cmp.Or(version, "(devel)")
}
