package boltstore

// Break does to the store what a disk does that fails within a commit.
func (s *Store) Break() { s.broken.Store(true) }
