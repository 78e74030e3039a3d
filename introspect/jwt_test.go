package introspect

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantInactive fails unless err refuses the token for that reason. An empty
// reason stands for any.
func wantInactive(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *InactiveError
	if !errors.As(err, &refusal) || !errors.Is(err, ErrInactive) {
		t.Fatalf("error = %v, want a refusal", err)
	}
	if reason != "" && refusal.Reason != reason {
		t.Errorf("reason = %q, want %q", refusal.Reason, reason)
	}
}

// RFC 9068 §4: a token that meets every demand is active, under each algorithm.
func TestJWTFacts(t *testing.T) {
	for algorithm := range keyPairs() {
		t.Run(algorithm, func(t *testing.T) {
			s := pair(algorithm)
			payload := claims(map[string]any{
				"aud": []string{"https://api.test", "https://b.test"}, "iat": 1000.5, "exp": 4e9 + 0.25,
				"authorization_id": "g-1", "nbf": 0,
				"act": map[string]any{"sub": "agent", "client_id": "svc", "act": map[string]any{"sub": "first", "iss": "https://x"}},
			})
			got, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), s.sign(s.header(), payload))
			if err != nil {
				t.Fatal(err)
			}
			want := &Token{
				Issuer: testIssuer, Subject: "bob", ClientID: "web", ID: "j-1", AuthorizationID: "g-1",
				Audience: []string{"https://api.test", "https://b.test"}, Scope: []string{"read", "write"},
				IssuedAt: time.UnixMicro(1000_500_000), Expiry: time.UnixMicro(4e15 + 250_000),
				Actor:  &Actor{Subject: "agent", ClientID: "svc", Actor: &Actor{Subject: "first", Issuer: "https://x"}},
				Claims: []byte(payload),
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

const (
	badAlgorithm = "the alg of the token is not accepted"
	badBase64    = "the token is not in canonical base64url"
	badCharacter = "the token has a character that is not base64url"
	badCrit      = "the header of the token has crit"
	badHeader    = "the header of the token is not strict JSON"
	badKeyID     = "the token does not name its key by a kid"
	badParts     = "the token is not a signed JWT of three parts"
	badPayload   = "the payload of the token is not a plain claims set"
	badSignature = "the signature of the token does not verify"
	badType      = "the typ of the token is not the one that is expected here"
	otherAlg     = "the alg of the token is not that of its key"
	unknownKey   = "the token is signed with a key that the issuer does not have"
	tooLong      = "the token is too long"
)

// A header that is correctly signed and is refused nevertheless.
func TestJWTHeader(t *testing.T) {
	const alg, typ, kid = `"alg":"RS256"`, `"typ":"at+jwt"`, `"kid":"K-RS256"`
	for _, test := range []struct {
		must, header, reason string
	}{
		{"RFC 8725 §3.2: none is not accepted", `{"alg":"none",` + typ + `,` + kid + `}`, badAlgorithm},
		{"nor in another case", `{"alg":"nOnE",` + typ + `,` + kid + `}`, badAlgorithm},
		{"nor is the empty alg", `{"alg":"",` + typ + `,` + kid + `}`, badAlgorithm},
		{"RFC 8725 §3.1: no symmetric algorithm", `{"alg":"HS256",` + typ + `,` + kid + `}`, badAlgorithm},
		{"alg is case-sensitive (RFC 7515 §4.1.1)", `{"alg":"rs256",` + typ + `,` + kid + `}`, badAlgorithm},
		{"alg must be present (RFC 7515 §4.1.1)", `{` + typ + `,` + kid + `}`, badAlgorithm},
		{"alg is a string", `{"alg":["RS256"],` + typ + `,` + kid + `}`, badAlgorithm},
		{"ES256K is not known", `{"alg":"ES256K",` + typ + `,` + kid + `}`, badAlgorithm},
		{"member names are case-sensitive (RFC 7515 §4)", `{"ALG":"RS256",` + typ + `,` + kid + `}`, badAlgorithm},
		{"RFC 8725 §3.1: alg is that of the key", `{"alg":"PS256",` + typ + `,` + kid + `}`, otherAlg},

		{"no repeated member (RFC 7515 §4)", `{` + alg + `,"alg":"none",` + typ + `,` + kid + `}`, badHeader},
		{"however it is spelt", `{` + alg + `,"\u0061lg":"none",` + typ + `,` + kid + `}`, badHeader},
		{"nor below the top", `{` + alg + `,` + typ + `,` + kid + `,"x":{"a":1,"a":2}}`, badHeader},
		{"the header is one object", `{` + alg + `,` + typ + `,` + kid + `}{}`, badHeader},
		{"the header is an object", `[]`, badHeader},
		{"the header is not empty", ``, badHeader},
		{"no byte order mark", "\ufeff{" + alg + `,` + typ + `,` + kid + `}`, badHeader},
		{"UTF-8 only", "{" + alg + `,` + typ + `,` + kid + ",\"x\":\"\xff\"}", badHeader},

		{"crit: not understood (RFC 7515 §4.1.11)", `{` + alg + `,` + typ + `,` + kid + `,"crit":["x"],"x":1}`, badCrit},
		{"crit must not be empty", `{` + alg + `,` + typ + `,` + kid + `,"crit":[]}`, badCrit},
		{"crit null", `{` + alg + `,` + typ + `,` + kid + `,"crit":null}`, badCrit},
		{"crit b64", `{` + alg + `,` + typ + `,` + kid + `,"crit":["b64"],"b64":false}`, badCrit},
		{"b64 without crit (RFC 7797 §6)", `{` + alg + `,` + typ + `,` + kid + `,"b64":false}`, badPayload},
		{"a nested token (RFC 7519 §5.2)", `{` + alg + `,` + typ + `,` + kid + `,"cty":"JWT"}`, badPayload},
		{"a member of JWE", `{` + alg + `,` + typ + `,` + kid + `,"enc":"A128GCM"}`, badPayload},
		{"compression", `{` + alg + `,` + typ + `,` + kid + `,"zip":"DEF"}`, badPayload},

		{"RFC 9068 §4: typ must be at+jwt", `{` + alg + `,"typ":"JWT",` + kid + `}`, badType},
		{"typ must be there", `{` + alg + `,` + kid + `}`, badType},
		{"a logout token", `{` + alg + `,"typ":"logout+jwt",` + kid + `}`, badType},
		{"a DPoP proof", `{` + alg + `,"typ":"dpop+jwt",` + kid + `}`, badType},
		{"a client assertion", `{` + alg + `,"typ":"client-authentication+jwt",` + kid + `}`, badType},
		{"a parameter of the media type", `{` + alg + `,"typ":"at+JWT;x=1",` + kid + `}`, badType},
		{"another tree of media types", `{` + alg + `,"typ":"text/at+jwt",` + kid + `}`, badType},
		{"typ is a string", `{` + alg + `,"typ":["at+jwt"],` + kid + `}`, badType},

		{"the key must be named", `{` + alg + `,` + typ + `}`, badKeyID},
		{"kid is not empty", `{` + alg + `,` + typ + `,"kid":""}`, badKeyID},
		{"kid is a string", `{` + alg + `,` + typ + `,"kid":1}`, badKeyID},
		{"kid is not an array", `{` + alg + `,` + typ + `,"kid":["K-RS256"]}`, badKeyID},
		{"kid is not null", `{` + alg + `,` + typ + `,"kid":null}`, badKeyID},
		{"kid is bounded", `{` + alg + `,` + typ + `,"kid":"` + strings.Repeat("A", 257) + `"}`, badKeyID},
		{"kid of another issuer", `{` + alg + `,` + typ + `,"kid":"K-OTHER"}`, unknownKey},
		{"kid with a NUL", `{` + alg + `,` + typ + `,"kid":"K-RS256\u0000"}`, unknownKey},
		{"kid as a path", `{` + alg + `,` + typ + `,"kid":"file:///etc/passwd"}`, unknownKey},
		{"kid as a placeholder", `{` + alg + `,` + typ + `,"kid":"{file./etc/passwd}"}`, unknownKey},
	} {
		t.Run(test.must, func(t *testing.T) {
			_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), pair("RS256").sign(test.header, claims(nil)))
			wantInactive(t, err, test.reason)
		})
	}
}

// RFC 9068 §4: typ is a media type, compared without regard to case, whose
// "application/" may be left out.
func TestJWTType(t *testing.T) {
	for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"} {
		header := fmt.Sprintf(`{"alg":"ES256","kid":"K-ES256","typ":%q}`, typ)
		if _, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), pair("ES256").sign(header, claims(nil))); err != nil {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
}

