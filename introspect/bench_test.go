package introspect

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"
)

func BenchmarkCacheHit(b *testing.B) {
	cache := NewCache(newTestJWT(b, JWTConfig{}), 1000)
	token, ctx := pair("ES256").ordinary(nil), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_ = must(cache.Introspect(ctx, token))
	}
}

// A hit on a token that is remembered but not kept ready.
func BenchmarkCacheHitRestored(b *testing.B) {
	cache := NewCache(&countingIntrospector{answer: readPayload(b)}, 100_000)
	tokens := make([]string, 50_000)
	for i := range tokens {
		tokens[i] = unsigned(i)
		_ = must(cache.Introspect(b.Context(), tokens[i]))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_ = must(cache.Introspect(b.Context(), tokens[i%len(tokens)]))
		i++
	}
}

func BenchmarkJWT(b *testing.B) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256", "PS256"} {
		b.Run(algorithm, func(b *testing.B) {
			j, token := newTestJWT(b, JWTConfig{}), pair(algorithm).ordinary(nil)
			b.ReportAllocs()
			for b.Loop() {
				_ = must(j.Introspect(b.Context(), token))
			}
		})
	}
}

// The part of BenchmarkJWT/ES256 that nothing can save.
func BenchmarkBareES256(b *testing.B) {
	token := pair("ES256").ordinary(nil)
	end := strings.LastIndexByte(token, '.')
	signed, signature := []byte(token[:end]), must(base64url.DecodeString(token[end+1:]))
	public := pair("ES256").private.Public().(*ecdsa.PublicKey)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(signed)
		if !ecdsa.Verify(public, digest[:], r, s) {
			b.Fatal("does not verify")
		}
	}
}
