package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Kind is the storage kind of signing keys.
const Kind = "key"

// record is a key as it is stored. Times are to the second.
type record struct {
	ID        string    `json:"kid"`
	Algorithm Algorithm `json:"alg"`

	// ActiveFrom is when the key becomes the one that signs: later than
	// Created by the time that verifiers may go on using an older JWKS.
	Created    time.Time `json:"created"`
	ActiveFrom time.Time `json:"active_from"`

	// MaxLifetime is that of the longest-lived token the key may have signed.
	// It only grows, so that shortening a lifetime in the configuration does
	// not take a key away from tokens that are out already.
	MaxLifetime time.Duration `json:"max_lifetime"`

	// PrivateKey is PKCS #8, DER. EncryptedKey is that as an Encryption has
	// returned it for the name of the record. There is one of them.
	PrivateKey   []byte `json:"private_key,omitempty"`
	EncryptedKey []byte `json:"encrypted_key,omitempty"`
}

func (r record) isEncrypted() bool { return len(r.EncryptedKey) > 0 }

// recordKey puts the keys of one issuer under one prefix. An issuer's URL has
// no space in it.
func recordKey(issuer, kid string) string { return issuer + " " + kid }

func put(tx storage.Tx, issuer string, r record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(Kind, recordKey(issuer, r.ID), value, time.Time{})
}

// list returns the issuer's keys in no particular order.
func list(tx storage.Tx, issuer string) ([]record, error) {
	var records []record
	err := tx.List(Kind, recordKey(issuer, ""), func(_ string, value []byte) error {
		var r record
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("%w: signing key of %s: %w", storage.ErrDamaged, issuer, err)
		}
		records = append(records, r)
		return nil
	})
	return records, err
}

// newRecord makes a key. The kid is its RFC 7638 thumbprint, so the same key
// never has two names and two keys never share one.
func newRecord(alg Algorithm, activeFrom time.Time, maxLifetime time.Duration) (record, error) {
	private, err := alg.generate()
	if err != nil {
		return record{}, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return record{}, fmt.Errorf("make a signing key: %w", err)
	}
	kid, err := thumbprint(private.Public())
	if err != nil {
		return record{}, err
	}
	return record{
		ID: kid, Algorithm: alg,
		Created:     time.Now().UTC().Truncate(time.Second),
		ActiveFrom:  activeFrom.UTC().Truncate(time.Second),
		MaxLifetime: maxLifetime, PrivateKey: der,
	}, nil
}

// roundUp is the first whole second that is not before t: what must not happen
// before t does not happen a fraction of a second before it.
func roundUp(t time.Time) time.Time {
	if second := t.UTC().Truncate(time.Second); !second.Before(t) {
		return second
	}
	return t.UTC().Truncate(time.Second).Add(time.Second)
}

// encrypt replaces the key by an encrypted one; without an encryption it does
// nothing.
func (r *record) encrypt(ctx context.Context, encryption Encryption, issuer string) (err error) {
	if encryption == nil {
		return nil
	}
	if r.EncryptedKey, err = encryption.Encrypt(ctx, r.PrivateKey, RecordName(Kind, recordKey(issuer, r.ID))); err != nil {
		return fmt.Errorf("encrypt a signing key: %w", err)
	}
	r.PrivateKey = nil
	return nil
}

// private decodes the key, decrypted where it is encrypted, and holds it against
// the algorithm that the record names.
func (r record) private(ctx context.Context, encryption Encryption, issuer string) (crypto.Signer, error) {
	der := r.PrivateKey
	switch {
	case r.isEncrypted() && len(der) > 0:
		return nil, fmt.Errorf("%w: signing key %s is there twice", storage.ErrDamaged, r.ID)
	case r.isEncrypted():
		var err error
		if der, _, err = decrypt(ctx, encryption, r.EncryptedKey, RecordName(Kind, recordKey(issuer, r.ID))); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", r.ID, err)
		}
	case encryption != nil && len(der) > 0:
		return nil, fmt.Errorf("signing key %s: %w", r.ID, ErrPlaintext)
	}
	return r.parse(der)
}

// parse decodes the key, PKCS #8.
func (r record) parse(der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The cause could quote key material; the name is enough to act on.
		return nil, fmt.Errorf("%w: signing key %s", storage.ErrDamaged, r.ID)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: signing key %s", storage.ErrDamaged, r.ID)
	}
	kid, err := thumbprint(signer.Public())
	if err != nil || kid != r.ID {
		return nil, errors.Join(fmt.Errorf("%w: signing key %s", storage.ErrDamaged, r.ID), err)
	}
	if !r.Algorithm.fits(signer.Public()) {
		return nil, fmt.Errorf("%w: signing key %s is none for %q", storage.ErrDamaged, r.ID, string(r.Algorithm))
	}
	return signer, nil
}

func (r record) signsFrom() time.Time { return r.ActiveFrom }