// A key that comes with the token is not looked at (RFC 8725 §3.10).
func TestJWTKeyInHeader(t *testing.T) {
	stranger := signer{"K-RS256", "RS256", must(rsa.GenerateKey(rand.Reader, 2048))}
	for _, member := range []string{
		`"jwk":{"kty":"RSA","e":"AQAB","n":"` + b64(string(stranger.private.Public().(*rsa.PublicKey).N.Bytes())) + `"}`,
		`"jku":"https://evil.test/jwks"`, `"x5u":"https://evil.test/cert"`, `"x5c":["AAAA"]`, `"x5t":"AAAA"`,
	} {
		header := `{"alg":"RS256","typ":"at+jwt","kid":"K-RS256",` + member + `}`
		_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), stranger.sign(header, claims(nil)))
		wantInactive(t, err, badSignature)
	}
}

// RFC 8725 §3.1: a public key is no HMAC key, in whatever form.
func TestJWTHMACWithPublicKey(t *testing.T) {
	rsaKey := pair("RS256").private.Public().(*rsa.PublicKey)
	ecKey := must(pair("ES256").private.Public().(*ecdsa.PublicKey).Bytes())
	for name, secret := range map[string][]byte{
		"PKCS #1": x509.MarshalPKCS1PublicKey(rsaKey),
		"PKIX":    must(x509.MarshalPKIXPublicKey(rsaKey)),
		"modulus": rsaKey.N.Bytes(), "x||y": ecKey[1:], "empty": nil, "weak": []byte("secret"),
	} {
		for _, alg := range []string{"HS256", "RS256"} {
			signed := b64(`{"alg":"`+alg+`","typ":"at+jwt","kid":"K-RS256"}`) + "." + b64(claims(nil))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(signed))
			_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), signed+"."+b64(string(mac.Sum(nil))))
			if wantInactive(t, err, ""); t.Failed() {
				t.Fatal(name)
			}
		}
	}
}

