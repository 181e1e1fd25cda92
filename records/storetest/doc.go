// Package storetest helps to test what stands on a records.Store: [NewMemory]
// is a store in memory that keeps the seam's contracts except durability, and
// [Faulty] makes any store fail on purpose.
package storetest
