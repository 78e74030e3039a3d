package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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
