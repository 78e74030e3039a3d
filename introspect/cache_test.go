package introspect

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// countingIntrospector counts the questions that a cache passes on.
type countingIntrospector struct {
	mu     sync.Mutex
	asked  int
	answer func(token string) (*Token, error)
}

func (i *countingIntrospector) Introspect(_ context.Context, token string) (*Token, error) {
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	return i.answer(token)
}

// readPayload trusts every token: it reads the claims and no signature.
func readPayload(t testing.TB) func(string) (*Token, error) {
	j := newTestJWT(t, JWTConfig{})
	return func(token string) (*Token, error) {
		payload, ok := shownClaims(token)
		if !ok {
			return nil, inactive("not a JWT")
		}
		return j.parseClaims(payload)
	}
}

// unsigned makes a token of 500 bytes as this project's issuer does, signature
// aside. It is issued now: made again a second later, it is another token.
func unsigned(n int) string {
	payload := claims(map[string]any{
		"sub": fmt.Sprintf("%036d", n), "jti": fmt.Sprintf("%022d", n), "authorization_id": fmt.Sprintf("%022d", n),
		"client_id": fmt.Sprintf("client-%d", n%40), "scope": "orders:read orders:write offline_access openid",
	})
	return b64(pair("ES256").header()) + "." + b64(payload) + "." + strings.Repeat("A", 86)
}

// A hit tells exactly what the first look did, claims included.
func TestCacheFacts(t *testing.T) {
	j := newTestJWT(t, JWTConfig{Optional: []string{"iat"}})
	next := &countingIntrospector{answer: func(token string) (*Token, error) { return j.Introspect(t.Context(), token) }}
	cache := NewCache(next, 100)
	for _, token := range []string{
		pair("ES256").ordinary(nil),
		pair("ES256").ordinary(map[string]any{
			"scope": nil, "iat": nil, "exp": float64(time.Now().Unix()) + 300.9, "authorization_id": "g",
			"aud": []string{"a", "b"}, "act": map[string]any{"sub": "x", "act": map[string]any{"sub": "y"}}, "extra": []int{1},
		}),
	} {
		want, err := j.Introspect(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		next.asked = 0
		for range 3 {
			if got, err := cache.Introspect(t.Context(), token); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, want)
			}
		}
		if next.asked != 1 {
			t.Errorf("asked %d times, want once", next.asked)
		}
	}
}

// Claims that a token does not show are kept with it.
func TestCacheOpaqueToken(t *testing.T) {
	want := &Token{Subject: "bob", Expiry: time.UnixMicro(4e15), Claims: []byte(`{"a":1}`)}
	next := &countingIntrospector{answer: func(string) (*Token, error) { return want, nil }}
	cache := NewCache(next, 100)
	for range 3 {
		if got, err := cache.Introspect(t.Context(), "opaque"); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if next.asked != 1 {
		t.Errorf("asked %d times, want once", next.asked)
	}
}

// RFC 7519 §4.1.4: a cache never serves past exp.
func TestCacheExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := NewCache(newTestJWT(t, JWTConfig{}), 100)
		token := pair("ES256").ordinary(map[string]any{"exp": time.Now().Unix() + 3})
		for _, wait := range []time.Duration{0, time.Second, 1999 * time.Millisecond} {
			time.Sleep(wait)
			if _, err := cache.Introspect(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
		_, err := cache.Introspect(t.Context(), token)
		wantInactive(t, err, "the token has expired")
		if cache.Len() != 0 {
			t.Error("the expired token still takes a place")
		}
	})
}

// What is not active takes no place.
func TestCacheKeepsNoGarbage(t *testing.T) {
	cache := NewCache(newTestJWT(t, JWTConfig{}), 100)
	for i := range 1000 {
		if _, err := cache.Introspect(t.Context(), unsigned(i)); err == nil {
			t.Fatal("an unsigned token is active")
		}
	}
	if cache.Len() != 0 {
		t.Errorf("Len = %d, want 0", cache.Len())
	}
}

