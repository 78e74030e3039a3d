package introspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Whatever key is loaded, another implementation loads too, as the same public
// key: never a symmetric one, never one published with its private half. What it
// costs to read a key set is in proportion to its length.
func FuzzJWKS(f *testing.F) {
	// go-jose has a bound of its own, half of ours unless it is told otherwise.
	defer func(bits int) { jose.MaxRSAModulusBits = bits }(jose.MaxRSAModulusBits)
	jose.MaxRSAModulusBits = maxRSABits
	for _, s := range fuzzSigners() {
		f.Add(jwks(s.jwk(nil)))
		f.Add(jwks(s.jwk(map[string]any{"alg": nil, "use": nil, "key_ops": []string{"verify"}})))
		f.Add(jwks(s.jwk(map[string]any{"d": "AAAA"}), s.jwk(map[string]any{"kid": "other"})))
	}
	point := must(fuzzSigners()[1].private.Public().(*ecdsa.PublicKey).Bytes())[1:]
	f.Add(jwks(fuzzSigners()[1].jwk(map[string]any{"x": b64(string(point[:31])), "y": b64(string(point[31:]))})))
	modulus := b64("\xc0" + strings.Repeat("\x5a", 254) + "\x01")
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"r","n":"` + modulus + `","e":"AQAB"},{"kty":"RSA","kid":"s","n":"` + modulus + `","e":"Aw","alg":"PS512"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"r","n":"` + modulus + `","e":"AQAB","x5c":["MIIB"],"x5t":"x","x5u":":"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"r","n":"` + modulus + `=","e":"AQAB"},{"kty":"RSA","kid":"s","n":"AAAA` + modulus + `","e":"AAAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"o","alg":"HS256"},{"kty":"EC","crv":"P-256","x":"","y":"","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{},null,1,"x",[],{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"small"}]}`))
	f.Add([]byte(`{"keys":[` + strings.Repeat(`{"":{"":{}}},`, 90) + `{}]}`))

	f.Fuzz(func(t *testing.T, document []byte) {
		keys, allocated, err := measuredParseKeySet(document)
		if limit := 1<<20 + 512*uint64(len(document)); allocated > limit {
			t.Fatalf("%d bytes took %d bytes to read, more than %d", len(document), allocated, limit)
		}
		if err != nil {
			return
		}
		if _, err := NewStaticKeySet(keys...); err != nil {
			t.Fatalf("loaded keys that are no set: %v", err)
		}
		var set struct{ Keys []map[string]json.RawMessage }
		if err := json.Unmarshal(document, &set); err != nil && len(set.Keys) == 0 {
			t.Fatalf("loaded from what is no key set: %v", err)
		}
		for _, key := range keys {
			wantSameKey(t, key, set.Keys)
		}
	})
}

// measuredParseKeySet is ParseKeySet and the bytes it allocated.
func measuredParseKeySet(document []byte) (keys []Key, allocated uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	keys, err = ParseKeySet(document)
	runtime.ReadMemStats(&after)
	return keys, after.TotalAlloc - before.TotalAlloc, err
}

// parameters are the members that make a public key of each type (RFC 7518 §6,
// RFC 8037 §2).
var parameters = map[string][]string{"EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}, "RSA": {"n", "e"}}

func kty(jwk map[string]json.RawMessage) string {
	var kty string
	if json.Unmarshal(jwk["kty"], &kty) != nil {
		return ""
	}
	return kty
}

// wantSameKey fails unless exactly one of the published keys has this kid, and
// go-jose makes the same of it.
func wantSameKey(t *testing.T, key Key, published []map[string]json.RawMessage) {
	t.Helper()
	matches := 0
	for _, jwk := range published {
		var kid string
		if json.Unmarshal(jwk["kid"], &kid) != nil || kid != key.ID {
			continue
		}
		// RFC 7517 §4: what its type does not define is ignored in a key, where
		// go-jose wants a certificate, or a member of another type, to be sound.
		defined := append([]string{"kty", "kid", "use", "alg", "d", "k", "p", "q", "dp", "dq", "qi"}, parameters[kty(jwk)]...)
		maps.DeleteFunc(jwk, func(name string, _ json.RawMessage) bool { return !slices.Contains(defined, name) })
		var other jose.JSONWebKey
		if err := other.UnmarshalJSON(must(json.Marshal(jwk))); err != nil {
			continue // a namesake that neither loads
		}
		if !other.Valid() || !other.IsPublic() || !equalKeys(key.Public, other.Key) {
			continue
		}
		if other.Use != "" && other.Use != "sig" || other.Algorithm != "" && other.Algorithm != key.Algorithm {
			t.Fatalf("the key %+v is published for use %q, alg %q", key, other.Use, other.Algorithm)
		}
		matches++
	}
	if matches != 1 {
		t.Fatalf("go-jose finds %d keys that are %+v", matches, key)
	}
}

func equalKeys(one, other any) bool {
	switch one := one.(type) {
	case *ecdsa.PublicKey:
		return one.Equal(other)
	case *rsa.PublicKey:
		return one.Equal(other)
	case ed25519.PublicKey:
		return one.Equal(other)
	}
	return false
}
