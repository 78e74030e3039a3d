package keys

import (
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

	change  sync.Mutex // held by whoever changes the keys or the policy
	policy  Policy
	current atomic.Pointer[snapshot]
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
}

// NewRing returns the ring of the issuer with that URL. It has no keys until
// Open.
func NewRing(store storage.Storage, issuer string) *Ring {
	return &Ring{storage: store, issuer: issuer}
}

// signingKey is the newest key whose time has come. Where the clock was set
// back behind all of them it is the oldest, which verifiers know best.
func (s *snapshot) signingKey(now time.Time) *key {
	if s == nil {
		return nil
	}
	for _, k := range slices.Backward(s.keys) {
		if !k.ActiveFrom.After(now) {
			return k
		}
	}
	if len(s.keys) > 0 {
		return s.keys[0]
	}
	return nil
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

// Info describes a key to operators.
type Info struct {
	ID         string    `json:"kid"`
	Algorithm  Algorithm `json:"alg"`
	Status     string    `json:"status"` // published (not used yet), active, retiring
	Created    time.Time `json:"created"`
	ActiveFrom time.Time `json:"active_from"`

	// GoneAt is when the key leaves the JWKS; zero while no successor is known.
	GoneAt time.Time `json:"gone_at,omitzero"`
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
		info := Info{ID: k.ID, Algorithm: k.Algorithm, Created: k.Created, ActiveFrom: k.ActiveFrom, GoneAt: s.goneAt(i)}
		switch {
		case k == active:
			info.Status = "active"
		case k.ActiveFrom.After(now):
			info.Status = "published"
		default:
			info.Status = "retiring"
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

// load makes records, sorted by activation, the ring's keys.
func (r *Ring) load(records []record) error {
	next := &snapshot{byID: make(map[string]*key, len(records))}
	for _, rec := range records {
		private, err := rec.private()
		if err != nil {
			return err
		}
		signer, err := rec.Algorithm.signer()
		if err != nil {
			return fmt.Errorf("key %s: %w", rec.ID, err)
		}
		k := &key{record: rec, private: private, public: private.Public(), signer: signer}
		next.keys = append(next.keys, k)
		next.byID[k.ID] = k
	}
	var err error
	if next.jwks, err = marshalJWKS(next.keys); err != nil {
		return err
	}
	r.current.Store(next)
	return nil
}

func (r *Ring) stored(ctx context.Context) (records []record, err error) {
	err = r.storage.View(ctx, func(tx storage.Tx) error {
		records, err = list(tx, r.issuer)
		return err
	})
	return records, err
}
