package storagetest_test

import (
	"testing"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/storagetest"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/storetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, storagetest.Harness{
		New: func(testing.TB) coordinator.Storage {
			return storagetest.NewMemory(func() records.Store { return storetest.NewMemory() })
		},
		Reopen: func(_ testing.TB, s coordinator.Storage) coordinator.Storage {
			return s.(*storagetest.Memory).Reopen()
		},
	})
}
