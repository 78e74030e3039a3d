package keys

import (
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

	// PrivateKey is PKCS #8, DER.
	PrivateKey []byte `json:"private_key"`
}

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

// private decodes the key and holds it against the algorithm that the record
// names.
func (r record) private() (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(r.PrivateKey)
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