// RFC 7518 §3.3 to §3.5, RFC 8032 §5.1.7: signatures of the wrong shape or value.
func TestJWTSignature(t *testing.T) {
	n := ecdsaOrder()
	fromInts := func(r, s *big.Int, size int) func(string) []byte {
		return func(string) []byte { return rawSignature(r, s, size) }
	}
	changed := func(s signer, change func([]byte) []byte) func(string) []byte {
		return func(signed string) []byte { return change(s.signature(signed)) }
	}
	es, ed, ps := pair("ES256"), pair("EdDSA"), pair("PS256")
	zero, one := new(big.Int), big.NewInt(1)
	for _, test := range []struct {
		must      string
		signer    signer
		signature func(signed string) []byte
	}{
		{"r and s are not zero (CVE-2022-21449)", es, fromInts(zero, zero, 64)},
		{"r and s are below the order", es, fromInts(n, n, 64)},
		{"r is not zero", es, fromInts(zero, one, 64)},
		{"not any numbers", es, fromInts(one, one, 64)},
		{"not empty", es, func(string) []byte { return nil }},
		{"not longer by leading zeros", es, changed(es, func(sig []byte) []byte {
			return rawSignature(new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]), 96)
		})},
		{"not longer by a byte", es, changed(es, func(sig []byte) []byte { return append(sig, 0) })},
		{"not shorter", es, changed(es, func(sig []byte) []byte { return sig[:63] })},
		{"not DER", es, func(signed string) []byte {
			digest := sha256.Sum256([]byte(signed))
			return must(ecdsa.SignASN1(rand.Reader, es.private.(*ecdsa.PrivateKey), digest[:]))
		}},
		{"not DER of the numbers", es, changed(es, func(sig []byte) []byte {
			return must(asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])}))
		})},
		{"of this very text", es, func(string) []byte { return es.signature("another") }},
		{"of this key", es, func(signed string) []byte {
			return signer{"", "ES256", must(ecdsa.GenerateKey(es.private.Public().(*ecdsa.PublicKey).Curve, rand.Reader))}.signature(signed)
		}},
		{"EdDSA: s is below the order", ed, changed(ed, addEd25519Order)},
		{"EdDSA: no byte more", ed, changed(ed, func(sig []byte) []byte { return append(sig, 0) })},
		{"RSA: as long as the modulus", pair("RS256"), changed(pair("RS256"), func(sig []byte) []byte { return append([]byte{0}, sig...) })},
		{"RSA: not empty", pair("RS256"), func(string) []byte { return nil }},
		{"PSS: the salt is as long as the hash", ps, func(signed string) []byte {
			digest := sha256.Sum256([]byte(signed))
			return must(rsa.SignPSS(rand.Reader, ps.private.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 20}))
		}},
		{"PSS is not PKCS #1", ps, pair("RS256").signature},
		{"PKCS #1 is not PSS", pair("RS256"), ps.signature},
	} {
		t.Run(test.must, func(t *testing.T) {
			signed := b64(test.signer.header()) + "." + b64(claims(nil))
			_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), signed+"."+b64(string(test.signature(signed))))
			wantInactive(t, err, badSignature)
		})
	}
}

