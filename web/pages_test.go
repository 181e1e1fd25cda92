package web_test

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("amina")
	for _, p := range []string{"/", "/topics", "/topics/fractions", "/videos/fractions-meaning", "/exercises/fractions-basics", "/exercises/fractions-practice", "/progress", "/status"} {
		b.get(p, 200)
	}
	b = d.signedIn("teacher")
	for _, p := range []string{"/", "/classes", "/classes/" + d.class.String(), "/learners/" + d.learner.String(), "/learners/" + d.learner.String() + "/exercises/fractions-basics", "/status"} {
		b.get(p, 200)
	}
}