// A token whose text is another one is another token, however near.
func TestCacheKeyIsTheWholeToken(t *testing.T) {
	cache := NewCache(newTestJWT(t, JWTConfig{}), 100)
	token := pair("ES256").ordinary(nil)
	if _, err := cache.Introspect(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{token + "=", token + "A", token[:len(token)-1], nextInLastPlace(token), strings.ToLower(token)} {
		_, err := cache.Introspect(t.Context(), other)
		wantInactive(t, err, "")
	}
}

// Revoked tokens are gone when Forget returns; the others stay.
func TestCacheForget(t *testing.T) {
	next := &countingIntrospector{answer: readPayload(t)}
	cache := NewCache(next, 1000)
	tokens := make([]string, 100)
	for i := range tokens {
		tokens[i] = unsigned(i)
		_ = must(cache.Introspect(t.Context(), tokens[i]))
	}
	cache.Forget(func(token *Token) bool { return token.ClientID == "client-7" })
	if got := cache.Len(); got != 97 {
		t.Errorf("Len = %d, want 97", got)
	}
	next.asked = 0
	_ = must(cache.Introspect(t.Context(), tokens[8]))
	if next.asked != 0 {
		t.Error("a token that was not revoked is forgotten")
	}
	_ = must(cache.Introspect(t.Context(), tokens[47]))
	if next.asked != 1 {
		t.Error("a revoked token is remembered")
	}
	cache.Forget(func(*Token) bool { return true })
	if cache.Len() != 0 || len(cache.shared.sets) != 0 {
		t.Errorf("%d tokens and %d shared facts are left", cache.Len(), len(cache.shared.sets))
	}
}

// A token that was looked up before a revocation is not remembered after it.
func TestCacheForgetDuringLookUp(t *testing.T) {
	next := &countingIntrospector{}
	cache := NewCache(next, 100)
	next.answer = func(token string) (*Token, error) {
		cache.Forget(func(*Token) bool { return true }) // the revocation comes now
		return readPayload(t)(token)
	}
	_ = must(cache.Introspect(t.Context(), unsigned(1)))
	if cache.Len() != 0 {
		t.Error("the answer from before the revocation is remembered")
	}
}

// The number of tokens is bounded, and a flood of distinct ones does not drive
// out those in use.
func TestCacheBound(t *testing.T) {
	next := &countingIntrospector{answer: readPayload(t)}
	cache := NewCache(next, 1024)
	for i := range cache.shards {
		cache.shards[i].readyLimit = 4
	}
	used := unsigned(0)
	for i := range 20_000 {
		token := unsigned(i)
		_ = must(cache.Introspect(t.Context(), token))
		_ = must(cache.Introspect(t.Context(), token))
		if i%5 == 0 {
			_ = must(cache.Introspect(t.Context(), used))
		}
	}
	if got := cache.Len(); got > 1024 || got < 900 {
		t.Errorf("Len = %d, want nearly 1024", got)
	}
	next.asked = 0
	_ = must(cache.Introspect(t.Context(), used))
	if next.asked != 0 {
		t.Error("a token in steady use was driven out")
	}
	for i := range cache.shards {
		shard := &cache.shards[i]
		ready := 0
		for _, record := range shard.records {
			if record.token != nil {
				ready++
			}
		}
		if ready > shard.readyLimit || len(shard.records) > shard.limit {
			t.Fatalf("shard %d: %d ready of %d, %d records of %d", i, ready, shard.readyLimit, len(shard.records), shard.limit)
		}
	}
}

// Facts of unusual size are answered and not remembered.
func TestCacheLargeFacts(t *testing.T) {
	cache := NewCache(&countingIntrospector{answer: readPayload(t)}, 100)
	large := strings.Repeat("x", 800)
	for _, changes := range []map[string]any{
		{"sub": large, "jti": large}, {"aud": []string{large, large}}, {"scope": large + " " + large},
	} {
		_ = must(cache.Introspect(t.Context(), pair("ES256").ordinary(changes)))
	}
	if cache.Len() != 0 {
		t.Errorf("Len = %d, want 0", cache.Len())
	}
}

// Different facts are never taken for shared ones.
func TestSharedNames(t *testing.T) {
	seen := map[string]int{}
	for i, token := range []*Token{
		{}, {Issuer: "a|b", ClientID: "c"}, {Issuer: "a", ClientID: "b|c"}, {Issuer: "ab"}, {ClientID: "ab"}, {Issuer: "a", ClientID: "b"},
		{Audience: []string{"a", "b"}}, {Audience: []string{"ab"}}, {Audience: []string{"a"}, Scope: []string{"b"}}, {Scope: []string{"a", "b"}},
		{Audience: []string{""}}, {Scope: []string{""}}, {Actor: &Actor{}}, {Actor: &Actor{Subject: "a"}}, {Actor: &Actor{Issuer: "a"}},
		{Actor: &Actor{ClientID: "a"}}, {Actor: &Actor{Subject: "a", Actor: &Actor{Subject: "a"}}},
	} {
		name := string(sharedName(token))
		if other, taken := seen[name]; taken {
			t.Errorf("cases %d and %d have one name", other, i)
		}
		seen[name] = i
	}
}

// Many requests at once, under the race detector.
func TestCacheConcurrency(t *testing.T) {
	cache := NewCache(&countingIntrospector{answer: readPayload(t)}, 64)
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = unsigned(i)
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 2000 {
				n := (i*7 + worker*13) % len(tokens)
				token, err := cache.Introspect(t.Context(), tokens[n])
				if err != nil || token.ID != fmt.Sprintf("%022d", n) || !bytes.Contains(token.Claims, []byte(token.ID)) {
					t.Errorf("token %d: %+v, %v", n, token, err)
					return
				}
				if i%500 == 0 {
					cache.Forget(func(token *Token) bool { return token.ClientID == "client-3" })
				}
			}
		})
	}
	group.Wait()
}

