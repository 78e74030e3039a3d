package introspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// jwk writes the public key of s as a JWK, with changes; a nil change removes.
func (s signer) jwk(changes map[string]any) map[string]any {
	jwk := map[string]any{"kid": s.id, "alg": s.algorithm, "use": "sig"}
	switch public := s.private.Public().(type) {
	case *ecdsa.PublicKey:
		point := must(public.Bytes())
		half := len(point) / 2
		maps.Copy(jwk, map[string]any{
			"kty": "EC", "crv": public.Curve.Params().Name, "x": b64(string(point[1 : 1+half])), "y": b64(string(point[1+half:])),
		})
	case ed25519.PublicKey:
		maps.Copy(jwk, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(string(public))})
	case *rsa.PublicKey:
		maps.Copy(jwk, map[string]any{"kty": "RSA", "e": "AQAB", "n": b64(string(public.N.Bytes()))})
	}
	maps.Copy(jwk, changes)
	maps.DeleteFunc(jwk, func(_ string, value any) bool { return value == nil })
	return jwk
}

// jwks writes a key set.
func jwks(keys ...map[string]any) []byte {
	return must(json.Marshal(map[string]any{"keys": keys}))
}

// RFC 7517 §5: every key we can use is found, and verifies.
func TestParseKeySet(t *testing.T) {
	for algorithm, s := range keyPairs() {
		keys, err := ParseKeySet(jwks(s.jwk(map[string]any{"key_ops": []string{"verify"}, "x5t": "ignored"})))
		if err != nil || len(keys) != 1 || keys[0].ID != s.id || keys[0].Algorithm != algorithm {
			t.Fatalf("%s: %+v, %v", algorithm, keys, err)
		}
		j := newTestJWT(t, JWTConfig{Keys: must(NewStaticKeySet(keys...))})
		if _, err := j.Introspect(t.Context(), s.ordinary(nil)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

// RFC 7517 §4.4: alg is optional; what a key without it is for.
func TestParseKeySetWithoutAlgorithm(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "EdDSA", "RS256"} {
		keys, err := ParseKeySet(jwks(pair(algorithm).jwk(map[string]any{"alg": nil, "use": nil})))
		if err != nil || keys[0].Algorithm != algorithm {
			t.Errorf("%s: %+v, %v", algorithm, keys, err)
		}
	}
}

// Keys that are left out of a set, one of which stays usable.
func TestParseKeySetLeavesOut(t *testing.T) {
	ec, ed, rs := pair("ES256"), pair("EdDSA"), pair("RS256")
	small := signer{"small", "RS256", must(rsa.GenerateKey(rand.Reader, 1024))}
	fixed := func(text string) string { return b64(string(must(hex.DecodeString(text)))) }
	for _, test := range []struct {
		must string
		key  map[string]any
	}{
		{"no symmetric key (RFC 8725 §3.1)", map[string]any{"kty": "oct", "k": "AAAA", "kid": "o", "alg": "HS256"}},
		{"no symmetric member", rs.jwk(map[string]any{"k": "AAAA"})},
		{"no symmetric algorithm", rs.jwk(map[string]any{"alg": "HS256"})},
		{"alg none", rs.jwk(map[string]any{"alg": "none"})},
		{"alg null", rs.jwk(map[string]any{"alg": json.RawMessage("null")})},
		{"an algorithm of encryption", rs.jwk(map[string]any{"alg": "RSA-OAEP"})},
		{"alg of another type of key", rs.jwk(map[string]any{"alg": "ES256"})},
		{"alg of another curve (RFC 7518 §3.4)", ec.jwk(map[string]any{"alg": "ES384"})},
		{"a key for encryption (RFC 7517 §4.2)", rs.jwk(map[string]any{"use": "enc"})},
		{"use is a string", rs.jwk(map[string]any{"use": 1})},
		{"key_ops without verify (§4.3)", rs.jwk(map[string]any{"key_ops": []string{"encrypt"}})},
		{"key_ops empty", rs.jwk(map[string]any{"key_ops": []string{}})},
		{"key_ops is an array", rs.jwk(map[string]any{"key_ops": "verify"})},
		{"a published private key", ec.jwk(map[string]any{"d": "AAAA"})},
		{"a published prime", rs.jwk(map[string]any{"p": "AAAA"})},
		{"no kid", ec.jwk(map[string]any{"kid": nil})},
		{"kid empty", ec.jwk(map[string]any{"kid": ""})},
		{"kid a number", ec.jwk(map[string]any{"kid": 1})},
		{"kid too long", ec.jwk(map[string]any{"kid": strings.Repeat("k", 257)})},
		{"kty unknown", ec.jwk(map[string]any{"kty": "XX"})},
		{"kty missing", ec.jwk(map[string]any{"kty": nil})},
		{"RSA of 1024 bits (RFC 7518 §3.3)", small.jwk(nil)},
		{"RSA of 16384 bits", rs.jwk(map[string]any{"n": b64(strings.Repeat("\xff", 2048))})},
		{"RSA with an even modulus", rs.jwk(map[string]any{"n": b64(strings.Repeat("\xfe", 256))})},
		{"RSA with e = 1", rs.jwk(map[string]any{"e": "AQ"})},
		{"RSA with an even exponent", rs.jwk(map[string]any{"e": "AQAA"})},
		{"RSA without exponent", rs.jwk(map[string]any{"e": nil})},
		{"RSA with a huge exponent", rs.jwk(map[string]any{"e": "_____w"})},
		{"base64url with padding", rs.jwk(map[string]any{"e": "AQAB="})},
		{"base64url with bits of no byte, which is not what comes before them", rs.jwk(map[string]any{"n": b64("\xc1"+strings.Repeat("\x01", 260)) + "AB"})},
		{"base64url with a character too many", rs.jwk(map[string]any{"e": "AQABA"})},
		{"EC point not on the curve", ec.jwk(map[string]any{"x": b64(strings.Repeat("\x01", 32))})},
		{"EC coordinate cut", ec.jwk(map[string]any{"x": b64(strings.Repeat("\x01", 31))})},
		{"EC coordinate with a leading zero", ec.jwk(map[string]any{"y": b64(strings.Repeat("\x00", 33))})},
		{"EC curve unknown", ec.jwk(map[string]any{"crv": "secp256k1"})},
		{"OKP curve of key agreement", ed.jwk(map[string]any{"crv": "X25519"})},
		{"Ed25519 of 31 bytes", ed.jwk(map[string]any{"x": b64(strings.Repeat("\x01", 31))})},
		{"Ed25519: y = 0", ed.jwk(map[string]any{"x": fixed(strings.Repeat("00", 32))})},
		{"Ed25519: the neutral point", ed.jwk(map[string]any{"x": fixed("01" + strings.Repeat("00", 31))})},
		{"Ed25519: the neutral point with a sign", ed.jwk(map[string]any{"x": fixed("01" + strings.Repeat("00", 30) + "80")})},
		{"Ed25519: order 2", ed.jwk(map[string]any{"x": fixed("ec" + strings.Repeat("ff", 30) + "7f")})},
		{"Ed25519: order 8", ed.jwk(map[string]any{"x": fixed("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")})},
		{"Ed25519: order 8, the other", ed.jwk(map[string]any{"x": fixed("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")})},
		{"Ed25519: order 8, other sign", ed.jwk(map[string]any{"x": fixed("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa")})},
		{"Ed25519: 1 written as p + 1", ed.jwk(map[string]any{"x": fixed("ee" + strings.Repeat("ff", 30) + "7f")})},
	} {
		t.Run(test.must, func(t *testing.T) {
			keys, err := ParseKeySet(jwks(test.key, pair("ES384").jwk(nil)))
			if err != nil || len(keys) != 1 || keys[0].ID != "K-ES384" {
				t.Errorf("got %+v, %v; want the other key alone", keys, err)
			}
			if keys, err := ParseKeySet(jwks(test.key)); err == nil {
				t.Errorf("alone: got %+v, want an error", keys)
			}
		})
	}
}

// Of two keys with one kid neither is used, in whatever order they come: what a
// token means must not be luck.
func TestParseKeySetRepeatedID(t *testing.T) {
	one, two, other := pair("ES256").jwk(map[string]any{"kid": "K"}), pair("RS256").jwk(map[string]any{"kid": "K"}), pair("EdDSA").jwk(nil)
	set := []map[string]any{one, two, other}
	for range 3 {
		keys, err := ParseKeySet(jwks(set...))
		if err != nil || len(keys) != 1 || keys[0].ID != "K-EdDSA" {
			t.Errorf("got %+v, %v", keys, err)
		}
		set = append(set[1:], set[0])
	}
}

// What is no key set, or more than one should be.
func TestParseKeySetRefuses(t *testing.T) {
	key := string(must(json.Marshal(pair("ES256").jwk(nil))))
	many := slices.Repeat([]map[string]any{{"kty": "EC"}}, 101)
	for name, text := range map[string]string{
		"empty": "", "null": "null", "array": "[" + key + "]", "no keys": "{}", "keys null": `{"keys":null}`,
		"keys object": `{"keys":{}}`, "no key": `{"keys":[]}`, "keys in another case": `{"Keys":[` + key + `]}`,
		"keys twice": `{"keys":[],"keys":[` + key + `]}`, "data after it": `{"keys":[` + key + `]}x`,
		"a member of a key twice": `{"keys":[` + strings.Replace(key, "{", `{"kid":"x",`, 1) + `]}`,
		"101 keys":                string(jwks(many...)),
		"513 KiB":                 `{"keys":[` + key + `]}` + strings.Repeat(" ", 513<<10),
		"HTML":                    "<html></html>",
	} {
		if keys, err := ParseKeySet([]byte(text)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, keys)
		}
	}
}

// A set whose keys cannot be told apart, or do not fit, is not made.
func TestNewStaticKeySetRefuses(t *testing.T) {
	key := pair("ES256").key()
	for name, keys := range map[string][]Key{
		"repeated ID":  {key, key},
		"no ID":        {{"", "ES256", key.Public}},
		"no algorithm": {{"a", "", key.Public}},
		"HS256":        {{"a", "HS256", []byte("secret")}},
		"other type":   {{"a", "RS256", key.Public}},
		"other curve":  {{"a", "ES384", key.Public}},
		"no key":       {{"a", "ES256", nil}},
		"private key":  {{"a", "ES256", pair("ES256").private}},
	} {
		if _, err := NewStaticKeySet(keys...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func ExampleParseKeySet() {
	_, err := ParseKeySet([]byte(`{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}`))
	fmt.Println(err)
	// Output: key set: no usable key
}
