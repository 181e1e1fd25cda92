// Package storetest helps to test what implements records.Store and what
// stands on it:
//
//   - [Run] is the conformance suite of the seam: every implementation passes it.
//   - [NewMemory] is a store in memory: the model that the suite compares others
//     with, and the disk of simulations. It is stricter than a disk: what is
//     used after its transaction, or changed while it is iterated over, is
//     noticed.
//   - [Faulty] wraps a store that fails on purpose, by script: before a commit,
//     after it, for want of space, in a crash; and that is as slow as it is told.
package storetest
