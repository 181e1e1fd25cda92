// Package lantest holds tests of the whole program on small networks: real
// processes, each on a host of its own (a network namespace, see
// discovery/lantest), and cables that are pulled, firewalls, loss, thin lines.
//
//	           coordinator
//	                │
//	          the Internet              each device sees the coordinator there
//	     ┌──────────┼──────────┐        and nobody else, once its uplink is on
//	eth1 │          │          │
//	  Room 1     Room 2     Room 3      classmesh device serve
//	eth0 │          │          │
//	     └──────── LAN ────────┘        10.77.0.1, 10.77.0.2, …
//
// Work is entered as a browser enters it, and what came of it is asked with the
// program's own commands. Every scenario ends with what was answered with
// success being on every device, equal dumps and clean stores.
//
// They need Linux, root and the commands ip, tc and nft: make test-lan runs
// them, and says what is missing. Two variables of the environment:
//
//	CLASSMESH_LAN_LONG=1    partitions last two minutes instead of seventy seconds
//	CLASSMESH_LAN_LOG=info  what the devices log (shown when a test fails)
package lantest
