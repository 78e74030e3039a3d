package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkGate compares a plain reverse_proxy with one behind a gate, over real
// sockets. The three run in turns, so that what else the machine does is shared
// by all; docs/benchmarks.md says how to read it.
func BenchmarkGate(b *testing.B) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer backend.Close()
	text := strings.Replace(usualCaddyfile, "\toauth_issuer\n", "\toauth_issuer\n\treverse_proxy /plain/* $BACKEND\n", 1)
	s := start(b, text, strings.TrimPrefix(backend.URL, "http://"))
	one := []string{s.appToken()}
	many := s.forgeMany(10_000)

	const turns, requests, connections = 5, 10_000, 16
	runs := []struct {
		name, path string
		tokens     []string
		taken, cpu time.Duration
	}{{name: "plain", path: "/plain/x"}, {name: "one-token", path: "/api/x", tokens: one}, {name: "10000-tokens", path: "/api/x", tokens: many}}
	for b.Loop() {
		for turn := range turns + 1 {
			for n := range runs {
				r := &runs[n]
				taken, cpu := s.fire(b, r.path, r.tokens, requests, connections)
				if turn > 0 { // the first turn warms up
					r.taken, r.cpu = r.taken+taken, r.cpu+cpu
				}
			}
		}
	}
	total := float64(turns * requests * b.N)
	for _, r := range runs {
		b.ReportMetric(total/r.taken.Seconds(), r.name+"-req/s")
		b.ReportMetric(float64(r.cpu.Nanoseconds())/total, r.name+"-cpu-ns/req")
		b.ReportMetric(runs[0].taken.Seconds()/r.taken.Seconds(), r.name+"-throughput-ratio")
		b.ReportMetric(float64(r.cpu)/float64(runs[0].cpu), r.name+"-cpu-ratio")
	}
	b.ReportMetric(0, "ns/op")
}

// forgeMany signs distinct tokens.
func (s *server) forgeMany(n int) []string {
	s.t.Helper()
	ring, now := signingRing(s.t, s.url), time.Now().Unix()
	tokens := make([]string, n)
	for i := range tokens {
		claims := fmt.Sprintf(`{"iss":%q,"sub":"app","aud":%q,"client_id":"app","scope":"api:read","iat":%d,"exp":%d,"jti":"bench-%d"}`,
			s.url, s.url+"/api", now, now+3600, i)
		token, err := ring.Sign("at+jwt", []byte(claims))
		if err != nil {
			s.t.Fatal(err)
		}
		tokens[i] = token
	}
	return tokens
}

// fire sends requests over some connections and returns the time it took and the
// processor time of this process, client and backend included.
func (s *server) fire(b *testing.B, path string, tokens []string, requests, connections int) (taken, cpu time.Duration) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	begun, used := time.Now(), processorTime(b)
	var group sync.WaitGroup
	for c := range connections {
		group.Go(func() {
			for n := c; n < requests; n += connections {
				request, err := http.NewRequest("GET", s.url+path, nil)
				if err != nil {
					b.Error(err)
					return
				}
				if len(tokens) > 0 {
					request.Header.Set("Authorization", "Bearer "+tokens[n%len(tokens)])
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != 200 {
					b.Errorf("status %d", response.StatusCode)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(begun), processorTime(b) - used
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// warmGate is a gate with a token that it has seen, a request that shows the
// token, and a handler behind it that does nothing.
func warmGate(tb testing.TB) (p *Protect, request func() *http.Request, next caddyhttp.Handler) {
	s := start(tb, usualCaddyfile, "127.0.0.1:9")
	p = &Protect{Policy: Policy{
		Resource:   s.url + "/api",
		ScopeRules: []ScopeRule{{Methods: []string{"GET"}, Scopes: []string{"api:read"}}},
	}}
	if err := p.Provision(caddy.ActiveContext()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Cleanup(); err != nil {
			tb.Error(err)
		}
	})
	authorization := []string{"Bearer " + s.appToken()}
	header := http.Header{"Accept": {"*/*"}, "User-Agent": {"test"}, "Accept-Encoding": {"gzip"}}
	r := httptest.NewRequest("GET", "/api/x", nil).WithContext(context.Background())
	r.Header = header
	request = func() *http.Request {
		header["Authorization"] = authorization
		return r
	}
	return p, request, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
}

// gateAllocations is what the gate may allocate for a request with a token that
// it has seen: the values of the headers, and the text of their scopes.
const gateAllocations = 2

// TestGateAllocations fails when a request costs more than it did.
func TestGateAllocations(t *testing.T) {
	p, request, next := warmGate(t)
	w := httptest.NewRecorder()
	got := testing.AllocsPerRun(1000, func() {
		if err := p.ServeHTTP(w, request(), next); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%g allocations per request", got)
	if got > gateAllocations {
		t.Errorf("%g allocations per request, want at most %d", got, gateAllocations)
	}
}

// BenchmarkGateAlone is the gate's own work for such a request, without Caddy
// and without sockets.
func BenchmarkGateAlone(b *testing.B) {
	p, request, next := warmGate(b)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.ServeHTTP(w, request(), next); err != nil {
			b.Fatal(err)
		}
	}
}
