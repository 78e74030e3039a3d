package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// metricNames are the metrics of this module that a text names.
func metricNames(text string) []string {
	found := regexp.MustCompile(`caddy_oauth_[a-z_]+`).FindAllString(text, -1)
	return slices.Compact(slices.Sorted(slices.Values(found)))
}

// exposed is what /metrics of the admin endpoint has: the families, and by name of
// a sample its labels with their values.
type exposed struct {
	families map[string]bool
	samples  map[string][]string
}

func (s *server) exposed() exposed {
	s.t.Helper()
	a := s.send("GET", "http://"+s.admin+"/metrics", "")
	a.want(s.t, http.StatusOK)
	e := exposed{make(map[string]bool), make(map[string][]string)}
	for line := range strings.Lines(a.body) {
		if name, ok := strings.CutPrefix(line, "# TYPE caddy_oauth_"); ok {
			name, _, _ = strings.Cut(name, " ")
			e.families["caddy_oauth_"+name] = true
		}
		if strings.HasPrefix(line, "caddy_oauth_") {
			name := line[:strings.IndexAny(line, "{ ")]
			e.samples[name] = append(e.samples[name], strings.TrimSpace(line[len(name):]))
		}
	}
	return e
}

// sample returns the sample of a metric whose labels have all of the parts.
func (e exposed) sample(t testing.TB, name string, parts ...string) string {
	t.Helper()
	for _, sample := range e.samples[name] {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(sample, part) }) {
			return sample[strings.LastIndex(sample, " ")+1:]
		}
	}
	t.Errorf("no sample of %s has %q: %q", name, parts, e.samples[name])
	return ""
}

// TestMetrics: after some traffic of every kind a running server has every metric
// that the documentation and the dashboard name, and no other; what it counts is
// what was done; and no label has a value that a stranger could choose.
func TestMetrics(t *testing.T) {
	b := startBackend(t)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusTeapot) }))
	t.Cleanup(silent.Close)
	s := start(t, gateWith("issuer $GATE", "trusted_issuer "+silent.URL, "scope * api:read"), b.address)
	before := s.exposed()
	if _, ours := before.samples["caddy_oauth_tokens_issued_total"]; !ours {
		t.Error("an issuer has no counters before the first token: rates begin too late")
	}

	token := s.appToken()
	for range 3 {
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	}
	s.send("GET", "/api/x", "", bearer("x.y.z")).want(t, 401)
	foreign := issuerKey(t, s.url)
	s.send("GET", "/api/x", "", bearer(foreign.sign(foreign.header(nil), goodClaims(silent.URL, map[string]any{"aud": s.url + "/api"})))).want(t, 503)
	stranger := "a-stranger"
	s.tokenRequest(stranger, canary).want(t, 401)
	s.tokenRequest("app", appSecret, "scope="+stranger).want(t, 400)
	s.send("POST", "/token", "grant_type="+stranger, basic("app", appSecret), "Content-Type: application/x-www-form-urlencoded").want(t, 400)

	e := s.exposed()
	issuer := `issuer="` + s.url + `"`
	for _, want := range []struct {
		name, value string
		labels      []string
	}{
		{"caddy_oauth_tokens_issued_total", "1", []string{issuer, `grant_type="client_credentials"`}},
		{"caddy_oauth_tokens_issued_total", "0", []string{issuer, `grant_type="refresh_token"`}},
		{"caddy_oauth_tokens_refused_total", "1", []string{issuer, `error="invalid_client"`, `grant_type="client_credentials"`}},
		{"caddy_oauth_tokens_refused_total", "1", []string{issuer, `error="invalid_scope"`}},
		{"caddy_oauth_tokens_refused_total", "1", []string{issuer, `error="unsupported_grant_type"`, `grant_type="unknown"`}},
		{"caddy_oauth_token_cache_lookups_total", "2", []string{issuer, `outcome="hit"`}},
		{"caddy_oauth_token_cache_lookups_total", "1", []string{issuer, `outcome="miss"`}},
		{"caddy_oauth_token_verification_seconds_count", "1", []string{issuer, `outcome="active"`}},
		{"caddy_oauth_token_verification_seconds_count", "1", []string{silent.URL, `outcome="unavailable"`}},
		{"caddy_oauth_foreign_issuer_last_success_timestamp_seconds", "0", []string{silent.URL}},
		{"caddy_oauth_refresh_tokens_reused_total", "0", []string{issuer}},
		{"caddy_oauth_logins_failed_total", "0", []string{issuer, `reason="password"`}},
		{"caddy_oauth_storage_up", "1", nil},
		{"caddy_oauth_storage_queue_length", "0", nil},
		{"caddy_oauth_gate_live_requests", "0", nil},
	} {
		if got := e.sample(t, want.name, want.labels...); got != want.value {
			t.Errorf("%s%q is %s, want %s", want.name, want.labels, got, want.value)
		}
	}
	if e.sample(t, "caddy_oauth_foreign_issuer_failures_total", silent.URL) == "0" {
		t.Error("an issuer that answers 418 has no failures")
	}
	if e.sample(t, "caddy_oauth_storage_update_seconds_count") == "0" {
		t.Error("nothing was written, says the metric")
	}
	for name, samples := range e.samples {
		if strings.Contains(strings.Join(samples, ""), stranger) || strings.Contains(strings.Join(samples, ""), `"app"`) {
			t.Errorf("%s names a client: %q", name, samples)
		}
	}
	documented(t, e)
}

// documented holds docs/metrics.md and the dashboard against what there is.
func documented(t *testing.T, e exposed) {
	t.Helper()
	manual, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	dashboard, err := os.ReadFile("../docs/grafana-dashboard.json")
	if err != nil || !json.Valid(dashboard) {
		t.Fatalf("the dashboard is no JSON: %v", err)
	}
	for what, text := range map[string]string{"docs/metrics.md": string(manual), "the dashboard": string(dashboard)} {
		names := metricNames(text)
		for _, name := range names {
			if !e.families[name] && e.samples[name] == nil {
				t.Errorf("%s names %s, which no server has", what, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(e.families)) {
			if !slices.ContainsFunc(names, func(named string) bool { return named == name || strings.HasPrefix(named, name+"_") }) {
				t.Errorf("%s does not name %s", what, name)
			}
		}
	}
}

// TestLiveRequestsAreCounted: a response that goes on is one, until it ends.
func TestLiveRequestsAreCounted(t *testing.T) {
	live := takeLiveRequests()
	t.Cleanup(func() {
		if err := giveLiveRequestsBack(); err != nil {
			t.Error(err)
		}
	})
	var going [3]*visit
	before := liveNow()
	for n := range going {
		going[n] = &visit{token: new(introspect.Token), source: new(source)}
		live.add(going[n], httptest.NewRecorder(), 0)
	}
	if n := liveNow() - before; n != len(going) {
		t.Errorf("%d go on, want %d", n, len(going))
	}
	for _, v := range going {
		live.remove(v)
	}
	if n := liveNow() - before; n != 0 {
		t.Errorf("%d go on after their end", n)
	}
}
