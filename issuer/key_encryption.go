package issuer

import (
	"context"
	"fmt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/seal"
)

// UseEncryption has the signing keys and secrets of all issuers in the storage
// encrypted: what is stored in plaintext, or with an earlier key encryption key, is
// rewritten, and what is made from now on is encrypted from the start. It returns
// how many records it wrote. Call it before the first New, and again when there is
// another Encryption; nil is for none.
//
// When it fails nothing has changed. The error is keys.ErrKeyEncryptionKey if
// something in the storage is encrypted with a key encryption key that is not
// given, keys.ErrPlaintext if a key in plaintext stands beside encrypted ones of
// the same issuer, or one of the storage.
func (s *State) UseEncryption(ctx context.Context, encryption keys.Encryption) (rewritten int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rewritten, err = keys.Reencrypt(ctx, s.Storage, encryption, keys.StoredKeys(), seal.Stored()); err != nil {
		return 0, inStorage(err)
	}
	s.encryption = encryption
	for _, r := range s.realms {
		r.keys.UseEncryption(encryption)
	}
	return rewritten, nil
}

// CheckEncryption returns the error for which UseEncryption would fail, and changes
// nothing: for a configuration that is not sure yet to come into force. Until then
// the keys must stay such that the one before it can read them after a restart.
func (s *State) CheckEncryption(ctx context.Context, encryption keys.Encryption) error {
	if err := keys.CheckReencrypt(ctx, s.Storage, encryption, keys.StoredKeys(), seal.Stored()); err != nil {
		return inStorage(err)
	}
	return nil
}

func inStorage(err error) error { return fmt.Errorf("the keys in the storage: %w", err) }