func ecdsaOrder() *big.Int {
	return pair("ES256").private.Public().(*ecdsa.PublicKey).Curve.Params().N
}

// addEd25519Order makes the signature (R, s+L), which a careless verifier takes
// for (R, s).
func addEd25519Order(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := make([]byte, 32)
	for i := range little {
		little[i] = signature[63-i]
	}
	s := new(big.Int).SetBytes(little)
	s.Add(s, order).FillBytes(little)
	for i := range little {
		signature[63-i] = little[i]
	}
	return signature
}

// RFC 7515 §7.1 and §2: one token has one spelling.
func TestJWTSpelling(t *testing.T) {
	good := pair("ES256").ordinary(nil)
	parts := strings.Split(good, ".")
	json := `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
	for _, test := range []struct {
		must, token, reason string
	}{
		{"not empty", "", badParts},
		{"not two parts", parts[0] + "." + parts[1], badParts},
		{"not four", good + ".x", badParts},
		{"not the five of a JWE", good + ".x.y", badParts},
		{"no leading dot", "." + good, badParts},
		{"no trailing dot", good + ".", badParts},
		{"not a thousand dots", strings.Repeat(".", 1000), badParts},
		{"not opaque", strings.Repeat("A", MaxTokenLength), badParts},
		{"parts are not empty", "..", badHeader},
		{"no header, no token", "." + parts[1] + "." + parts[2], badHeader},
		{"no signature, no token", parts[0] + "." + parts[1] + ".", badSignature},
		{"no padding", parts[0] + "=." + parts[1] + "." + parts[2], badCharacter},
		{"no padding at the end", good + "==", badCharacter},
		{"the alphabet of base64url", parts[0] + "." + parts[1] + ".+" + parts[2][1:], badCharacter},
		{"no line break", parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:], badCharacter},
		{"no carriage return", good + "\r", badCharacter},
		{"no space", good + " ", badCharacter},
		{"no percent-encoding", strings.ReplaceAll(good, ".", "%2e"), badCharacter},
		{"no other full stop", strings.ReplaceAll(good, ".", "\u3002"), badCharacter},
		{"no NUL", good + "\x00", badCharacter},
		{"no JSON serialization", json, badCharacter},
		{"no quotes", `"` + good + `"`, badCharacter},
		{"no list", good + "," + good, badCharacter},
		{"unused bits are zero", nextInLastPlace(good), badBase64},
		{"a byte has two characters at least", parts[0] + "." + parts[1] + "." + parts[2] + "AAA", badBase64},
		{"not longer than 8 KiB", strings.Repeat("A", MaxTokenLength+1), tooLong},
		{"whatever it is", strings.Repeat(".", 900_000), tooLong},
	} {
		t.Run(test.must, func(t *testing.T) {
			_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), test.token)
			wantInactive(t, err, test.reason)
		})
	}
}

// nextInLastPlace sets an unused bit of the last character of a token whose
// signature has 64 bytes, which leave four bits over.
func nextInLastPlace(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + alphabet[strings.IndexByte(alphabet, token[last])+1:][:1]
}

// Claims that are correctly signed and refused nevertheless.
func TestJWTClaims(t *testing.T) {
	const (
		badActor    = "the act of the token is not a valid chain of actors"
		badAudience = "the aud of the token is missing or not valid"
		badClient   = "the client_id of the token is missing or not valid"
		badExpiry   = "the exp of the token is missing or not a valid time"
		badID       = "the jti of the token is missing or not valid"
		badIssued   = "the iat of the token is missing or not a valid time"
		badNotBef   = "the nbf of the token is not a valid time"
		badScope    = "the scope of the token is not a string of scope names"
		badSubject  = "the sub of the token is missing or not valid"
		bound       = "the token is bound to a key and is not accepted without proof"
		expired     = "the token has expired"
		future      = "the token was issued in the future"
		lifetime    = "the lifetime of the token is too long"
		notStrict   = "the claims of the token are not strict JSON"
		notYet      = "the token is not valid yet"
		otherIssuer = "the token is of another issuer"
	)
	now := time.Now().Unix()
	raw := func(text string) any { return rawClaim(text) }
	for _, test := range []struct {
		claim  string
		value  any // nil removes the claim
		reason string
	}{
		{"iss", nil, otherIssuer},
		{"iss", raw("null"), otherIssuer},
		{"iss", []string{testIssuer}, otherIssuer},
		{"iss", testIssuer + "/", otherIssuer},
		{"iss", "https://AS.test", otherIssuer},
		{"iss", "http://as.test", otherIssuer},

		{"exp", nil, badExpiry}, // RFC 9068 §2.2: required
		{"exp", raw("null"), badExpiry},
		{"exp", "9999999999", badExpiry}, // RFC 7519 §2: a number
		{"exp", "2099-01-01T00:00:00Z", badExpiry},
		{"exp", true, badExpiry},
		{"exp", []int64{now + 300}, badExpiry},
		{"exp", raw("1e18"), badExpiry},
		{"exp", raw("9223372036854775807"), badExpiry},
		{"exp", raw("99999999999999999999999999"), badExpiry},
		{"exp", -1, badExpiry},
		{"exp", raw("1e400"), notStrict},
		{"exp", raw("0x7fffffff"), notStrict},
		{"exp", raw("NaN"), notStrict},
		{"exp", raw("01"), notStrict},
		{"exp", raw("+1"), notStrict},
		{"exp", 0, expired},
		{"exp", now, expired}, // RFC 7519 §4.1.4: on or after
		{"exp", now - 61, expired},
		{"exp", now + 10*365*86400, lifetime},

		{"iat", nil, badIssued},
		{"iat", raw("null"), badIssued},
		{"iat", fmt.Sprint(now), badIssued},
		{"iat", -1, badIssued},
		{"iat", now + 120, future},
		{"iat", now - 2*365*86400, lifetime},

		{"nbf", raw("null"), badNotBef},
		{"nbf", -1, badNotBef},
		{"nbf", "0", badNotBef},
		{"nbf", now + 30, notYet}, // RFC 7519 §4.1.5

		{"aud", nil, badAudience},
		{"aud", raw("null"), badAudience},
		{"aud", "", badAudience},
		{"aud", 1, badAudience},
		{"aud", []string{}, badAudience},
		{"aud", map[string]string{"0": "https://api.test"}, badAudience},
		{"aud", []any{"https://api.test", 1}, badAudience},
		{"aud", []any{[]string{"https://api.test"}}, badAudience},
		{"aud", []string{"https://api.test", ""}, badAudience},
		{"aud", strings.Split(strings.Repeat("a ", 65), " ")[:65], badAudience},

		{"sub", nil, badSubject},
		{"sub", "", badSubject},
		{"sub", 1, badSubject},
		{"sub", raw("null"), badSubject},
		{"sub", []string{"bob"}, badSubject},
		{"sub", "a\r\nX-Admin: 1", badSubject},
		{"sub", "a\x00b", badSubject},
		{"sub", "a\u0085b", badSubject},
		{"sub", "a\x7fb", badSubject},
		{"sub", strings.Repeat("x", 1025), badSubject},
		{"sub", raw("\"\xff\""), notStrict},
		{"sub", raw(`"\ud800"`), notStrict},
		{"SUB", "admin", ""}, // not refused: see TestJWTOtherCase

		{"client_id", nil, badClient},
		{"client_id", 1, badClient},
		{"client_id", "a\nb", badClient},
		{"jti", nil, badID},
		{"jti", "", badID},
		{"jti", 7, badID},
		{"authorization_id", 7, "the authorization_id of the token is not valid"},

		{"scope", []string{"admin"}, badScope}, // RFC 8693 §4.2: a string
		{"scope", map[string]any{}, badScope},
		{"scope", raw("null"), badScope},
		{"scope", " read", badScope}, // RFC 6749 §3.3: tokens, one space between
		{"scope", "read ", badScope},
		{"scope", "read  write", badScope},
		{"scope", "read\twrite", badScope},
		{"scope", `re"ad`, badScope},
		{"scope", "lire\u00e9", badScope},

		{"cnf", map[string]string{"jkt": "x"}, bound},
		{"cnf", map[string]string{"x5t#S256": "x"}, bound},
		{"cnf", raw("null"), bound},

		{"act", "x", badActor}, // RFC 8693 §4.1: an object
		{"act", raw("null"), badActor},
		{"act", map[string]any{}, badActor},
		{"act", map[string]any{"sub": 1}, badActor},
		{"act", map[string]any{"sub": "a\nb"}, badActor},
		{"act", map[string]any{"sub": "a", "iss": 1}, badActor},
		{"act", map[string]any{"sub": "a", "act": "b"}, badActor},
		{"act", raw(actors(9)), badActor},
		{"act", raw(actors(200)), notStrict},

		{"x", raw("1e999999999"), notStrict},
		{"x", raw(strings.Repeat("9", 1000)), notStrict},
		{"x", raw(strings.Repeat("[", 40) + strings.Repeat("]", 40)), notStrict},
		{"x", raw(`1,"sub":"admin"`), notStrict}, // RFC 8725 §2.4: repeated
		{"x", raw(`1,"s\u0075b":"admin"`), notStrict},
		{"x", raw(`{"a":{"b":1,"b":2}}`), notStrict},
		{"x", raw(`1}{"sub":"admin"`), notStrict},
		{"x", raw(`[1,]`), notStrict},
		{"x", raw(`'a'`), notStrict},
		{"x", raw(`1/**/`), notStrict},
	} {
		name := fmt.Sprintf("%s %.40v", test.claim, test.value)
		t.Run(name, func(t *testing.T) {
			j := newTestJWT(t, JWTConfig{MaxLifetime: time.Hour})
			_, err := j.Introspect(t.Context(), pair("ES256").sign(pair("ES256").header(), rawClaims(test.claim, test.value)))
			if test.reason == "" && err == nil {
				return
			}
			wantInactive(t, err, test.reason)
		})
	}
}

