// Package probe attacks a live route behind a gate, as strangers would, and tells
// what passed that must not. It speaks HTTP/1.1 over connections of its own and
// needs no Caddy: "caddy oauth probe" is its command, whose flags are named in
// what it says to people.
//
//	probe.go      Run: the order of things, and the control requests
//	trial.go      a check: what is sent, and the worst that came of it
//	shot.go       a request, byte for byte
//	target.go     where it goes, and what comes back
//	backend.go    plays the API behind the gate and sees what arrives
//	judge.go      what an answer, or an arrival, means
//	report.go     what was found
//
// The classes of checks:
//
//	token.go      tokens that are no good (RFC 9068, RFC 8725); forge.go makes them
//	place.go      a good token where none may be looked for (RFC 6750 section 2)
//	scope.go      too little scope (RFC 6750 section 3.1)
//	identity.go   what strangers say about who calls
//	path.go       spellings of the path
//	method.go     methods, CONNECT and TRACE among them
//	header.go     headers that say that a request is another one than it is
//	framing.go    requests whose end is in doubt (RFC 9112 section 11.2)
package probe
