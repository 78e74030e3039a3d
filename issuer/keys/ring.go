package keys

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrNoKey: the ring has no key, because it was not opened.
var ErrNoKey = errors.New("keys: the ring was not opened")

// Ring holds the keys of one issuer. Its methods may be called by many
// goroutines; signing and looking up take no lock.
type Ring struct {
	storage storage.Storage
	issuer  string

	change     sync.Mutex // held by whoever changes the keys, the policy or the encryption
	policy     Policy
	encryption Encryption // nil for none
	withdrawn  func()
	current    atomic.Pointer[snapshot]
}

// snapshot is the ring between two changes.
type snapshot struct {
	keys []*key // by ActiveFrom, oldest first
	byID map[string]*key
	jwks []byte
}

// key is a record with what is made from it once.
type key struct {
	record
	private crypto.Signer
	public  crypto.PublicKey
	signer  jws.Signer

	// kept: the record cannot be decrypted here any more, and the key is there
	// only because it was when it could.
	kept bool
}

// NewRing returns the ring of the issuer with that URL. It has no keys until
// Open.
func NewRing(store storage.Storage, issuer string) *Ring {
	return &Ring{storage: store, issuer: issuer}
}

// UseEncryption makes the ring encrypt what it stores, and refuse what is stored
// in plaintext; nil is the opposite. Call it before Open, and again when there is
// another one. What is stored is made to fit it by Reencrypt.
func (r *Ring) UseEncryption(encryption Encryption) {
	r.change.Lock()
	defer r.change.Unlock()
	r.encryption = encryption
}

// NotifyWithdrawn has f called whenever a key is gone that was believed until
// then, whoever removed it, before the call returns that made this ring know:
// what was verified with the key must be forgotten. f must not call the Ring's
// methods that change keys.
func (r *Ring) NotifyWithdrawn(f func()) {
	r.change.Lock()
	defer r.change.Unlock()
	r.withdrawn = f
}

// signingKey is the key that signs now; see signing.
func (s *snapshot) signingKey(now time.Time) *key {
	if s == nil || len(s.keys) == 0 {
		return nil
	}
	return s.keys[signing(s.keys, now)]
}

// Sign returns claims, which must be the JSON of a claims set, as a JWS in
// compact serialization (RFC 7515 §7.1) with the given typ. The error is
// ErrNoKey, or that of the signature.
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	k := r.current.Load().signingKey(time.Now())
	if k == nil {
		return "", ErrNoKey
	}
	return k.sign(typ, claims)
}

func (k *key) sign(typ string, claims []byte) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm Algorithm `json:"alg"`
		ID        string    `json:"kid"`
		Type      string    `json:"typ"`
	}{k.Algorithm, k.ID, typ})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	token := make([]byte, 0, enc.EncodedLen(len(header))+enc.EncodedLen(len(claims))+2+enc.EncodedLen(rsaBits/8))
	token = enc.AppendEncode(token, header)
	token = append(token, '.')
	token = enc.AppendEncode(token, claims)
	signature, err := k.signer.Sign(token, k.private)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", k.ID, err)
	}
	token = append(token, '.')
	return string(enc.AppendEncode(token, signature)), nil
}

// Algorithm is that of the key which signs now; empty when there is none.
func (r *Ring) Algorithm() Algorithm {
	if k := r.current.Load().signingKey(time.Now()); k != nil {
		return k.Algorithm
	}
	return ""
}

// MaxLifetime is that of the longest-lived token which a published key may
// have signed.
func (r *Ring) MaxLifetime() time.Duration {
	var longest time.Duration
	if s := r.current.Load(); s != nil {
		for _, k := range s.keys {
			longest = max(longest, k.MaxLifetime)
		}
	}
	return longest
}

// Public returns the public key named kid and its algorithm, for as long as
// the key is published.
func (r *Ring) Public(kid string) (crypto.PublicKey, Algorithm, bool) {
	s := r.current.Load()
	if s == nil {
		return nil, "", false
	}
	k, ok := s.byID[kid]
	if !ok {
		return nil, "", false
	}
	return k.public, k.Algorithm, true
}

// JWKS returns the JWK Set document (RFC 7517 §5) with every published key. The
// bytes are made once per change and must not be modified.
func (r *Ring) JWKS() []byte {
	if s := r.current.Load(); s != nil {
		return s.jwks
	}
	return []byte(`{"keys":[]}`)
}

