package introspect

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeServer answers requests without a socket, so that time can be bent.
type fakeServer struct {
	mu     sync.Mutex
	asked  int
	answer func(*http.Request) (status int, body []byte)
	delay  time.Duration
}

func (f *fakeServer) RoundTrip(request *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.asked++
	answer, delay := f.answer, f.delay
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-request.Context().Done():
		return nil, request.Context().Err()
	}
	status, body := answer(request)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), Request: request,
	}, nil
}

// set changes the answers.
func (f *fakeServer) set(status int, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = func(*http.Request) (int, []byte) { return status, body }
}

func (f *fakeServer) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func newTestRemoteKeySet(t *testing.T, server *fakeServer) *RemoteKeySet {
	set := must(NewRemoteKeySet(RemoteKeySetConfig{URL: "https://as.test/jwks", Transport: server}))
	t.Cleanup(func() { set.Close() })
	return set
}

func wantKey(t *testing.T, set KeySet, kid string, want error) {
	t.Helper()
	key, err := set.Key(t.Context(), kid)
	if !errors.Is(err, want) || (err == nil) != (key != nil && key.ID == kid) {
		t.Errorf("Key(%q) = %+v, %v; want %v", kid, key, err, want)
	}
}

// Whatever unknown keys are asked for, 30 seconds lie between two fetches, and
// known keys go on.
func TestRemoteKeySetCoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{}
		server.set(200, jwks(pair("ES256").jwk(nil)))
		set := newTestRemoteKeySet(t, server)
		for i := range 3000 {
			wantKey(t, set, fmt.Sprint("random-", i), ErrUnknownKey)
			wantKey(t, set, "K-ES256", nil)
			time.Sleep(20 * time.Millisecond)
		}
		if got := server.count(); got > 3 {
			t.Errorf("%d fetches in 60 s, want at most 3", got)
		}
	})
}

// It does so when the issuer fails or has no key; then nothing can be told.
func TestRemoteKeySetColdStart(t *testing.T) {
	for name, body := range map[string][]byte{
		"empty set": []byte(`{"keys":[]}`), "not JSON": []byte("<html>"), "symmetric": []byte(`{"keys":[{"kty":"oct","kid":"K-ES256","k":"AA"}]}`),
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeServer{}
			server.set(200, body)
			set := newTestRemoteKeySet(t, server)
			for range 59 {
				wantKey(t, set, "K-ES256", ErrUnavailable)
				time.Sleep(time.Second)
			}
			if got := server.count(); got != 2 {
				t.Errorf("%s: %d fetches in 59 s, want 2", name, got)
			}
			server.set(200, jwks(pair("ES256").jwk(nil)))
			time.Sleep(keysCoolDown)
			wantKey(t, set, "K-ES256", nil)
		})
	}
}

// A new key is found after one fetch, as soon as the cool-down allows one.
func TestRemoteKeySetRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{}
		server.set(200, jwks(pair("ES256").jwk(nil)))
		withdrawn := 0
		set := newTestRemoteKeySet(t, server)
		set.config.Withdrawn = func() { withdrawn++ }
		wantKey(t, set, "K-ES256", nil)
		server.set(200, jwks(pair("ES256").jwk(nil), pair("EdDSA").jwk(nil)))
		wantKey(t, set, "K-EdDSA", ErrUnknownKey)
		time.Sleep(keysCoolDown)
		wantKey(t, set, "K-EdDSA", nil)
		wantKey(t, set, "K-ES256", nil)
		if withdrawn != 0 {
			t.Error("an added key was reported as withdrawn")
		}
		// Other material under the same kid is a withdrawal too.
		server.set(200, jwks(pair("ES384").jwk(map[string]any{"kid": "K-ES256"})))
		time.Sleep(keysRefreshAge)
		wantKey(t, set, "K-ES256", nil)
		synctest.Wait()
		wantKey(t, set, "K-EdDSA", ErrUnknownKey)
		if withdrawn != 1 {
			t.Errorf("withdrawn %d times, want once", withdrawn)
		}
	})
}

// The last good set goes on while the issuer fails, and no longer than stated.
func TestRemoteKeySetOutage(t *testing.T) {
	for _, body := range []string{`{"keys":[]}`, `{"keys":`, ``, strings.Repeat(" ", 600<<10)} {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeServer{}
			server.set(200, jwks(pair("ES256").jwk(nil)))
			set := newTestRemoteKeySet(t, server)
			wantKey(t, set, "K-ES256", nil)
			server.set(200, []byte(body))
			for range 23 {
				time.Sleep(time.Hour)
				wantKey(t, set, "K-ES256", nil)
				synctest.Wait()
			}
			time.Sleep(time.Hour)
			wantKey(t, set, "K-ES256", ErrUnavailable)
		})
	}
}

