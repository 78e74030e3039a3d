package introspect

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"
)

// testIssuer is the issuer of all tokens here.
const testIssuer = "https://as.test"

// signer makes tokens out of any bytes: it checks nothing that it signs.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

// keyPairs holds one key for each algorithm; RSA keys are slow to make.
var keyPairs = sync.OnceValue(func() map[string]signer {
	pairs := make(map[string]signer)
	for algorithm, curve := range map[string]elliptic.Curve{
		"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521(),
	} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		pairs[algorithm] = signer{"K-" + algorithm, algorithm, private}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	pairs["EdDSA"] = signer{"K-EdDSA", "EdDSA", private}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	for _, algorithm := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		pairs[algorithm] = signer{"K-" + algorithm, algorithm, rsaKey}
	}
	return pairs
})

// pair returns the key for an algorithm.
func pair(algorithm string) signer { return keyPairs()[algorithm] }

func (s signer) key() Key { return Key{s.id, s.algorithm, s.private.Public()} }

// header returns the header of an ordinary token as JSON.
func (s signer) header() string {
	return fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, s.algorithm, s.id)
}

// sign makes a token of any header and any payload.
func (s signer) sign(header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(string(s.signature(signed)))
}

func (s signer) signature(signed string) []byte {
	algorithm := algorithmNamed(s.algorithm)
	if algorithm.hash == 0 {
		return must(s.private.Sign(rand.Reader, []byte(signed), crypto.Hash(0)))
	}
	h := algorithm.hash.New()
	h.Write([]byte(signed))
	digest := h.Sum(nil)
	switch private := s.private.(type) {
	case *ecdsa.PrivateKey:
		r, sv, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			panic(err)
		}
		return rawSignature(r, sv, algorithm.sigBytes)
	case *rsa.PrivateKey:
		if algorithm.pss {
			return must(rsa.SignPSS(rand.Reader, private, algorithm.hash, digest,
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, private, algorithm.hash, digest))
	}
	panic("unknown key")
}

func rawSignature(r, s *big.Int, size int) []byte {
	signature := make([]byte, size)
	r.FillBytes(signature[:size/2])
	s.FillBytes(signature[size/2:])
	return signature
}

// claims are those of an ordinary token, with changes; a nil change removes.
func claims(changes map[string]any) string {
	now := time.Now().Unix()
	all := map[string]any{
		"iss": testIssuer, "sub": "bob", "aud": "https://api.test", "client_id": "web",
		"jti": "j-1", "iat": now, "exp": now + 300, "scope": "read write",
	}
	maps.Copy(all, changes)
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	return string(must(json.Marshal(all)))
}

// ordinary makes the token of all defaults, with changed claims.
func (s signer) ordinary(changes map[string]any) string { return s.sign(s.header(), claims(changes)) }

// newTestJWT verifies tokens of every key pair.
func newTestJWT(t testing.TB, config JWTConfig) *JWT {
	t.Helper()
	config.Issuer = testIssuer
	if config.Keys == nil {
		config.Keys = testKeySet()
	}
	j, err := NewJWT(config)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func testKeySet() *StaticKeySet {
	var keys []Key
	for _, s := range keyPairs() {
		keys = append(keys, s.key())
	}
	return must(NewStaticKeySet(keys...))
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