// A hit allocates nothing.
func TestCacheHitAllocatesNothing(t *testing.T) {
	cache := NewCache(newTestJWT(t, JWTConfig{}), 100)
	token, ctx := pair("ES256").ordinary(nil), t.Context()
	if n := testing.AllocsPerRun(1000, func() { _ = must(cache.Introspect(ctx, token)) }); n != 0 {
		t.Errorf("%v allocations for a hit, want none", n)
	}
}

// 100,000 tokens fit in 24 MiB.
func TestCacheMemory(t *testing.T) {
	const tokens, budget = 100_000, 24 << 20
	answer := readPayload(t)
	cache := NewCache(&countingIntrospector{answer: answer}, tokens)
	before := heap()
	for i := range tokens {
		token := unsigned(i)
		_ = must(cache.Introspect(t.Context(), token))
		_ = must(cache.Introspect(t.Context(), token)) // and have as many ready as there may be
	}
	used := heap() - before
	t.Logf("%d tokens in %.1f MiB, %d bytes each", cache.Len(), float64(used)/(1<<20), used/int64(cache.Len()))
	if used > budget || cache.Len() < tokens*9/10 {
		t.Errorf("%d tokens take %d bytes, want at most %d", cache.Len(), used, budget)
	}
	runtime.KeepAlive(cache)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Two digests that begin alike are two tokens.
func TestCacheComparesTheWholeDigest(t *testing.T) {
	cache := NewCache(nil, 100)
	shard := &cache.shards[0]
	one, two := cacheKey{31: 1}, cacheKey{31: 2}
	facts := &Token{Subject: "bob", Expiry: time.Now().Add(time.Hour)}
	shard.store(&one, "a", facts, func() bool { return true })
	if shard.find(&one, "a") == nil || shard.find(&two, "b") != nil {
		t.Error("a token was taken for another one")
	}
	shard.store(&two, "b", facts, func() bool { return true })
	if shard.find(&one, "a") != nil || shard.find(&two, "b") == nil || cache.Len() != 1 {
		t.Error("the second of two such tokens did not take the place")
	}
}