// Whatever the issuer publishes when its keys are fetched again, a set without a
// usable key never takes the place of a good one, and the good one is fetched
// for no more often.
func TestRemoteKeySetKeepsGoodSet(t *testing.T) {
	key := pair("ES256").jwk(nil)
	many := make([]map[string]any, 10_000)
	for i := range many {
		many[i] = key
	}
	for name, body := range map[string][]byte{
		"nothing":       nil,
		"HTML":          []byte("<html>Please sign in</html>"),
		"no keys":       []byte(`{"keys":[]}`),
		"keys: null":    []byte(`{"keys":null}`),
		"another shape": []byte(`[]`),
		"symmetric key": []byte(`{"keys":[{"kty":"oct","kid":"K-ES256","alg":"HS256","k":"AAAA"}]}`),
		"one kid twice": jwks(key, pair("ES256").jwk(nil)),
		"private key":   jwks(pair("ES256").jwk(map[string]any{"d": "AAAA"})),
		"10,000 keys":   jwks(many...),
		"1 MiB":         append(jwks(key), bytes.Repeat([]byte(" "), 1<<20)...),
		"cut off":       jwks(key)[:40],
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeServer{}
			server.set(200, jwks(key))
			set := newTestRemoteKeySet(t, server)
			wantKey(t, set, "K-ES256", nil)
			server.set(200, body)
			for range 10 {
				time.Sleep(keysCoolDown)
				wantKey(t, set, "unknown", ErrUnavailable) // the fetch failed: it may be there by now
				wantKey(t, set, "K-ES256", nil)
			}
			if got := server.count(); got != 11 {
				t.Errorf("%s: %d fetches in 300 s, want 11", name, got)
			}
		})
	}
}

// One fetch serves all who wait, none of them longer than two seconds, and who
// knows the key does not wait at all.
func TestRemoteKeySetSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{delay: time.Hour}
		server.set(200, jwks(pair("ES256").jwk(nil)))
		set := newTestRemoteKeySet(t, server)
		start := time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { wantKey(t, set, "K-ES256", ErrUnavailable) })
		}
		group.Wait()
		if waited := time.Since(start); waited != requestWait || server.count() != 1 {
			t.Errorf("waited %v for %d fetches", waited, server.count())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := set.Key(ctx, "K-ES256"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a request that has ended: %v", err)
		}
	})
}

// Close ends a fetch.
func TestRemoteKeySetClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{delay: time.Hour}
		set := newTestRemoteKeySet(t, server)
		wantKey(t, set, "K", ErrUnavailable)
		set.Close()
		synctest.Wait()
		time.Sleep(time.Hour)
		wantKey(t, set, "K", ErrUnavailable)
		if server.count() != 1 {
			t.Error("a closed set fetches")
		}
	})
}

// Over real sockets: an issuer with metadata, and answers that must be refused.
func TestRemoteKeySetSockets(t *testing.T) {
	good := jwks(pair("ES256").jwk(nil))
	for _, test := range []struct {
		must   string
		answer http.HandlerFunc
		want   error
	}{
		{"a key set is found", func(w http.ResponseWriter, _ *http.Request) { w.Write(good) }, nil},
		{"no redirect is followed", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/jwks" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			w.Write(good)
		}, ErrUnavailable},
		{"only 200", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); w.Write(good) }, ErrUnavailable},
		{"512 KiB at most", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(good)
			for range 300 << 10 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
					return
				}
			}
		}, ErrUnavailable},
		{"no compressed bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(good)
			z.Close()
		}, ErrUnavailable},
		{"100 keys at most", func(w http.ResponseWriter, _ *http.Request) {
			keys := make([]map[string]any, 10_000)
			for i := range keys {
				keys[i] = map[string]any{"kty": "EC"}
			}
			w.Write(jwks(append(keys, pair("ES256").jwk(nil))...))
		}, ErrUnavailable},
	} {
		t.Run(test.must, func(t *testing.T) {
			var issuer string
			mux := http.NewServeMux()
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": issuer + "/jwks"})
			})
			mux.HandleFunc("/jwks", test.answer)
			mux.HandleFunc("/elsewhere", test.answer)
			server := httptest.NewServer(mux)
			defer server.Close()
			issuer = server.URL
			set := must(NewRemoteKeySet(RemoteKeySetConfig{Issuer: issuer}))
			defer set.Close()
			wantKey(t, set, "K-ES256", test.want)
		})
	}
}

