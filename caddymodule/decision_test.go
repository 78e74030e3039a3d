package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// logLine is what a gate logs of a refusal, and Caddy of an access.
type logLine struct {
	Logger    string `json:"logger"`
	Level     string `json:"level"`
	Message   string `json:"msg"`
	RequestID string `json:"request_id"`
	UUID      string `json:"uuid"`
	Status    int    `json:"status"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	ClientIP  string `json:"client_ip"`
	DecidedBy string `json:"decided_by"`
	Subject   string `json:"subject"`
	ClientID  string `json:"client_id"`
	Needed    string `json:"needed_scope"`
	NotLogged int    `json:"not_logged_before"`
}

// logged returns the lines of the log for which a condition holds.
func (s *server) logged(holds func(logLine) bool) (all []logLine) {
	for line := range strings.Lines(s.log()) {
		var l logLine
		if json.Unmarshal([]byte(line), &l) == nil && holds(l) {
			all = append(all, l)
		}
	}
	return all
}

func isRefusal(l logLine) bool {
	return strings.HasSuffix(l.Logger, "oauth_protect") && strings.Contains(l.Message, "refused")
}

// counted is how many decisions the metrics have, as an operator reads them.
func (s *server) counted(outcome, mode string) int {
	s.t.Helper()
	name := fmt.Sprintf(`caddy_oauth_gate_decisions_total{mode=%q,outcome=%q} `, mode, outcome)
	for line := range strings.Lines(s.send("GET", "http://"+s.admin+"/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// TestOptional: who shows no token passes as nobody; who shows one is judged.
func TestOptional(t *testing.T) {
	b := startBackend(t)
	s := start(t, gateWith("optional", "scope GET api:read"), b.address)
	before := s.counted("anonymous", "enforced")
	for _, test := range []struct {
		must    string
		headers []string
		status  int
		subject []string
	}{
		{"no token: nobody calls, whatever the request says", []string{"X-Auth-Subject: " + evil, "x_auth.client: " + evil, "Remote-User: " + evil}, 200, nil},
		{"another scheme is no token, and the API's own business", []string{basic("app", appSecret)}, 200, nil},
		{"a good token", []string{bearer(s.forge("at+jwt", nil)), "X-Auth-Subject: " + evil}, 200, []string{"app"}},
		{"a bad token is refused: its owner would take the answer for theirs", []string{bearer("bad")}, 401, nil},
		{"an expired one", []string{bearer(s.forge("at+jwt", map[string]any{"exp": time.Now().Unix() - 1}))}, 401, nil},
		{"two tokens", []string{bearer("one"), bearer("two")}, 400, nil},
		{"a token without the scope", []string{bearer(s.forge("at+jwt", map[string]any{"scope": "other"}))}, 403, nil},
		{"a token for another API", []string{bearer(s.forge("at+jwt", map[string]any{"aud": "https://other.example"}))}, 401, nil},
	} {
		t.Run(test.must, func(t *testing.T) {
			s.send("GET", "/api/x", "", test.headers...).want(t, test.status)
			if test.status != 200 {
				b.none(t)
				return
			}
			got := b.one(t)
			if subject := fields(got, "X-Auth-Subject"); !slices.Equal(subject, test.subject) {
				t.Errorf("X-Auth-Subject %q, want %q", subject, test.subject)
			}
			if strings.Contains(got, evil) {
				t.Errorf("what the client says about itself reaches the backend: %q", got)
			}
		})
	}
	s.send("GET", "/api/a;b", "").want(t, 400) // what no token makes acceptable
	b.none(t)
	if counted := s.counted("anonymous", "enforced") - before; counted != 2 {
		t.Errorf("%d anonymous requests are counted, want 2", counted)
	}
}

// TestReportOnly: nothing is refused; the log and the metrics say what would have
// been, and what a stranger says about the caller is gone all the same.
func TestReportOnly(t *testing.T) {
	b := startBackend(t)
	s := start(t, gateWith("report_only", "scope GET api:read", "identity_header X-Mail email"), b.address)
	good := s.forge("at+jwt", map[string]any{"email": "a@example.com"})
	for _, test := range []struct {
		must, path, outcome, reason string
		headers                     []string
		mail                        []string
	}{
		{"no token", "/api/1", "no_token", "", nil, nil},
		{"a bad token", "/api/2", "invalid_token", "invalid_token: the token is not a signed JWT", []string{bearer("bad")}, nil},
		{"a token for another API", "/api/3", "invalid_token", "another resource", []string{bearer(s.forge("at+jwt", map[string]any{"aud": "https://x", "email": evil}))}, nil},
		{"a token without the scope", "/api/4", "insufficient_scope", "lacks the scope api:read", []string{bearer(s.forge("at+jwt", map[string]any{"scope": nil, "email": evil}))}, nil},
		{"an ambiguous path", "/api/a;5", "bad_target", "path_parameter", []string{bearer(good)}, nil},
		{"a good token", "/api/6", "passed", "", []string{bearer(good)}, []string{"a@example.com"}},
	} {
		t.Run(test.must, func(t *testing.T) {
			before := s.counted(test.outcome, "reported")
			a := s.send("GET", test.path, "", append(test.headers, "X-Mail: "+evil, "x_mail: "+evil)...)
			a.want(t, 200)
			if challenge := a.Header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("a request that passes is challenged: %s", challenge)
			}
			got := b.one(t)
			if strings.Contains(got, evil) {
				t.Errorf("a stranger tells the API who calls: %q", got)
			}
			if mail := fields(got, "X-Mail"); !slices.Equal(mail, test.mail) {
				t.Errorf("X-Mail %q, want %q", mail, test.mail)
			}
			var sent []string
			for _, h := range test.headers {
				sent = append(sent, strings.TrimPrefix(h, "Authorization: "))
			}
			if kept := fields(got, "Authorization"); !slices.Equal(kept, sent) {
				t.Errorf("Authorization %.60q, want it as it came: an API in use may read it", kept)
			}
			if counted := s.counted(test.outcome, "reported") - before; counted != 1 {
				t.Errorf("%d decisions are counted as %s", counted, test.outcome)
			}
			if test.outcome == "passed" {
				return
			}
			eventually(t, "the line about "+test.path, func() bool {
				return len(s.logged(func(l logLine) bool {
					return isRefusal(l) && l.Message == "would have been refused" && l.Level == "info" && l.Path == test.path &&
						l.Outcome == test.outcome && strings.Contains(l.Reason, test.reason)
				})) == 1
			})
		})
	}
	b.take()
	s.raw(t, s.rawRequest("TRACE", "/api/x"), 1) // 405 is Caddy's or the backend's to say
}

// TestCorrelation: the answer, the log line of the gate and the access log name a
// refused request by one id, and the line says what decided.
func TestCorrelation(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(gateWith("scope GET api:read"), "\toauth_issuer\n", "\tlog\n\toauth_issuer\n", 1), b.address)
	line := func(part string) string {
		for n, text := range strings.Split(s.caddyfile(strings.Replace(gateWith("scope GET api:read"), "\toauth_issuer\n", "\tlog\n\toauth_issuer\n", 1)), "\n") {
			if strings.Contains(text, part) {
				return "Caddyfile:" + strconv.Itoa(n+1)
			}
		}
		t.Fatal("no line with", part)
		return ""
	}
	for _, test := range []struct {
		must, path string
		headers    []string
		want       logLine
	}{
		{"no token", "/api/1", nil, logLine{Status: 401, Outcome: "no_token", Needed: "api:read", DecidedBy: line("oauth_protect")}},
		{"a bad token", "/api/2", []string{bearer("bad")}, logLine{Status: 401, Outcome: "invalid_token", DecidedBy: line("oauth_protect")}},
		{"another audience", "/api/3", []string{bearer(s.forge("at+jwt", map[string]any{"aud": "x", "sub": "zoe"}))},
			logLine{Status: 401, Outcome: "invalid_token", Subject: "zoe", ClientID: "app", DecidedBy: line("\t\tresource ")}},
		{"no scope", "/api/4", []string{bearer(s.forge("at+jwt", map[string]any{"scope": nil}))},
			logLine{Status: 403, Outcome: "insufficient_scope", Needed: "api:read", Subject: "app", ClientID: "app", DecidedBy: line("scope GET api:read")}},
		{"ambiguous path", "/api/a;5", nil, logLine{Status: 400, Outcome: "bad_target", DecidedBy: line("oauth_protect")}},
	} {
		t.Run(test.must, func(t *testing.T) {
			a := s.send("GET", test.path, "", test.headers...)
			a.want(t, test.want.Status)
			b.none(t)
			id := a.Header.Get("X-Request-Id")
			if len(id) != 36 {
				t.Fatalf("X-Request-Id %q", id)
			}
			var lines []logLine
			eventually(t, "the line", func() bool {
				lines = s.logged(func(l logLine) bool { return isRefusal(l) && l.RequestID == id })
				return len(lines) > 0
			})
			got := lines[0]
			if len(lines) > 1 || got.Level != "info" || got.Message != "refused" || got.Method != "GET" || got.Path != test.path || got.ClientIP != "127.0.0.1" {
				t.Errorf("%d lines: %+v", len(lines), lines)
			}
			if got.Status != test.want.Status || got.Outcome != test.want.Outcome || got.Needed != test.want.Needed || got.Subject != test.want.Subject ||
				got.ClientID != test.want.ClientID || got.DecidedBy != test.want.DecidedBy {
				t.Errorf("%+v\nwant %+v", got, test.want)
			}
			eventually(t, "the access log has the id, too", func() bool {
				return len(s.logged(func(l logLine) bool { return l.UUID == id && l.Status == test.want.Status })) > 0
			})
		})
	}
	for _, secret := range []string{"eyJ", `Bearer bad`} {
		if strings.Contains(s.log(), secret) {
			t.Errorf("a token stands in the log: %s", secret)
		}
	}
	first, second := s.send("GET", "/api/x", ""), s.send("GET", "/api/x", "", "X-Request-Id: chosen-by-the-client")
	if id := second.Header.Get("X-Request-Id"); id == first.Header.Get("X-Request-Id") || id == "chosen-by-the-client" {
		t.Error("an id stands for one request, and nobody else chooses it")
	}
}

// TestRefusalsInTheLog: what a stranger can choose of a line is bounded and tame.
func TestRefusalsInTheLog(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	s.send("GET", "/api/"+strings.Repeat("long", 2_500), "").want(t, 401)
	s.send("GET", "/api/%C2%9B31mred%E2%80%AEdesrever", "").want(t, 401)
	eventually(t, "two lines", func() bool { return len(s.logged(isRefusal)) == 2 })
	for line := range strings.Lines(s.log()) {
		if !strings.Contains(line, "oauth_protect\"") {
			continue
		}
		if len(line) > 4<<10 {
			t.Errorf("a line has %d bytes: %.100s", len(line), line)
		}
		if strings.ContainsAny(line, "\u009b\u202e") {
			t.Errorf("a line acts on whoever reads it: %q", line)
		}
	}
}

// TestRefusalFlood: anybody can cause refusals, and nobody fills a disk with them.
func TestRefusalFlood(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	const flood = 400
	before := s.counted("no_token", "enforced")
	begin := time.Now()
	for range flood / 100 {
		for _, a := range s.raw(t, strings.Repeat(s.rawRequest("GET", "/api/flood"), 100), 100) {
			a.want(t, 401)
		}
	}
	// Of one address: the others' share is not theirs to use up.
	const atOnce, perSecond = loggedAtOnce / 4, loggedPerSecond / 4
	bound := atOnce + int(time.Since(begin).Seconds()*perSecond) + 2
	lines := s.logged(isRefusal)
	if len(lines) > bound || len(lines) < atOnce {
		t.Errorf("%d refusals make %d lines, want %d to %d", flood, len(lines), atOnce, bound)
	}
	sent := flood
	eventually(t, "a line that counts those that were not logged", func() bool {
		s.send("GET", "/api/after", "").want(t, 401)
		sent++
		unlogged := 0
		lines = s.logged(isRefusal)
		for _, l := range lines {
			unlogged += l.NotLogged
		}
		last := lines[len(lines)-1]
		return last.Path == "/api/after" && len(lines)+unlogged == sent
	})
	if counted := s.counted("no_token", "enforced") - before; counted != sent {
		t.Errorf("%d refusals are counted, want %d: the metric is not bounded by the log", counted, sent)
	}
}