// Status is where a key stands in its life.
type Status string

// The life of a key, in its order.
const (
	Next     Status = "next"     // published, so that verifiers know it when it signs
	Active   Status = "active"   // signs
	Retiring Status = "retiring" // published until what it signed has expired
)

// Info describes a key to operators.
type Info struct {
	ID         string    `json:"kid"`
	Algorithm  Algorithm `json:"alg"`
	Status     Status    `json:"status"`
	Created    time.Time `json:"created"`
	ActiveFrom time.Time `json:"active_from"`

	// GoneAt is when the key leaves the JWKS; zero while no successor is known.
	GoneAt time.Time `json:"gone_at,omitzero"`

	// Encrypted tells whether the private key is encrypted in the storage.
	Encrypted bool `json:"encrypted"`
}

// List describes the keys, oldest first.
func (r *Ring) List() []Info {
	s, now := r.current.Load(), time.Now()
	if s == nil {
		return nil
	}
	active := s.signingKey(now)
	infos := make([]Info, 0, len(s.keys))
	for i, k := range s.keys {
		info := Info{ID: k.ID, Algorithm: k.Algorithm, Created: k.Created, ActiveFrom: k.ActiveFrom, GoneAt: s.goneAt(i), Encrypted: k.isEncrypted()}
		switch {
		case k == active:
			info.Status = Active
		case k.ActiveFrom.After(now):
			info.Status = Next
		default:
			info.Status = Retiring
		}
		infos = append(infos, info)
	}
	return infos
}

// goneAt is when key i has outlived every token it signed.
func (s *snapshot) goneAt(i int) time.Time {
	if i+1 >= len(s.keys) {
		return time.Time{}
	}
	return s.keys[i+1].ActiveFrom.Add(s.keys[i].MaxLifetime + clockSkew)
}

// load makes records, sorted by activation, the ring's keys. It holds the change
// lock, and no transaction.
func (r *Ring) load(ctx context.Context, records []record) error {
	next := &snapshot{byID: make(map[string]*key, len(records))}
	for _, rec := range records {
		k, err := r.loadKey(ctx, rec)
		if err != nil {
			return err
		}
		next.keys = append(next.keys, k)
		next.byID[k.ID] = k
	}
	var err error
	if next.jwks, err = marshalJWKS(next.keys); err != nil {
		return err
	}
	before := r.current.Swap(next)
	if before == nil || r.withdrawn == nil {
		return nil
	}
	if slices.ContainsFunc(before.keys, func(k *key) bool { return next.byID[k.ID] == nil }) {
		r.withdrawn()
	}
	return nil
}

// loadKey makes a key of a record, or takes the one that the ring has already. A
// kid is the thumbprint of its key: under the same name it is the same key, and
// need not be decrypted again. Where it cannot be, because another node knows a
// new key encryption key already, this one goes on with what it has.
func (r *Ring) loadKey(ctx context.Context, rec record) (*key, error) {
	known := r.known(rec)
	if known != nil && !known.kept && bytes.Equal(known.EncryptedKey, rec.EncryptedKey) {
		return known.as(rec, false), nil
	}
	private, err := rec.private(ctx, r.encryption, r.issuer)
	if known != nil && errors.Is(err, ErrKeyEncryptionKey) {
		return known.as(rec, true), nil
	}
	if err != nil {
		return nil, err
	}
	signer, err := rec.Algorithm.signer()
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", rec.ID, err)
	}
	return &key{record: rec, private: private, public: private.Public(), signer: signer}, nil
}

// known is the key of an encrypted record, if the ring has it.
func (r *Ring) known(rec record) *key {
	before := r.current.Load()
	if before == nil || !rec.isEncrypted() || len(rec.PrivateKey) > 0 {
		return nil
	}
	if k := before.byID[rec.ID]; k != nil && k.Algorithm == rec.Algorithm {
		return k
	}
	return nil
}

// as is the key with what its record says now.
func (k *key) as(rec record, kept bool) *key {
	now := *k
	now.record, now.kept = rec, kept
	return &now
}

// stored returns the issuer's records, sorted by activation.
func (r *Ring) stored(ctx context.Context) (records []record, err error) {
	err = r.storage.View(ctx, func(tx storage.Tx) error {
		records, err = list(tx, r.issuer)
		return err
	})
	sortByActivation(records)
	return records, err
}
