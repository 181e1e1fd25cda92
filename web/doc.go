// Package web is what people see of a device: the pages of learners and
// teachers, and the JSON interface of docs/api.md.
//
// New builds a Server from a Config; Server.Handler serves everything. The
// Server keeps nothing of its own: what is learnt goes into records through
// records/classroom before an answer is given, and what is shown is read from
// there. What it remembers in memory (who is in the zone, answers that were
// just given, wrong passwords) may be forgotten at any moment.
//
// # Pages
//
// Pages are made at the server, in templates under pages, and work without
// scripts. The scripts under static only add comfort: an answer is marked in
// place and sent again if the connection was lost, the spans of a video that
// were watched are recorded, the status keeps itself up to date. Nothing is
// loaded from elsewhere, and the content security policy forbids it.
//
// Rules for pages: every control has a label; states are told by words or
// signs, never by colour alone; contrast is at least 4.5 to 1; all texts come
// from the catalogue (texts, one file a language, of which English is the
// measure: TestLanguages compares the others with it), all directions in style
// sheets are logical (inline-start, not left), so that a language written from
// right to left needs no other style sheet; nothing is wider than 360 pixels
// unless it scrolls by itself.
//
// A form that changes what others may change as well sends along what it showed, so that
// only what somebody has changed in it is written; one that is refused is shown again with
// what was typed.
//
// # Errors
//
// A handler returns an error; problemOf turns it, in one place, into a status,
// a code and words. Pages and the JSON interface tell the same.
//
// # Sessions
//
// Who has signed in carries a cookie that says so under an HMAC, see session.
// It outlives a restart of the device, and ends with the password, with the
// person being hidden, after half a day, or by signing out. It is that of one user
// ID: if several are joined to one person, what the person does is recorded under
// the ID of the user name that was typed.
package web
