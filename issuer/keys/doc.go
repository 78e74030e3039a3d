// Package keys makes, keeps, rotates and publishes the keys that sign an
// issuer's tokens. Nobody prepares a key: the first start makes one, age makes
// the next, and each is published before it is used and kept until the last
// token that it signed has expired.
//
//	ring.go        the keys in force, and signing with the current one
//	rotate.go      when a key is made, takes over and goes (RFC 7517 §1, OIDC Core §10.1.1)
//	revoke.go      a key that must go at once
//	record.go      how a key is kept in the storage
//	encryption.go  what encrypts it there, and what its errors mean
//	aesgcm.go      AES-256-GCM with a key that the operator gives
//	reencrypt.go   records in plaintext, or encrypted with an earlier key
//	algorithm.go   the algorithms, RFC 7518 §3.1 and RFC 8037 §3.1
//	jwks.go        the public document, RFC 7517 §5
package keys
