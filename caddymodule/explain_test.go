package caddymodule

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const explainedCaddyfile = `{
	oauth {
		issuer $GATE {
			scope api:read
			client app {
				secret_hash $HASH
				grant client_credentials
				scope api:read
			}
		}
	}
}

$GATE {
	log
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		scope GET api:read
		scope * api:write
		client app
		public /api/open/*
		cors https://app.example.com
	}
	oauth_protect /tried/* {
		resource $GATE/api
		scope GET api:write
		report_only
	}
	oauth_protect /optional/* {
		resource $GATE/api
		optional
	}
	oauth_protect /token-for-api/* {
		resource $GATE/api
		identity_token X-Identity
	}
	respond /health healthy
	reverse_proxy $BACKEND
}
`

// TestExplain: the command says what the gate would decide, and which line of the
// Caddyfile decides, and asks nobody else.
func TestExplain(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, explainedCaddyfile, b.address)
	line := func(text string) string {
		for n, l := range strings.Split(p.caddyfile(explainedCaddyfile), "\n") {
			if strings.TrimSpace(l) == text {
				return "Caddyfile:" + strconv.Itoa(n+1)
			}
		}
		t.Fatalf("no line %q", text)
		return ""
	}
	token := p.appToken()
	explain := func(token string, arguments ...string) outcome {
		t.Helper()
		c := p.command(append([]string{"oauth", "explain", "-", "--address", p.admin}, arguments...)...)
		c.Stdin = strings.NewReader(token + "\n")
		return runCommand(t, c)
	}
	counted := p.counted("passed", "enforced") + p.counted("no_token", "enforced")

	for _, test := range []struct {
		must, token, path string
		arguments         []string
		status            int
		says              []string
	}{
		{"a request that would pass", token, "/api/x", nil, 0, []string{"passes", "to " + p.url + "/api", "client    app", "scope     api:read",
			"its scopes", "yes", line("scope GET api:read"), "its client", line("client app")}},
		{"no token", "", "/api/x", nil, 1, []string{"refused", "401", "needs", "api:read", "a bearer token", "not asked"}},
		{"a bad token", "bad", "/api/x", nil, 1, []string{"refused", "401 invalid_token: the token is not a signed JWT"}},
		{"a method that asks for more", token, "/api/x", []string{"--method", "POST"}, 1,
			[]string{"403 insufficient_scope: the token lacks the scope api:write", "decided by", line("scope * api:write"), "needs"}},
		{"an open path", "", "/api/open/x", nil, 0, []string{"passes", "as public, without a token", line("public /api/open/*")}},
		{"nobody, where that is allowed", "", "/optional/x", nil, 0, []string{"as anonymous, without a token"}},
		{"a bad token, where none is needed", "bad", "/optional/x", nil, 1, []string{"401"}},
		{"a gate that only reports", token, "/tried/x", nil, 0, []string{"403", line("scope GET api:write"), "report_only: it passes all the same"}},
		{"a path that is ambiguous", token, "/api/a;b", nil, 1, []string{"400", "path_parameter"}},
		{"a preflight request", "", "/api/x", []string{"--method", "OPTIONS", "-H", "origin: https://app.example.com", "-H", "access-control-request-method: GET"}, 0,
			[]string{"as preflight, without a token"}},
		{"a header of the request", token, "/api/x", []string{"-H", "Authorization: Bearer other"}, 0, []string{"passes"}},
		{"a token for the API", token, "/token-for-api/x", nil, 0, []string{"a token for the API", "passes"}},
		{"a route without a gate, which another handler answers", token, "/health", nil, 1, []string{"no oauth_protect is on the way", "200"}},
		{"a route without a gate, to a proxy", token, "/elsewhere", nil, 1, []string{"no oauth_protect is on the way"}},
		{"a port where nobody listens", token, "http://127.0.0.1:1/x", nil, 1, []string{"no server of this Caddy listens on port 1"}},
		{"no URL", token, "orders", nil, 1, []string{"want the URL of a request"}},
		{"no header", token, "/api/x", []string{"-H", "nothing"}, 1, []string{`header "nothing": want`}},
	} {
		t.Run(test.must, func(t *testing.T) {
			url := test.path
			if strings.HasPrefix(url, "/") {
				url = p.url + url
			}
			ran := explain(test.token, append([]string{url}, test.arguments...)...)
			if ran.status != test.status {
				t.Errorf("exit status %d, want %d", ran.status, test.status)
			}
			contains(t, ran.stdout+ran.stderr, test.says...)
			b.none(t) // no handler behind is asked, and no proxy
			for _, text := range []string{ran.stdout, ran.stderr} {
				if strings.Contains(text, token) {
					t.Error("the token is shown")
				}
			}
		})
	}
	t.Run("the token as an argument, and JSON", func(t *testing.T) {
		ran := p.run("oauth", "explain", token, p.url+"/api/x", "--json", "--address", p.admin)
		var x explanation
		if err := json.Unmarshal([]byte(ran.stdout), &x); err != nil || ran.status != 0 {
			t.Fatalf("%d %v: %s%s", ran.status, err, ran.stdout, ran.stderr)
		}
		if !x.Reached || !x.Passes || x.Resource != p.url+"/api" || x.Token == nil || x.Token.ClientID != "app" || !slices.Equal(x.Token.Audience, []string{p.url + "/api"}) {
			t.Errorf("%+v", x)
		}
		var asked []string
		for _, q := range x.Questions {
			asked = append(asked, q.Question+": "+q.Outcome)
		}
		want := []string{"the handshake: yes", "the method: yes", "the target: yes", "an open path: yes", "a bearer token: yes", "one token only: yes", "the token is active: yes",
			"its audience: yes", "its client: yes", "its scopes: yes"}
		if !slices.Equal(asked, want) {
			t.Errorf("%q\nwant %q", asked, want)
		}
		ran = p.run("oauth", "explain", token, p.url+"/api/x", "-X", "POST", "--json", "--address", p.admin)
		if err := json.Unmarshal([]byte(ran.stdout), &x); err != nil || ran.status != 1 {
			t.Fatalf("%d %v: %s%s", ran.status, err, ran.stdout, ran.stderr)
		}
		if x.Passes || x.Status != 403 || x.Error != "insufficient_scope" || x.Scope != "api:write" || !strings.Contains(x.Decided, line("scope * api:write")) {
			t.Errorf("%+v", x)
		}
		contains(t, x.Challenge, `error="insufficient_scope"`, `scope="api:write"`)
	})
	t.Run("a revoked token", func(t *testing.T) {
		revoked := p.appToken()
		p.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
		contains(t, explain(revoked, p.url+"/api/x").stdout, "401 invalid_token: the token was revoked")
	})
	t.Run("too few arguments", func(t *testing.T) {
		if ran := p.run("oauth", "explain", token); ran.status != 1 {
			t.Errorf("exit status %d", ran.status)
		}
	})
	if after := p.counted("passed", "enforced") + p.counted("no_token", "enforced"); after != counted {
		t.Errorf("%d decisions were counted; nothing was decided", after-counted)
	}
	p.stop()
	for _, text := range []string{p.log(), p.stderr.String()} {
		if strings.Contains(text, token) || strings.Contains(text, strings.Split(token, ".")[2]) {
			t.Error("the token stands in the log")
		}
	}
}

// TestExplainIsNoWayIn: no request from outside is taken for one of the command,
// and the endpoint changes nothing by GET or from a page.
func TestExplainIsNoWayIn(t *testing.T) {
	b := startBackend(t)
	s := start(t, explainedCaddyfile, b.address)
	s.send("GET", "/api/x", "", "X-Explain: 1", "Explanation: 1").want(t, 401)
	b.none(t)
	body := map[string]any{"token": "", "url": s.url + "/api/x"}
	s.adminCall("POST", "/oauth/explain", body).want(t, 200)
	if a := s.send("POST", "http://"+s.admin+"/oauth/explain", `{"url":"`+s.url+`/api/x"}`, "Content-Type: text/plain"); a.StatusCode < 400 {
		t.Errorf("a form of a page may ask: %d", a.StatusCode)
	}
	if a := s.adminCall("GET", "/oauth/explain", nil); a.StatusCode < 400 {
		t.Errorf("GET: %d", a.StatusCode)
	}
	body["misspelt"] = 1
	if a := s.adminCall("POST", "/oauth/explain", body); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown member: %d", a.StatusCode)
	}
}