// rawClaim is a value put into the payload as it stands, legal JSON or not.
type rawClaim string

// rawClaims is claims with one change, which need not be legal.
func rawClaims(name string, value any) string {
	text, isRaw := value.(rawClaim)
	if !isRaw {
		return claims(map[string]any{name: value})
	}
	return strings.Replace(claims(map[string]any{name: "@"}), `"@"`, string(text), 1)
}

// actors nests n actors.
func actors(n int) string {
	return strings.Repeat(`{"sub":"a","act":`, n-1) + `{"sub":"a"}` + strings.Repeat("}", n-1)
}

// Payloads that are no JSON object.
func TestJWTPayload(t *testing.T) {
	utf16 := func(text string) string {
		var b strings.Builder
		for _, r := range text {
			b.WriteString(string(r) + "\x00")
		}
		return b.String()
	}
	good := claims(nil)
	for name, payload := range map[string]string{
		"empty": "", "null": "null", "array": "[" + good + "]", "string": `"x"`, "nested token": pair("ES256").ordinary(nil),
		"byte order mark": "\ufeff" + good, "UTF-16": utf16(good), "NUL after": good + "\x00", "cut": good[:len(good)-1],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), pair("ES256").sign(pair("ES256").header(), payload))
			wantInactive(t, err, "the claims of the token are not strict JSON")
		})
	}
}

