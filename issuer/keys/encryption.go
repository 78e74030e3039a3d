package keys

import (
	"context"
	"errors"
)

// Encryption protects the secrets of an issuer where they are stored: AESGCM
// does it with a key in memory, a key management service could do it with one
// that nobody gets. It is never called inside a transaction of the storage, so it
// may take its time. Its methods may be called by many goroutines.
//
// name says which record the secret belongs to. It is authenticated with the
// secret, and not part of the result: what was encrypted for one record cannot be
// put into another.
type Encryption interface {
	// Encrypt returns plain, encrypted and authenticated. The error is
	// storage.ErrUnavailable if it cannot be done now, or that of the randomness.
	Encrypt(ctx context.Context, plain []byte, name string) ([]byte, error)

	// Decrypt is the reverse of Encrypt. current tells whether Encrypt would use
	// the same key encryption key today; what is not current is encrypted anew.
	// No error quotes a key or what was decrypted. It is
	//
	//   - ErrKeyEncryptionKey if sealed was encrypted with a key that is not here,
	//   - storage.ErrDamaged if it is not what Encrypt has returned for that name,
	//   - storage.ErrUnavailable if this cannot be told now.
	Decrypt(ctx context.Context, sealed []byte, name string) (plain []byte, current bool, err error)
}

// ErrKeyEncryptionKey: something is encrypted with a key encryption key that is
// not given. It is to be treated as "cannot tell": nothing is to be written in the
// place of what cannot be read.
var ErrKeyEncryptionKey = errors.New("keys: encrypted with a key encryption key that is not given")

// ErrPlaintext: a secret is stored in plaintext where secrets are encrypted.
// Nobody who has the key encryption key has put it there.
var ErrPlaintext = errors.New("keys: stored in plaintext where keys are encrypted")

// RecordName is the name of a record for an Encryption. A kind has no space in it.
func RecordName(kind, key string) string { return kind + " " + key }

// decrypt is Decrypt of an Encryption that may be nil, for none.
func decrypt(ctx context.Context, encryption Encryption, sealed []byte, name string) (plain []byte, current bool, err error) {
	if encryption == nil {
		return nil, false, ErrKeyEncryptionKey
	}
	return encryption.Decrypt(ctx, sealed, name)
}
