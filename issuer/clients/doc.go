// Package clients holds what the issuer knows of clients, and the rules that
// follow from what a client is registered with:
//
//	client.go           the record and its secrets                    RFC 6749 §2, RFC 7591 §2
//	self_registered.go  what is kept of one that registered itself    RFC 7591, RFC 7592
//	redirect_uri.go     where answers may go                          RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1
//	pkce.go             challenge and verifier                        RFC 7636
//	registry.go         those there are: declared, or stored
//	disable.go          taking their rights, and giving them back
//	default_scope.go    the scopes of one that names none
//	grantable.go        which scopes people may grant                 RFC 6749 §3.3
//	resource.go         whom tokens may be for                        RFC 8707
package clients
