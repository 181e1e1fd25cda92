// Package packing packs entries into runs, the form in which they travel
// (mesh/wire) and in which the old part of a log is stored (records/boltstore):
// what was received and verified is stored as it came, and what is stored is
// sent as it is.
//
// A run is entries in columns ([DecodeColumns]), compressed by zstd; or in rows, as
// [records.AppendRun] writes them, where columns save nothing, or for peers that know
// rows only; or rows that are not compressed, where that saves nothing. [Codec.Pack] makes runs of a size that is worth
// compressing and still cheap to open for one entry. [Codec.Open] trusts nothing:
// a compressed run must be one frame that states the size announced, which is
// bounded, before memory is taken for it.
package packing