// RFC 8414 §3.3, §2; where the documents are: §3.1, OpenID Connect Discovery §4.
func TestMetadata(t *testing.T) {
	document := func(text string) func(*http.Request) (int, []byte) {
		return func(*http.Request) (int, []byte) { return 200, []byte(text) }
	}
	at := func(location, text string) func(*http.Request) (int, []byte) {
		return func(r *http.Request) (int, []byte) {
			if r.URL.String() != location {
				return 404, nil
			}
			return 200, []byte(text)
		}
	}
	for _, test := range []struct {
		must, issuer string
		answer       func(*http.Request) (int, []byte)
		jwks         string // "" for a refusal
	}{
		{"at the root", "https://as.test", at("https://as.test/.well-known/oauth-authorization-server", `{"issuer":"https://as.test","jwks_uri":"https://cdn.test/k"}`), "https://cdn.test/k"},
		{"path inserted", "https://as.test/t1", at("https://as.test/.well-known/oauth-authorization-server/t1", `{"issuer":"https://as.test/t1","jwks_uri":"https://as.test/k"}`), "https://as.test/k"},
		{"path appended", "https://as.test/t1/", at("https://as.test/t1/.well-known/openid-configuration", `{"issuer":"https://as.test/t1/","jwks_uri":"https://as.test/k"}`), "https://as.test/k"},
		{"this machine", "http://127.0.0.1:9", document(`{"issuer":"http://127.0.0.1:9","jwks_uri":"http://[::1]/k"}`), "http://[::1]/k"},

		{"issuer with a slash", "https://as.test", document(`{"issuer":"https://as.test/","jwks_uri":"https://as.test/k"}`), ""},
		{"issuer in another case", "https://as.test", document(`{"issuer":"https://AS.test","jwks_uri":"https://as.test/k"}`), ""},
		{"issuer missing", "https://as.test", document(`{"jwks_uri":"https://as.test/k"}`), ""},
		{"issuer twice", "https://as.test", document(`{"issuer":"https://evil.test","issuer":"https://as.test","jwks_uri":"https://as.test/k"}`), ""},
		{"keys over http", "https://as.test", document(`{"issuer":"https://as.test","jwks_uri":"http://as.test/k"}`), ""},
		{"keys on our machine", "https://as.test", document(`{"issuer":"https://as.test","jwks_uri":"http://127.0.0.1/k"}`), ""},
		{"keys in a file", "https://as.test", document(`{"issuer":"https://as.test","jwks_uri":"file:///etc/passwd"}`), ""},
		{"keys not a string", "https://as.test", document(`{"issuer":"https://as.test","jwks_uri":1}`), ""},
		{"credentials in a URL", "https://as.test", document(`{"issuer":"https://as.test","token_endpoint":"https://a:b@as.test/"}`), ""},
		{"issuer over http", "http://as.test", document(`{"issuer":"http://as.test","jwks_uri":"https://as.test/k"}`), ""},
		{"issuer with a query", "https://as.test?x", document(`{"issuer":"https://as.test?x","jwks_uri":"https://as.test/k"}`), ""},
		{"no URL", "as.test", document(`{"issuer":"as.test"}`), ""},
	} {
		t.Run(test.must, func(t *testing.T) {
			metadata, err := FetchMetadata(t.Context(), test.issuer, &fakeServer{answer: test.answer})
			if test.jwks == "" {
				if err == nil {
					t.Errorf("got %+v, want a refusal", metadata)
				}
				return
			}
			if err != nil || metadata.JWKSURI != test.jwks || metadata.Issuer != test.issuer {
				t.Errorf("got %+v, %v", metadata, err)
			}
		})
	}
}

// What a key has verified is believed no longer than the key: one that is withdrawn
// is heard of within the hour, and one that cannot be asked for is not trusted after
// a day, though nobody shows a token that is not remembered.
func TestRememberedNoLongerThanKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{}
		server.set(200, jwks(pair("ES256").jwk(nil)))
		var cache *Cache
		set := newTestRemoteKeySet(t, server)
		set.config.Withdrawn = func() { cache.Forget(func(*Token) bool { return true }) }
		cache = NewCache(newTestJWT(t, JWTConfig{Keys: set}), 100)
		cache.While(set.Fresh)
		week := pair("ES256").ordinary(map[string]any{"exp": time.Now().Add(7 * 24 * time.Hour).Unix()})
		judge := func(want error, when string) {
			t.Helper()
			if _, err := cache.Introspect(t.Context(), week); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
			synctest.Wait() // for a fetch that this has begun
		}
		judge(nil, "at first")
		judge(nil, "from memory")
		if hits, _ := cache.Lookups(); hits != 1 || server.count() != 1 {
			t.Fatalf("%d hits, %d fetches", hits, server.count())
		}

		time.Sleep(keysRefreshAge)
		server.set(503, nil)
		judge(nil, "nobody answers for the keys")
		time.Sleep(keysMaxAge - keysRefreshAge - time.Minute)
		judge(nil, "nobody has answered for a day")
		time.Sleep(time.Minute)
		judge(ErrUnavailable, "nor after it")
		server.set(200, jwks(pair("ES256").jwk(nil)))
		time.Sleep(keysCoolDown)
		judge(nil, "they are there again")

		server.set(200, jwks(pair("EdDSA").jwk(nil)))
		time.Sleep(keysRefreshAge)
		judge(nil, "the key was withdrawn, and nobody has asked yet")
		judge(ErrInactive, "the key was withdrawn")
	})
}
