// Package ledger is where the issuer writes down what was granted and what was
// taken back:
//
//	authorization.go  what a person granted to a client, once; every token that
//	                  comes of it carries its id
//	revocation.go     what ends tokens before they expire (RFC 7009), as records
//	                  and in memory, where every request asks
//	ledger.go         what both stand in
//
// Whoever writes a revocation in a transaction of their own calls Enforce after
// the commit.
package ledger