// Member names are case-sensitive (RFC 8259 §8.3): a claim of another case is
// another claim, and never fills the real one.
func TestJWTOtherCase(t *testing.T) {
	j := newTestJWT(t, JWTConfig{})
	token, err := j.Introspect(t.Context(), pair("ES256").ordinary(map[string]any{"SUB": "admin", "Scope": "admin", "\u017fub": "admin"}))
	if err != nil || token.Subject != "bob" || token.HasScope("admin") {
		t.Errorf("got %+v, %v", token, err)
	}
	_, err = j.Introspect(t.Context(), pair("ES256").ordinary(map[string]any{"exp": nil, "EXP": 4e9}))
	wantInactive(t, err, "")
}

// RFC 9068 §2.2.3: scope is not required; RFC 6749 §3.3: it is case-sensitive.
func TestJWTScope(t *testing.T) {
	for text, want := range map[any][]string{
		"admin read": {"admin", "read"}, "READ": {"READ"}, "": nil, nil: nil, "a:b/c?d=e": {"a:b/c?d=e"},
	} {
		token, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), pair("ES256").ordinary(map[string]any{"scope": text}))
		if err != nil || !reflect.DeepEqual(token.Scope, want) {
			t.Errorf("scope %v: %+v, %v", text, token, err)
		}
	}
	token := &Token{Scope: []string{"READ"}, Audience: []string{"https://api.test"}}
	if token.HasScope("read") || token.HasAudience("https://api.test/") {
		t.Error("a scope or an audience in another spelling was taken for the same")
	}
}

