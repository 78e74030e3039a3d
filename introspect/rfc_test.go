package introspect

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The signatures among the examples. Most of them name no key and say nothing of
// an access token, so that only the layer that checks signatures can take them;
// the layers above refuse them all, see TestExampleTokens.
func TestExampleSignatures(t *testing.T) {
	for _, test := range []struct {
		section, key, alg, jws string
	}{
		{"RFC 7515 A.2", rfc7515A2Key, "RS256", rfc7515A2},
		{"RFC 7515 A.3", rfc7515A3Key, "ES256", rfc7515A3},
		{"RFC 7515 A.4", rfc7515A4Key, "ES512", rfc7515A4},
		{"RFC 7520 4.1", rfc7520RSA, "RS256", rfc7520Sec41},
		{"RFC 7520 4.2", rfc7520RSA, "PS384", rfc7520Sec42},
		{"RFC 7520 4.3", rfc7520EC, "ES512", rfc7520Sec43},
		{"RFC 8037 A.4", rfc8037A2, "EdDSA", rfc8037A4},
	} {
		t.Run(test.section, func(t *testing.T) {
			keys, err := ParseKeySet([]byte(exampleSet(t, test.key, map[string]any{"kid": "example", "alg": test.alg})))
			if err != nil {
				t.Fatal(err)
			}
			parts, err := splitJWS(test.jws)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifySignature(&keys[0], []byte(parts.signed), parts.signature); err != nil {
				t.Error(err)
			}
			for _, other := range signatureAlgorithms {
				key := keys[0]
				if key.Algorithm = other.name; other.name != test.alg && verifySignature(&key, []byte(parts.signed), parts.signature) == nil {
					t.Errorf("verifies as %s too", other.name)
				}
			}
			if verifySignature(&keys[0], []byte(parts.signed+"A"), parts.signature) == nil {
				t.Error("verifies for another payload")
			}
		})
	}
}

// exampleSet returns a key set of one key, with changes to the key.
func exampleSet(t *testing.T, key string, changes map[string]any) string {
	t.Helper()
	var jwk map[string]any
	if err := json.Unmarshal([]byte(key), &jwk); err != nil {
		t.Fatal(err)
	}
	maps.Copy(jwk, changes)
	return string(jwks(jwk))
}

// The examples as tokens that somebody shows: what each is refused for, even
// where typ may be missing and the key is trusted.
func TestExampleTokens(t *testing.T) {
	keys, err := ParseKeySet([]byte(exampleSet(t, rfc7515A2Key, map[string]any{"kid": "2010-12-29"})))
	if err != nil {
		t.Fatal(err)
	}
	j := newTestJWT(t, JWTConfig{Keys: must(NewStaticKeySet(keys...)), Types: []string{"", "JWT"}})
	detached := func(jws string) string {
		header, rest, _ := strings.Cut(jws, ".")
		_, signature, _ := strings.Cut(rest, ".")
		return header + ".." + signature
	}
	for _, test := range []struct {
		section, what, token, reason string
	}{
		{"RFC 7515 A.1", "HMAC; the JWT of RFC 7519 3.1", rfc7515A1, badAlgorithm},
		{"RFC 7515 A.2", "a key that is not named", rfc7515A2, badKeyID},
		{"RFC 7515 A.3", "a key that is not named", rfc7515A3, badKeyID},
		{"RFC 7515 A.4", "a key that is not named", rfc7515A4, badKeyID},
		{"RFC 7515 A.5", "no signature; the JWT of RFC 7519 6.1", rfc7515A5, badAlgorithm},
		{"RFC 7515 A.6", "JSON serialization", rfc7515A6, badCharacter},
		{"RFC 7515 A.7", "JSON serialization, flattened", rfc7515A7, badCharacter},
		{"RFC 7515 Appendix F", "a payload elsewhere", detached(rfc7515A2), badKeyID},
		{"RFC 7519 A.1", "encryption", rfc7519A1, badParts},
		{"RFC 7520 4.1", "a key that the issuer does not have", rfc7520Sec41, unknownKey},
		{"RFC 7520 4.4", "HMAC", rfc7520Sec44, badAlgorithm},
		{"RFC 7520 4.5", "HMAC, and a payload elsewhere", detached(rfc7520Sec44), badAlgorithm},
	} {
		t.Run(test.section, func(t *testing.T) {
			_, err := j.Introspect(t.Context(), test.token)
			wantInactive(t, err, test.reason)
		})
	}
}

