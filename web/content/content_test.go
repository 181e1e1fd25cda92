package content_test

import (
	"testing"

	"github.com/classmesh/classmesh/web/content"
)

// library returns the shipped packs as one.
func library(t testing.TB) *content.Library {
	t.Helper()
	packs, err := content.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	l, err := content.NewLibrary(packs...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func exercise(t testing.TB, id string) *content.Exercise {
	t.Helper()
	e := library(t).Exercise(id)
	if e == nil {
		t.Fatalf("no exercise %s is shipped", id)
	}
	return e
}