// RFC 7519 §4.1.4 to §4.1.6: time is judged with the leeway, and not beyond.
func TestJWTTimes(t *testing.T) {
	for _, test := range []struct {
		leeway   time.Duration
		claim    string
		from     time.Duration // what the claim says, from now
		shown    time.Duration // when the token is shown, from now
		accepted bool
	}{
		{0, "exp", 3 * time.Second, 2999 * time.Millisecond, true},
		{0, "exp", 3 * time.Second, 3 * time.Second, false},
		{time.Minute, "exp", 0, 59 * time.Second, true},
		{time.Minute, "exp", 0, 60 * time.Second, false},
		{0, "nbf", 2 * time.Second, time.Second, false},
		{0, "nbf", 2 * time.Second, 2 * time.Second, true},
		{time.Minute, "nbf", 61 * time.Second, 0, false},
		{time.Minute, "nbf", 61 * time.Second, time.Second, true},
		{0, "iat", 61 * time.Second, 0, false},
		{0, "iat", 61 * time.Second, time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			changes := map[string]any{"iat": time.Now().Unix() - 10, test.claim: time.Now().Add(test.from).Unix()}
			token := pair("ES256").ordinary(changes)
			time.Sleep(test.shown)
			_, err := newTestJWT(t, JWTConfig{Leeway: test.leeway}).Introspect(t.Context(), token)
			if (err == nil) != test.accepted {
				t.Errorf("%+v: %v", test, err)
			}
		})
	}
}

