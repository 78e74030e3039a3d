package introspect

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Whatever this package accepts, another implementation accepts too, and reads
// the same claims. It may refuse more, never less.
func FuzzBearerToken(f *testing.F) {
	for algorithm := range keyPairs() {
		f.Add(pair(algorithm).ordinary(nil), claims(nil), pair(algorithm).header())
	}
	f.Add("..", `{"sub":1}`, `{"alg":"none"}`)
	f.Add("a.b.c", claims(map[string]any{"aud": []string{"a"}, "act": map[string]any{"sub": "x"}}), `{"alg":"ES256","kid":"K-ES256","typ":"at+jwt","crit":[]}`)
	algorithms := []jose.SignatureAlgorithm{
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	}
	f.Fuzz(func(t *testing.T, token, payload, header string) {
		j := newTestJWT(t, JWTConfig{})
		// Signed bytes reach what lies behind the signature.
		for _, token := range []string{token, pair("ES256").sign(header, payload), pair("ES256").sign(pair("ES256").header(), payload)} {
			facts, err := j.Introspect(t.Context(), token)
			if err != nil {
				wantInactive(t, err, "")
				continue
			}
			other, err := jose.ParseSignedCompact(token, algorithms)
			if err != nil {
				t.Fatalf("accepted what go-jose cannot parse: %v", err)
			}
			key, err := j.config.Keys.Key(t.Context(), other.Signatures[0].Header.KeyID)
			if err != nil {
				t.Fatal(err)
			}
			verified, err := other.Verify(key.Public)
			if err != nil || !bytes.Equal(verified, facts.Claims) {
				t.Fatalf("go-jose: %v, claims %q; want %q", err, verified, facts.Claims)
			}
			var standard map[string]any
			if err := json.Unmarshal(verified, &standard); err != nil || standard["sub"] != facts.Subject || standard["iss"] != facts.Issuer {
				t.Fatalf("encoding/json reads %v, %v; we read %+v", standard, err, facts)
			}
		}
	})
}

// Whatever key set is accepted, its keys are sound, and reading them again gives
// the same.
func FuzzJWKS(f *testing.F) {
	for _, s := range keyPairs() {
		f.Add(jwks(s.jwk(nil)))
	}
	f.Add(jwks(pair("ES256").jwk(nil), pair("ES256").jwk(nil), map[string]any{"kty": "oct", "k": "AAAA", "kid": "o"}))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeySet(text)
		if err != nil {
			return
		}
		if _, err := NewStaticKeySet(keys...); err != nil {
			t.Fatalf("accepted %v", err)
		}
		if !json.Valid(text) {
			t.Fatal("accepted what is not JSON")
		}
		for _, key := range keys {
			jwk := jose.JSONWebKey{Key: key.Public, KeyID: key.ID, Algorithm: key.Algorithm}
			if !jwk.Valid() || !jwk.IsPublic() {
				t.Fatalf("go-jose refuses the key %+v", key)
			}
		}
	})
}
