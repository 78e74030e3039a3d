package introspect

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// fuzzSigners have the same keys in every process, so that what the corpus holds
// stays signed. They are no secret.
func fuzzSigners() []signer {
	scalar := func(size int) []byte { return slices.Repeat([]byte{1}, size) }
	return []signer{
		{"E", "EdDSA", ed25519.NewKeyFromSeed(scalar(ed25519.SeedSize))},
		{"P256", "ES256", must(ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar(32)))},
		{"P521", "ES512", must(ecdsa.ParseRawPrivateKey(elliptic.P521(), scalar(66)))},
	}
}

// fuzzClaims do not expire while the corpus is in use.
const fuzzClaims = `{"iss":"https://as.test","sub":"bob","aud":["https://api.test","b"],"client_id":"web",` +
	`"jti":"j-1","iat":1700000000,"exp":9000000000.5,"nbf":0,"scope":"read write",` +
	`"authorization_id":"g-1","act":{"sub":"agent","act":{"sub":"first","iss":"https://x"}}}`

// publicAlgorithms are those that both implementations know.
var publicAlgorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
}

// Whatever token is accepted, another implementation accepts too and reads the
// same claims; and it is the one spelling of what it says. This package may
// refuse more, never less.
func FuzzBearerToken(f *testing.F) {
	signers := fuzzSigners()
	var keys []Key
	for _, s := range signers {
		keys = append(keys, s.key())
		f.Add("Bearer "+s.sign(s.header(), fuzzClaims), s.header(), fuzzClaims)
		f.Add("bearer "+s.sign(`{"typ":"JWT"}`, `{}`), s.header(), strings.Replace(fuzzClaims, `"bob"`, `"\u0062ob"`, 1))
	}
	ed := signers[0]
	for _, header := range []string{
		`{"alg":"none","typ":"at+jwt","kid":"E"}`, `{"alg":"HS256","typ":"at+jwt","kid":"E"}`, `{"alg":"ES256","typ":"at+jwt","kid":"E"}`,
		`{"alg":"EdDSA","typ":"application/AT+JWT","kid":"E"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"E","crit":["exp"],"exp":1}`,
		`{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"E"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"E","b64":false}`,
		`{"alg":"EdDSA","typ":"at+jwt","kid":"E","x":[{"y":1e3}]}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"\u0045","jwk":{"kty":"OKP"}}`,
	} {
		f.Add(ed.sign(header, fuzzClaims), header, fuzzClaims)
	}
	good := ed.sign(ed.header(), fuzzClaims)
	for _, other := range []string{
		nextInLastPlace(good), good + "=", good + "==", good + ".", strings.Replace(good, ".", "=.", 1),
		strings.ReplaceAll(good, "_", "/"), strings.ReplaceAll(good, "-", "+"), " " + good, good + " ", good + "\n", good + "\t",
	} {
		f.Add("Bearer "+other, "", "")
	}
	f.Add("Bearer  a.b.c", "{}", `{"sub":1}`)
	f.Add("Basic YTpi", "", "")
	f.Add("", "null", "[]")

	set := must(NewStaticKeySet(keys...))
	j := newTestJWT(f, JWTConfig{Keys: set})
	f.Fuzz(func(t *testing.T, authorization, header, payload string) {
		// Signed bytes reach what lies behind the signature.
		tokens := []string{ed.sign(header, payload), ed.sign(ed.header(), payload)}
		token, err := FromHeader(http.Header{"Authorization": {authorization}}, true)
		switch {
		case err == nil:
			if authorization != token && (len(authorization) != len("Bearer "+token) || !strings.HasSuffix(authorization, " "+token)) {
				t.Fatalf("found the token %q in %q", token, authorization)
			}
			tokens = append(tokens, token)
		case !errors.Is(err, ErrNoToken) && !errors.Is(err, ErrInactive):
			t.Fatalf("one Authorization field: %v", err)
		}
		for _, token := range tokens {
			facts, err := j.Introspect(t.Context(), token)
			if err != nil {
				wantInactive(t, err, "")
				continue
			}
			wantCanonical(t, token)
			wantRemembered(t, token, facts)
			if !bringsKey(t, token) {
				wantSameClaims(t, token, facts, set)
			}
		}
	})
}

