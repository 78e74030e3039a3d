package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Stored is how the records of a kind hold a secret. What comes before a space in
// their keys is the issuer.
type Stored struct {
	Kind string

	// Secret returns the secret in a record, and whether it is encrypted. The
	// error is storage.ErrDamaged.
	Secret func(value []byte) (secret []byte, encrypted bool, err error)

	// Encrypted returns the record with the secret replaced by an encrypted one.
	Encrypted func(value, sealed []byte) ([]byte, error)
}

// StoredKeys is how signing keys are stored.
func StoredKeys() Stored {
	return Stored{
		Kind: Kind,
		Secret: func(value []byte) ([]byte, bool, error) {
			var r record
			if err := json.Unmarshal(value, &r); err != nil {
				return nil, false, fmt.Errorf("%w: %w", storage.ErrDamaged, err)
			}
			switch plain, sealed := len(r.PrivateKey) > 0, len(r.EncryptedKey) > 0; {
			case plain == sealed:
				return nil, false, storage.ErrDamaged
			case sealed:
				return r.EncryptedKey, true, nil
			}
			return r.PrivateKey, false, nil
		},
		Encrypted: func(value, sealed []byte) ([]byte, error) {
			var r record
			if err := json.Unmarshal(value, &r); err != nil {
				return nil, err
			}
			r.PrivateKey, r.EncryptedKey = nil, sealed
			return json.Marshal(r)
		},
	}
}

// errOvertaken: the records are not those any more that were read.
var errOvertaken = errors.New("keys: another node has changed the records meanwhile")

// Reencrypt makes all records of these kinds, of every issuer in the storage,
// ones that the encryption encrypts today, in one transaction, and returns how
// many it wrote. It reads all of them first: when one cannot be read, nothing is
// written. Without an encryption (nil) it only makes sure that none is needed.
//
// The error is ErrKeyEncryptionKey if a key encryption key is missing or wrong,
// ErrPlaintext if an issuer has keys in plaintext beside encrypted ones, or one of
// the storage. It names the record.
func Reencrypt(ctx context.Context, store storage.Storage, encryption Encryption, kinds ...Stored) (int, error) {
	const attempts = 5 // each is lost to a node that has made a change: seldom even one
	for attempt := 1; ; attempt++ {
		pass := rewriting{encryption: encryption}
		err := pass.run(ctx, store, kinds)
		if !errors.Is(err, errOvertaken) || attempt == attempts {
			return len(pass.after), err
		}
	}
}

// CheckReencrypt returns the error that Reencrypt would return, as far as it can be
// known without writing, and writes nothing.
func CheckReencrypt(ctx context.Context, store storage.Storage, encryption Encryption, kinds ...Stored) error {
	pass := rewriting{encryption: encryption}
	return pass.prepare(ctx, store, kinds)
}

// recordID is the place of a record.
type recordID struct{ kind, key string }

func (id recordID) issuer() string {
	issuer, _, _ := strings.Cut(id.key, " ")
	return issuer
}

// rewriting is one attempt of Reencrypt.
type rewriting struct {
	encryption    Encryption
	before, after map[recordID][]byte
}

func (w *rewriting) run(ctx context.Context, store storage.Storage, kinds []Stored) error {
	if err := w.prepare(ctx, store, kinds); err != nil || len(w.after) == 0 {
		return err
	}
	return store.Update(ctx, func(tx storage.Tx) error {
		// A key that another node has made meanwhile would stay as it is.
		now, err := listKinds(tx, kinds)
		if err != nil {
			return err
		}
		if !maps.EqualFunc(now, w.before, bytes.Equal) {
			return errOvertaken
		}
		for id, value := range w.after {
			if err := tx.Put(id.kind, id.key, value, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepare reads the records as they are, and makes those that have to be written.
func (w *rewriting) prepare(ctx context.Context, store storage.Storage, kinds []Stored) error {
	err := store.View(ctx, func(tx storage.Tx) (err error) {
		w.before, err = listKinds(tx, kinds)
		return err
	})
	if err != nil {
		return err
	}
	return w.encrypt(ctx, kinds)
}

func listKinds(tx storage.Tx, kinds []Stored) (map[recordID][]byte, error) {
	all := make(map[recordID][]byte)
	for _, stored := range kinds {
		err := tx.List(stored.Kind, "", func(key string, value []byte) error {
			all[recordID{stored.Kind, key}] = bytes.Clone(value)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// encrypt fills after with the records that have to be written.
func (w *rewriting) encrypt(ctx context.Context, kinds []Stored) error {
	w.after = make(map[recordID][]byte)
	plaintext, encrypted := make(map[recordID]recordID), make(map[recordID]bool) // by kind and issuer
	for _, stored := range kinds {
		for id, value := range w.before {
			if id.kind != stored.Kind {
				continue
			}
			isEncrypted, err := w.encryptOne(ctx, stored, id, value)
			if err != nil {
				return fmt.Errorf("%s: %w", RecordName(id.kind, id.key), err)
			}
			if group := (recordID{id.kind, id.issuer()}); isEncrypted {
				encrypted[group] = true
			} else {
				plaintext[group] = id
			}
		}
	}
	for group, id := range plaintext {
		// All records of an issuer are encrypted at once, and nobody without the
		// key encryption key adds one afterwards.
		if encrypted[group] {
			return fmt.Errorf("%s: %w", RecordName(id.kind, id.key), ErrPlaintext)
		}
	}
	return nil
}

func (w *rewriting) encryptOne(ctx context.Context, stored Stored, id recordID, value []byte) (encrypted bool, err error) {
	secret, encrypted, err := stored.Secret(value)
	if err != nil {
		return false, err
	}
	name := RecordName(id.kind, id.key)
	if encrypted {
		plain, current, err := decrypt(ctx, w.encryption, secret, name)
		if err != nil || current {
			return true, err
		}
		secret = plain
	}
	if w.encryption == nil {
		return false, nil
	}
	sealed, err := w.encryption.Encrypt(ctx, secret, name)
	if err != nil {
		return encrypted, err
	}
	w.after[id], err = stored.Encrypted(value, sealed)
	return encrypted, err
}
