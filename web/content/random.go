package content

import (
	"hash/fnv"
	"math/bits"
)

// random is splitmix64. It stands here, and not behind math/rand, because the
// question that an (item, seed) stands for is part of the learners' records:
// it must be the same on every device and in every release, so nothing in this
// file may ever change.
type random struct{ state uint64 }

// newRandom starts a sequence of its own for every label and seed.
func newRandom(label string, seed uint64) *random {
	h := fnv.New64a()
	h.Write([]byte(label))
	return &random{state: h.Sum64() ^ scramble(seed+0x9e3779b97f4a7c15)}
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return scramble(r.state)
}

func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// between returns a number of lo…hi, both included.
func (r *random) between(lo, hi int) int {
	high, _ := bits.Mul64(r.next(), uint64(hi-lo+1))
	return lo + int(high)
}

// permutation returns the numbers 0…n-1 in random order.
func (r *random) permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := r.between(0, i)
		p[i], p[j] = p[j], i
	}
	return p
}