// The keys among the examples: which are loaded, as what.
func TestExampleKeys(t *testing.T) {
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	const bilbo = "bilbo.baggins@hobbiton.example"
	for _, test := range []struct {
		section, what, published string
		want                     map[string]string // kid to algorithm
	}{
		{"RFC 7517 A.1", "the key for encryption is left out", set(rfc7517A1EC, rfc7517A1RSA), map[string]string{"2011-04-29": "RS256"}},
		{"RFC 7517 A.1, for signatures", "the other key is sound", exampleSet(t, rfc7517A1EC, map[string]any{"use": "sig"}), map[string]string{"1": "ES256"}},
		{"RFC 7517 A.2", "private keys", set(rfc7517A2EC, rfc7517A2RSA), nil},
		{"RFC 7517 A.2, beside a public key", "private keys", set(rfc7517A2EC, rfc7517A2RSA, rfc7520RSA), map[string]string{bilbo: "RS256"}},
		{"RFC 7517 A.2, for signatures", "a private key", exampleSet(t, rfc7517A2EC, map[string]any{"use": "sig"}), nil},
		{"RFC 7517 A.3", "symmetric keys", rfc7517A3, nil},
		{"RFC 7520 3.1", "", set(rfc7520EC), map[string]string{bilbo: "ES512"}},
		{"RFC 7520 3.2", "a private key", set(rfc7520ECPrivate), nil},
		{"RFC 7520 3.3", "", set(rfc7520RSA), map[string]string{bilbo: "RS256"}},
		{"RFC 7520 3.1 and 3.3", "one kid for two keys", set(rfc7520EC, rfc7520RSA), nil},
		{"RFC 7520 3.5", "a symmetric key", set(rfc7520Symmetric), nil},
		{"RFC 8037 A.1", "a private key", exampleSet(t, rfc8037A1, map[string]any{"kid": "e"}), nil},
		{"RFC 8037 A.2", "no kid", set(rfc8037A2), nil},
		{"RFC 8037 A.2, named", "", exampleSet(t, rfc8037A2, map[string]any{"kid": "e"}), map[string]string{"e": "EdDSA"}},
	} {
		t.Run(test.section, func(t *testing.T) {
			keys, err := ParseKeySet([]byte(test.published))
			var got map[string]string
			for _, key := range keys {
				if got == nil {
					got = make(map[string]string)
				}
				got[key.ID] = key.Algorithm
			}
			if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.want != nil) {
				t.Errorf("loaded %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

// RFC 7518 §3.1, RFC 8037 §3.1, RFC 8812 §3.2: every registered alg of a JWS, and
// whether a configuration can accept it.
func TestRegisteredAlgorithms(t *testing.T) {
	for alg, known := range map[string]bool{
		"HS256": false, "HS384": false, "HS512": false, "none": false,
		"RS256": true, "RS384": true, "RS512": true, "PS256": true, "PS384": true, "PS512": true,
		"ES256": true, "ES384": true, "ES512": true, "EdDSA": true,
		"ES256K": false, // its curve is none of the standard library's
		"RS1":    false, // prohibited for a JWS
	} {
		_, err := NewJWT(JWTConfig{Issuer: testIssuer, Keys: testKeySet(), Algorithms: []string{alg}})
		if (err == nil) != known {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// RFC 9068 §3: the example of an access token, and what is read in it.
func TestExampleAccessToken(t *testing.T) {
	const header = `{"typ":"at+JWT","alg":"RS256","kid":"RjEwOwOA"}`
	const payload = `{"iss":"https://authorization-server.example.com/","sub":"5ba552d67","aud":"https://rs.example.com/",` +
		`"exp":1639528912,"iat":1618354090,"jti":"dbe39bf3a3ba4238a513f51d6e1691c4","client_id":"s6BhdRkqt3",` +
		`"scope":"openid profile reademail"}`
	s := pair("RS256")
	key := s.key()
	key.ID = "RjEwOwOA"
	token := s.sign(header, payload)
	want := &Token{
		Issuer: "https://authorization-server.example.com/", Subject: "5ba552d67", Audience: []string{"https://rs.example.com/"},
		Expiry: time.Unix(1639528912, 0), IssuedAt: time.Unix(1618354090, 0), ID: "dbe39bf3a3ba4238a513f51d6e1691c4",
		ClientID: "s6BhdRkqt3", Scope: []string{"openid", "profile", "reademail"}, Claims: json.RawMessage(payload),
	}
	synctest.Test(t, func(t *testing.T) {
		j, err := NewJWT(JWTConfig{Issuer: want.Issuer, Keys: must(NewStaticKeySet(key))})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(want.IssuedAt))
		if got, err := j.Introspect(t.Context(), token); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
		time.Sleep(time.Until(want.Expiry))
		_, err = j.Introspect(t.Context(), token)
		wantInactive(t, err, "the token has expired")
	})
}