// wantCanonical fails unless the text of the token is what its bytes encode to,
// and what a request shows as a token.
func wantCanonical(t *testing.T, token string) {
	t.Helper()
	parts := strings.Split(token, ".")
	for i, part := range parts {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatalf("accepted a part that is not base64url: %v", err)
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(data)
	}
	if again := strings.Join(parts, "."); again != token {
		t.Fatalf("accepted %q, which is %q", token, again)
	}
	if shown, err := FromHeader(http.Header{"Authorization": {"Bearer " + token}}, false); err != nil || shown != token {
		t.Fatalf("accepted %q, which a request cannot show: %q, %v", token, shown, err)
	}
}

// bringsKey tells whether the header of the token holds a key. It is never looked
// at here (RFC 8725 §3.10); go-jose judges its form before it leaves it aside.
func bringsKey(t *testing.T, token string) bool {
	t.Helper()
	var header map[string]any
	text, _, _ := strings.Cut(token, ".")
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(text)), &header); err != nil {
		t.Fatalf("accepted a header that is not JSON: %v", err)
	}
	_, jwk := header["jwk"]
	_, chain := header["x5c"]
	return jwk || chain
}

// wantSameClaims fails unless go-jose accepts the token with the same key and
// reads the same claims.
func wantSameClaims(t *testing.T, token string, facts *Token, set KeySet) {
	t.Helper()
	other, err := jwt.ParseSigned(token, publicAlgorithms)
	if err != nil {
		t.Fatalf("accepted what go-jose cannot parse: %v", err)
	}
	key, err := set.Key(t.Context(), other.Headers[0].KeyID)
	if err != nil {
		t.Fatal(err)
	}
	var registered jwt.Claims
	var all map[string]any
	if err := other.Claims(key.Public, &registered, &all); err != nil {
		t.Fatalf("accepted what go-jose does not verify: %v", err)
	}
	// A minute, because this package tolerates as much for iat.
	if err := registered.ValidateWithLeeway(jwt.Expected{Issuer: testIssuer}, time.Minute); err != nil {
		t.Fatalf("accepted what go-jose refuses: %v", err)
	}
	if registered.Issuer != facts.Issuer || registered.Subject != facts.Subject || registered.ID != facts.ID ||
		!slices.Equal(registered.Audience, facts.Audience) ||
		registered.Expiry.Time().Unix() != facts.Expiry.Unix() || registered.IssuedAt.Time().Unix() != facts.IssuedAt.Unix() ||
		all["client_id"] != facts.ClientID || text(all["scope"]) != strings.Join(facts.Scope, " ") {
		t.Fatalf("go-jose reads %+v, %v; this package %+v", registered, all, facts)
	}
	var standard map[string]any
	if err := json.Unmarshal(facts.Claims, &standard); err != nil || !reflect.DeepEqual(standard, all) {
		t.Fatalf("encoding/json reads %v, %v; go-jose %v", standard, err, all)
	}
}

// wantRemembered fails unless a Cache returns the facts of the token as they were
// found, each time.
func wantRemembered(t *testing.T, token string, facts *Token) {
	t.Helper()
	cache := NewCache(found{facts}, 1)
	for range 3 {
		if again, err := cache.Introspect(t.Context(), token); err != nil || !reflect.DeepEqual(again, facts) {
			t.Fatalf("remembered %+v, %v; found %+v", again, err, facts)
		}
	}
}

// found is an Introspector of one answer.
type found struct{ facts *Token }

func (f found) Introspect(context.Context, string) (*Token, error) { return f.facts, nil }

// text returns a string, and the empty one for what is none.
func text(value any) string {
	s, _ := value.(string)
	return s
}
