package exchange

// Remembered is how many things that the peer has told of are kept.
func (m *Machine) Remembered() int {
	n := len(m.tell.position.other) + len(m.tell.dirty) + len(m.peer.all)
	for _, near := range m.peer.branches {
		n += len(near)
	}
	return n
}
