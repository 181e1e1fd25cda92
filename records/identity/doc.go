// Package identity names the parties and things of a mesh and proves who said
// what: device and author keys, the identifiers that are hashes of them, the
// labels that keep every hash and signature to its one use, and the
// certificate by which a device vouches for an incarnation of its database.
//
// Start with [GenerateDeviceKey] (who a device is) and [GenerateAuthorKey]
// (one life of its database), then [IssueCertificate], which ties them
// together. Everything here is a pure function of its arguments and safe for
// concurrent use; the package does no I/O and imports nothing else of
// classmesh.
//
// # Labels
//
// A [Label] is the only way to hash or to sign. Two uses never share one, so
// a signature over a head can never be passed off as one over a roster:
//
//	Label.Hash(m)     = BLAKE3 derive_key(context = label, material = m)
//	Label.Sign(k, m)  = Ed25519(k, len(label) as 1 byte ‖ label ‖ m)
//
// Ed25519 is verified by one rule everywhere, that of crypto/ed25519
// (cofactorless, canonical S), so that no two devices can disagree about a
// crafted signature.
//
// # Text forms
//
// Identifiers print as a role prefix and lower-case base32 ("zone-…",
// "log-…", "user-…"); a device ID prints in eight groups of seven with check
// digits, for people who compare two screens. String and Parse are inverses.
// Private keys refuse to print themselves.
package identity