// Issuers of another profile: what is optional may be missing, not wrong.
func TestJWTOptional(t *testing.T) {
	j := newTestJWT(t, JWTConfig{
		Types: []string{"JWT"}, Optional: []string{"client_id", "jti", "iat"}, MaxLifetime: 10 * time.Minute,
	})
	s := pair("RS256")
	without := map[string]any{"client_id": nil, "jti": nil, "iat": nil}
	token, err := j.Introspect(t.Context(), s.sign(`{"alg":"RS256","kid":"K-RS256","typ":"jwt"}`, claims(without)))
	if err != nil || token.ID != "" || !token.IssuedAt.IsZero() {
		t.Errorf("got %+v, %v", token, err)
	}
	for name, value := range map[string]any{
		"client_id": 1, "jti": "", "iat": "now", "exp": time.Now().Add(time.Hour).Unix(),
	} {
		changes := maps.Clone(without)
		changes[name] = value
		_, err := j.Introspect(t.Context(), s.sign(`{"alg":"RS256","kid":"K-RS256","typ":"jwt"}`, claims(changes)))
		if wantInactive(t, err, ""); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = j.Introspect(t.Context(), s.ordinary(nil)) // at+jwt was not listed
	wantInactive(t, err, badType)
}

// An algorithm that the configuration does not list is refused.
func TestJWTAlgorithms(t *testing.T) {
	j := newTestJWT(t, JWTConfig{Algorithms: []string{"ES256"}})
	if _, err := j.Introspect(t.Context(), pair("ES256").ordinary(nil)); err != nil {
		t.Error(err)
	}
	_, err := j.Introspect(t.Context(), pair("RS256").ordinary(nil))
	wantInactive(t, err, badAlgorithm)
}

// Keys that cannot be had are no verdict about the token.
func TestJWTUnavailable(t *testing.T) {
	j := newTestJWT(t, JWTConfig{Keys: failingKeys{}})
	_, err := j.Introspect(t.Context(), pair("ES256").ordinary(nil))
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInactive) {
		t.Errorf("error = %v, want ErrUnavailable", err)
	}
}

type failingKeys struct{}

func (failingKeys) Key(context.Context, string) (*Key, error) { return nil, errors.New("disk on fire") }

// A configuration that would weaken the check is refused.
func TestNewJWTRefuses(t *testing.T) {
	keys := testKeySet()
	for name, config := range map[string]JWTConfig{
		"no issuer":        {Keys: keys},
		"no keys":          {Issuer: testIssuer},
		"negative leeway":  {Issuer: testIssuer, Keys: keys, Leeway: -1},
		"an hour's leeway": {Issuer: testIssuer, Keys: keys, Leeway: time.Hour},
		"lifetime":         {Issuer: testIssuer, Keys: keys, MaxLifetime: -1},
		"none":             {Issuer: testIssuer, Keys: keys, Algorithms: []string{"none"}},
		"HS256":            {Issuer: testIssuer, Keys: keys, Algorithms: []string{"HS256"}},
		"optional exp":     {Issuer: testIssuer, Keys: keys, Optional: []string{"exp"}},
		"optional sub":     {Issuer: testIssuer, Keys: keys, Optional: []string{"sub"}},
	} {
		if _, err := NewJWT(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// No refusal repeats what the client sent.
func TestRefusalsHoldNoToken(t *testing.T) {
	token := pair("ES256").sign(`{"alg":"marker","typ":"at+jwt","kid":"marker"}`, `{"marker":"marker","marker":1}`)
	_, err := newTestJWT(t, JWTConfig{}).Introspect(t.Context(), token)
	if err == nil || strings.Contains(err.Error(), "marker") {
		t.Errorf("error = %v", err)
	}
}
