package users

import (
	"crypto/rand"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Whoever asks for a name must not learn from the time of the answer whether
// somebody has it. So a name that nobody has costs what one costs that somebody
// has: as many reads, which with a database at the end of a network are what is
// slow beside the hash; a record to decode, and a hash to parse and to compute.
// What is left is whether a read finds something, and how much: some microseconds,
// of the tens of thousands that a hash takes.

// findNobody does what indexed does, in vain. The error is storage.ErrNotFound, or
// another of the storage's.
func findNobody(tx storage.Tx, issuer string) error {
	_, err := tx.Get(kindUser, key(issuer, "u:")) // no subject is as short
	if _, damaged := decode(decoyRecord); damaged != nil {
		return damaged
	}
	return err
}

// decoyRecord is decoded where nobody is found: a person with a name and an e-mail
// address, as most are.
var decoyRecord = []byte(`{"sub":"u:decoydecoydecoydecoyde","username":"decoydecoy","name":"Decoy Decoy",` +
	`"email":"decoy@decoy.example","email_verified":true,` +
	`"created":"2026-01-01T00:00:00Z","updated":"2026-01-01T00:00:00Z","password_changed":"2026-01-01T00:00:00Z",` +
	`"password":"$argon2id$v=19$m=19456,t=2,p=1$ZGVjb3lkZWNveWRlY295ZA$ZGVjb3lkZWNveWRlY295ZGVjb3lkZWNveWRlY295ZGU"}`)

// decoyHash is a hash that fits no password, at the cost of one that does.
func decoyHash(parameters argon2Parameters) string {
	decoy := passwordHash{argon2Parameters: parameters, salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	_, _ = rand.Read(decoy.salt)
	_, _ = rand.Read(decoy.sum)
	return decoy.String()
}
