package boltstore

// Break does to the store what a disk does that fails within a commit.
func (s *Store) Break() { s.broken.Store(true) }

// TidySoon has Tidy pack as few entries as make a run.
func (s *Store) TidySoon() { s.tidyLeast = leastRun }

// Commits returns how many transactions were written since the file was made.
func (s *Store) Commits() (n int) {
	tx, err := s.begin()
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

// Noting reports whether what is written now is noted for a Shrink.
func (s *Store) Noting() bool {
	s.writer <- struct{}{}
	defer func() { <-s.writer }()
	return s.journal != nil
}
