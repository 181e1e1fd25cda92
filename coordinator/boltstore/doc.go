// Package boltstore keeps a coordinator's data in files of its own folder:
// coordinator.Storage with nothing to install.
//
//	coordinator.db       control file: everything but records
//	zones/<zone>.db      records of one zone (records/boltstore)
//
// [Create] makes the folder's files and refuses those that exist; [Open] opens
// them and never makes any. One process has the folder open at a time. A file
// below zones that the control file does not know was left behind by a crash
// while a zone was being made, or is newer than a control file that was
// restored from a backup; it is left alone.
//
// # Control file
//
// It is a store like that of a zone, of which only the value "coordinator", the
// version of this layout, and the items are used; keys are binary, integers
// big-endian, values JSON unless said otherwise:
//
//	orgs         org(16)                    organisation
//	zones        zone(16)                   zone
//	rosters      zone(16)                   encoded roster, as signed
//	invitations  hash of the secret(32)     invitation
//	invited      zone(16) hash(32)          nothing
//	sessions     zone(16) ^number(8)        session: the newest first
//	open         zone(16) ^number(8)        nothing: the session is not closed
//	numbers      zone(16)                   last number of a session (8)
//	contacts     zone(16) device(32)        time, milliseconds since 1970 (8)
//
// Changes asked for at the same time share one commit.
package boltstore
