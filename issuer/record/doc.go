// Package record is how the issuer keeps things: values in JSON over package
// storage, found by an id or by the hash of a handle.
//
//	record.go  typed records, and the time in them
//	part.go    lists that are read in parts
//	handle.go  what codes, refresh tokens and cookies are (RFC 6749 §10.10)
package record
