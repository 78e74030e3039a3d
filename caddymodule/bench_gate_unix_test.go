//go:build unix

package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

// processorTime is what this process has used of the processors, in its own code
// and in the kernel.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
