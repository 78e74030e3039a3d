package seal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	// kindSecret is the storage kind of the issuer's own symmetric secret. The
	// key is the issuer.
	kindSecret = "secret"

	// secretLength is that of the secret in plaintext, which is stored as it is.
	// What is longer is an encryptedSecret.
	secretLength = 32
)

// encryptedSecret is the record of a secret that is encrypted.
type encryptedSecret struct {
	Secret []byte `json:"encrypted_secret"`
}

// Stored is how the secrets of issuers are stored.
func Stored() keys.Stored {
	return keys.Stored{
		Kind: kindSecret,
		Secret: func(value []byte) (secret []byte, encrypted bool, err error) {
			if len(value) == secretLength {
				return value, false, nil
			}
			var stored encryptedSecret
			if err := json.Unmarshal(value, &stored); err != nil || len(stored.Secret) == 0 {
				return nil, false, storage.ErrDamaged // the cause could quote the secret
			}
			return stored.Secret, true, nil
		},
		Encrypted: func(_, sealed []byte) ([]byte, error) { return json.Marshal(encryptedSecret{sealed}) },
	}
}

// Open loads the issuer's secret, making it the first time. With an encryption
// (which may be nil) it is stored encrypted; one in plaintext is refused then, and
// is keys.Reencrypt's business.
//
// The error is keys.ErrKeyEncryptionKey if the secret is encrypted and cannot be
// decrypted, keys.ErrPlaintext, or one of the storage.
func Open(ctx context.Context, store storage.Storage, issuer string, encryption keys.Encryption) (*Sealer, error) {
	value, err := stored(ctx, store, issuer)
	if errors.Is(err, storage.ErrNotFound) {
		value, err = makeSecret(ctx, store, issuer, encryption)
	}
	if err == nil {
		value, err = plaintext(ctx, value, issuer, encryption)
	}
	if err != nil {
		return nil, fmt.Errorf("load the secret of %s: %w", issuer, err)
	}
	return newSealer(value)
}

func stored(ctx context.Context, store storage.Storage, issuer string) (value []byte, err error) {
	err = store.View(ctx, func(tx storage.Tx) error {
		value, err = tx.Get(kindSecret, issuer)
		return err
	})
	return value, err
}

// makeSecret stores a new secret, unless another node has done it meanwhile, and
// returns the record.
func makeSecret(ctx context.Context, store storage.Storage, issuer string, encryption keys.Encryption) ([]byte, error) {
	made := make([]byte, secretLength)
	_, _ = rand.Read(made)
	if encryption != nil {
		sealed, err := encryption.Encrypt(ctx, made, keys.RecordName(kindSecret, issuer))
		if err != nil {
			return nil, err
		}
		if made, err = Stored().Encrypted(nil, sealed); err != nil {
			return nil, err
		}
	}
	value := made
	err := store.Update(ctx, func(tx storage.Tx) (err error) {
		value, err = tx.Get(kindSecret, issuer)
		if errors.Is(err, storage.ErrNotFound) {
			value = made
			return tx.Put(kindSecret, issuer, made, time.Time{})
		}
		return err
	})
	return value, err
}

// plaintext is the secret in a record.
func plaintext(ctx context.Context, value []byte, issuer string, encryption keys.Encryption) ([]byte, error) {
	secret, encrypted, err := Stored().Secret(value)
	switch {
	case err != nil:
		return nil, err
	case encrypted && encryption == nil:
		return nil, keys.ErrKeyEncryptionKey
	case !encrypted && encryption != nil:
		return nil, keys.ErrPlaintext
	case encrypted:
		if secret, _, err = encryption.Decrypt(ctx, secret, keys.RecordName(kindSecret, issuer)); err != nil {
			return nil, err
		}
	}
	if len(secret) != secretLength {
		return nil, storage.ErrDamaged
	}
	return secret, nil
}
