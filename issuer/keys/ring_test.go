package keys

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func TestRingBeforeOpen(t *testing.T) {
	ring := NewRing(openStorage(t, t.TempDir()), testIssuer)
	if token, err := ring.Sign("at+jwt", []byte(`{}`)); !errors.Is(err, ErrNoKey) || token != "" {
		t.Errorf("Sign: %q, %v; want ErrNoKey", token, err)
	}
	if got := string(ring.JWKS()); got != `{"keys":[]}` {
		t.Errorf("JWKS: %s", got)
	}
	if _, _, ok := ring.Public("any"); ok || ring.Algorithm() != "" || ring.MaxLifetime() != 0 || ring.List() != nil {
		t.Error("a ring that was not opened has keys")
	}
}

func TestFirstStartMakesOneKey(t *testing.T) {
	ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
	infos := ring.List()
	if len(infos) != 1 || infos[0].Status != Active || infos[0].Algorithm != ES256 || !infos[0].GoneAt.IsZero() {
		t.Fatalf("keys after the first start: %+v", infos)
	}
	if ids := published(t, ring); !slices.Equal(ids, []string{infos[0].ID}) || signsWith(t, ring) != infos[0].ID {
		t.Errorf("published %v, signs with %s; want %s for both", ids, signsWith(t, ring), infos[0].ID)
	}
	if ring.Algorithm() != ES256 || ring.MaxLifetime() != time.Hour {
		t.Errorf("Algorithm %s, MaxLifetime %s", ring.Algorithm(), ring.MaxLifetime())
	}
}

// A restart must not change the keys, or every token that is out would end.
func TestRestartKeepsTheKey(t *testing.T) {
	dir := t.TempDir()
	store := openStorage(t, dir)
	first := openRing(t, store, testPolicy())
	before := first.JWKS()
	token, err := first.Sign("at+jwt", accessTokenClaims())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	second := openRing(t, openStorage(t, dir), testPolicy())
	if !bytes.Equal(before, second.JWKS()) {
		t.Errorf("JWKS before the restart %s, after it %s", before, second.JWKS())
	}
	introspectWith(t, second.JWKS(), token)
}

// Issuers share a storage and no key.
func TestIssuersHaveKeysOfTheirOwn(t *testing.T) {
	store := openStorage(t, t.TempDir())
	ours := openRing(t, store, testPolicy())
	theirs := NewRing(store, testIssuer+"/other") // ours is a prefix of it
	if err := theirs.Open(t.Context(), testPolicy()); err != nil {
		t.Fatal(err)
	}
	maintain(t, ours)
	if a, b := published(t, ours), published(t, theirs); len(a) != 1 || len(b) != 1 || a[0] == b[0] {
		t.Errorf("keys of two issuers: %v and %v", a, b)
	}
	if _, _, ok := ours.Public(published(t, theirs)[0]); ok {
		t.Error("an issuer knows the key of another")
	}
}

func accessTokenClaims() []byte {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": testIssuer, "sub": "svc", "aud": "https://api.test", "client_id": "svc",
		"jti": "1", "iat": now, "exp": now + 60,
	})
	if err != nil {
		panic(err)
	}
	return claims
}

func introspectWith(t *testing.T, jwks []byte, token string) {
	t.Helper()
	parsed, err := introspect.ParseKeySet(jwks)
	if err != nil {
		t.Fatalf("ParseKeySet: %v", err)
	}
	set, err := introspect.NewStaticKeySet(parsed...)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := introspect.NewJWT(introspect.JWTConfig{Issuer: testIssuer, Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Introspect(context.Background(), token); err != nil {
		t.Errorf("introspect.JWT: %v", err)
	}
}

// RFC 7515 §5: what this package signs, others verify.
func TestSignaturesVerify(t *testing.T) {
	for _, algorithm := range Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			policy := testPolicy()
			policy.Algorithm = algorithm
			ring := openRing(t, openStorage(t, t.TempDir()), policy)
			claims := accessTokenClaims()
			token, err := ring.Sign("at+jwt", claims)
			if err != nil {
				t.Fatal(err)
			}

			parsed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			if err != nil {
				t.Fatalf("go-jose reads %s: %v", token, err)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(ring.JWKS(), &set); err != nil {
				t.Fatal(err)
			}
			header := parsed.Signatures[0].Protected
			if header.Algorithm != string(algorithm) || header.ExtraHeaders["typ"] != "at+jwt" || len(set.Key(header.KeyID)) != 1 {
				t.Fatalf("header %+v", header)
			}
			payload, err := parsed.Verify(set.Key(header.KeyID)[0])
			if err != nil {
				t.Fatalf("go-jose: %v", err)
			}
			if !bytes.Equal(payload, claims) {
				t.Errorf("payload %s, want %s", payload, claims)
			}
			introspectWith(t, ring.JWKS(), token)
		})
	}
}

// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2: public members only. The kid is the
// RFC 7638 thumbprint.
func TestJWKSMembers(t *testing.T) {
	common := []string{"kty", "kid", "use", "alg"}
	for algorithm, members := range map[Algorithm][]string{
		ES256: {"crv", "x", "y"}, EdDSA: {"crv", "x"}, RS256: {"n", "e"}, PS256: {"n", "e"},
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			policy := testPolicy()
			policy.Algorithm = algorithm
			ring := openRing(t, openStorage(t, t.TempDir()), policy)
			var set struct {
				Keys []map[string]any `json:"keys"`
			}
			if err := json.Unmarshal(ring.JWKS(), &set); err != nil || len(set.Keys) != 1 {
				t.Fatalf("%s: %v", ring.JWKS(), err)
			}
			got, want := slices.Sorted(maps.Keys(set.Keys[0])), slices.Sorted(slices.Values(append(members, common...)))
			if !slices.Equal(got, want) {
				t.Errorf("members %v, want exactly %v", got, want)
			}
			if set.Keys[0]["use"] != "sig" || set.Keys[0]["alg"] != string(algorithm) {
				t.Errorf("use %v, alg %v", set.Keys[0]["use"], set.Keys[0]["alg"])
			}
			var reference jose.JSONWebKeySet
			if err := json.Unmarshal(ring.JWKS(), &reference); err != nil {
				t.Fatal(err)
			}
			sum, err := reference.Keys[0].Thumbprint(crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if kid := base64.RawURLEncoding.EncodeToString(sum); kid != set.Keys[0]["kid"] {
				t.Errorf("kid %v, want the thumbprint %s", set.Keys[0]["kid"], kid)
			}
			public, named, ok := ring.Public(reference.Keys[0].KeyID)
			equal, _ := public.(interface{ Equal(crypto.PublicKey) bool })
			if !ok || named != algorithm || equal == nil || !equal.Equal(reference.Keys[0].Key) {
				t.Errorf("Public and JWKS differ: %v %s %v", public, named, ok)
			}
		})
	}
}

// Proxies and verifiers compare: the document changes when the keys do.
func TestJWKSBytesStayBetweenChanges(t *testing.T) {
	ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
	before := string(ring.JWKS())
	for range 3 {
		maintain(t, ring)
		if err := ring.Open(t.Context(), testPolicy()); err != nil {
			t.Fatal(err)
		}
		if got := string(ring.JWKS()); got != before {
			t.Fatalf("JWKS changed from %s to %s without a change of keys", before, got)
		}
	}
	rotate(t, ring, false)
	if string(ring.JWKS()) == before {
		t.Error("a new key is not in the JWKS")
	}
}

// While the storage fails the ring goes on with what it has.
func TestStorageFailingLeavesTheRing(t *testing.T) {
	store := &failingStorage{Storage: openStorage(t, t.TempDir())}
	ring := openRing(t, store, testPolicy())
	jwks, kid := string(ring.JWKS()), signsWith(t, ring)
	other := testPolicy()
	other.Algorithm = EdDSA

	store.failing.Store(true)
	for name, change := range map[string]func() error{
		"Open with another policy": func() error { return ring.Open(t.Context(), other) },
		"Maintain":                 func() error { return ring.Maintain(t.Context()) },
		"Rotate":                   func() error { return ring.Rotate(t.Context(), false) },
		"Rotate immediately":       func() error { return ring.Rotate(t.Context(), true) },
	} {
		if err := change(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
		if string(ring.JWKS()) != jwks || signsWith(t, ring) != kid {
			t.Errorf("%s changed the ring though the storage failed", name)
		}
	}

	store.failing.Store(false)
	maintain(t, ring)
	if string(ring.JWKS()) != jwks {
		t.Error("a policy that could not be put in force is in force")
	}
}

// "Cannot tell" is never "not found": a damaged key is neither served nor
// replaced by a new one.
func TestDamagedRecordIsRefused(t *testing.T) {
	otherKey, err := newRecord(ES256, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(*record){
		"another kid":                    func(r *record) { r.ID = strings.Repeat("A", 43) },
		"no key":                         func(r *record) { r.PrivateKey = nil },
		"a key cut off":                  func(r *record) { r.PrivateKey = r.PrivateKey[:len(r.PrivateKey)-1] },
		"another key":                    func(r *record) { r.PrivateKey = otherKey.PrivateKey },
		"an algorithm that is not known": func(r *record) { r.Algorithm = "none" },
		"an algorithm of other keys":     func(r *record) { r.Algorithm = RS256 },
	} {
		t.Run(name, func(t *testing.T) {
			store := openStorage(t, t.TempDir())
			running := openRing(t, store, testPolicy())
			jwks := string(running.JWKS())
			rewrite(t, store, damage)
			refusesDamage(t, store, running, jwks)
		})
	}
	t.Run("not JSON", func(t *testing.T) {
		store := openStorage(t, t.TempDir())
		running := openRing(t, store, testPolicy())
		jwks := string(running.JWKS())
		err := store.Update(t.Context(), func(tx storage.Tx) error {
			return tx.Put(Kind, recordKey(testIssuer, "x"), []byte(`{"kid":`), time.Time{})
		})
		if err != nil {
			t.Fatal(err)
		}
		refusesDamage(t, store, running, jwks)
	})
}

func refusesDamage(t *testing.T, store storage.Storage, running *Ring, jwks string) {
	t.Helper()
	starting := NewRing(store, testIssuer)
	if err := starting.Open(t.Context(), testPolicy()); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Open: %v, want ErrDamaged", err)
	}
	if _, err := starting.Sign("at+jwt", []byte(`{}`)); !errors.Is(err, ErrNoKey) {
		t.Errorf("a ring that could not be opened signs: %v", err)
	}
	if err := running.Maintain(t.Context()); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Maintain: %v, want ErrDamaged", err)
	}
	if string(running.JWKS()) != jwks {
		t.Errorf("the running ring now has %s", running.JWKS())
	}
}

func TestAlgorithmValidate(t *testing.T) {
	for _, algorithm := range Algorithms() {
		if err := algorithm.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, algorithm := range []Algorithm{"", "none", "HS256", "es256", "RS512"} {
		if algorithm.Validate() == nil {
			t.Errorf("%q is valid", algorithm)
		}
		policy := testPolicy()
		policy.Algorithm = algorithm
		if err := NewRing(openStorage(t, t.TempDir()), testIssuer).Open(t.Context(), policy); err == nil {
			t.Errorf("a ring opens with %q", algorithm)
		}
	}
}
