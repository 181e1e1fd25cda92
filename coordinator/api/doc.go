// Package api carries what is asked of a coordinator that is not an exchange of
// records: joining a zone, finding the others, and administration.
//
// # Control
//
// A device that wants something opens a connection with link.ProtocolControl and
// asks once; [Server] answers, [Register] is the client of one that wants to join. Request and answer are
// one message each:
//
//	+--------+-----------------------+
//	| length | one protobuf          |
//	|   4    | up to MaxRequestBytes |      or MaxAnswerBytes
//	+--------+-----------------------+
//
//	Request { 1: uint32 version   highest that the sender speaks
//	          2: Join { 1: bytes secret(6)  2: string name  3: string software }
//	          3: Meet { 1: bytes zone(16)   2: repeated string address } }
//	Answer  { 1: uint32 version   of the answer, at most that of the request
//	          2: uint32 code      0: done
//	          3: string words     in English, about a code that is not 0
//	          4: Joined { 1: bytes zone(16)  2: string name  3: bytes roster }
//	          5: Met { 1: repeated Place { 1: bytes device(32)
//	                                       2: repeated string address } } }
//
// A device of a zone asks with [Meet] where others of its network are, and tells
// where it is itself.
//
// Fields that a release does not know are dropped; version 1 is the only one so
// far. The client proves its key, and checks the coordinator's against the
// code, in the handshake: so the secret goes to nobody else.
//
// # Administration
//
// [NewAdminHandler] answers JSON over HTTP to whoever reaches it, without asking
// who that is: it belongs on a Unix socket that only the administrator's account
// can open. [Admin] is the client.
//
//	POST /v1/orgs                               {"name"}
//	GET  /v1/orgs
//	POST /v1/zones                              {"org","name"}
//	GET  /v1/zones
//	POST /v1/zones/{zone}/invitations           {"role","valid_hours"}, both optional
//	GET  /v1/zones/{zone}/invitations
//	GET  /v1/zones/{zone}/devices
//	POST /v1/zones/{zone}/devices/{device}/revoke
//	POST /v1/zones/{zone}/devices/{device}/role {"role"}
//	GET  /v1/zones/{zone}/sessions?before=&limit=
//
// [NewPublicHandler] is what anybody may see of a coordinator over HTTP.
package api
