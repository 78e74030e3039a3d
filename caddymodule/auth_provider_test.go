package caddymodule

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// loadWithProvider loads a Caddyfile whose basic_auth is replaced, in its JSON, by
// the authentication provider: Caddy's own handler has no Caddyfile for guests.
func (s *server) loadWithProvider(caddyfile, provider string) error {
	s.t.Helper()
	adapted, err := adapt(s.caddyfile(caddyfile))
	if err != nil {
		return err
	}
	var config any
	if err := json.Unmarshal(adapted, &config); err != nil {
		return err
	}
	names := strings.NewReplacer("$GATE", s.url)
	var guest any
	if err := json.Unmarshal([]byte(names.Replace(provider)), &guest); err != nil {
		return err
	}
	replaced := false
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if value["handler"] == "authentication" {
				value["providers"] = map[string]any{"oauth": guest}
				replaced = true
			}
			for _, member := range value {
				walk(member)
			}
		case []any:
			for _, element := range value {
				walk(element)
			}
		}
	}
	walk(config)
	if !replaced {
		s.t.Fatal("no authentication handler in the configuration")
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	s.reloaded = true
	return caddy.Load(text, true)
}

const providerCaddyfile = `{
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
	oauth_issuer
	basic_auth /api/* {
		bob $2a$04$WbGxLvEHIxOsJ1kpgH7ZSuC2QG9ZyWpXXrWvsoUlLzKXoRCO2N6xG
	}
	reverse_proxy /api/* $BACKEND {
		header_up X-Seen "{http.auth.user.id}|{http.auth.user.client_id}|{http.auth.user.scope}|{http.auth.user.issuer}|{http.auth.user.token_id}"
	}
}
`

// TestAuthProvider: Caddy's authentication handler accepts access tokens, asks
// what a gate asks, and can only say 401.
func TestAuthProvider(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	const provider = `{
		"resource": "$GATE/api",
		"scope_rules": [{"methods": ["GET"], "paths": ["/api/open/*"], "scopes": ["low"]}, {"methods": ["GET"], "scopes": ["api:read"]}],
		"claim_rules": [{"name": "dept", "values": ["it"]}]
	}`
	if err := s.loadWithProvider(providerCaddyfile, provider); err != nil {
		t.Fatal(err)
	}
	good := map[string]any{"sub": "alice", "dept": "it", "jti": "the-id", "scope": "api:read"}
	with := func(name string, value any) string {
		claims := map[string]any{}
		for n, v := range good {
			claims[n] = v
		}
		if name != "" {
			claims[name] = value
		}
		return bearer(s.forge("at+jwt", claims))
	}
	realm := `Bearer realm="` + s.url + `/api"`
	for _, test := range []struct {
		must, method, path string
		headers            []string
		status             int
		challenge          string
	}{
		{"a good token", "GET", "/api/x", []string{with("", nil)}, 200, ""},
		{"no token", "GET", "/api/x", nil, 401, realm + `, scope="api:read"`},
		{"a bad token", "GET", "/api/x", []string{bearer("bad")}, 401, realm + `, error="invalid_token"`},
		{"for another resource", "GET", "/api/x", []string{with("aud", "https://x")}, 401, `error="invalid_token"`},
		{"without the scope, RFC 6750 §3.1 in the challenge if not in the status", "GET", "/api/x", []string{with("scope", "other")}, 401, `error="insufficient_scope"`},
		{"no rule for the method", "POST", "/api/x", []string{with("", nil)}, 401, `error="insufficient_scope"`},
		{"without the claim", "GET", "/api/x", []string{with("dept", "sales")}, 401, `error="insufficient_scope"`},
		{"two tokens", "GET", "/api/x", []string{with("", nil), bearer("two")}, 401, `error="invalid_request"`},
		{"a token in the query, too", "GET", "/api/x?access_token=x", []string{with("", nil)}, 401, `error="invalid_request"`},
		{"a path that two readers understand differently matches no rule", "GET", "/api/open/..;/admin", []string{with("scope", "low")}, 401, ""},
	} {
		t.Run(test.must, func(t *testing.T) {
			a := s.send(test.method, test.path, "", test.headers...)
			a.want(t, test.status)
			contains(t, strings.Join(a.Header["Www-Authenticate"], "\n"), test.challenge)
			if test.status != 200 {
				b.none(t)
				return
			}
			if seen, want := fields(b.one(t), "X-Seen"), "alice|app|api:read|"+s.url+"|the-id"; len(seen) != 1 || seen[0] != want {
				t.Errorf("placeholders %q, want %q", seen, want)
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		claims := map[string]any{"dept": "it", "jti": "revoked-id"}
		token := s.forge("at+jwt", claims)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		b.one(t)
		s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(t, 200)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 401)
		b.none(t)
	})
	t.Run("mistakes", func(t *testing.T) {
		for _, test := range []struct{ provider, says string }{
			{`{}`, "authentication provider oauth: resource"},
			{`{"resource": "$GATE/api", "issuers": ["https://other.example"]}`, "no issuer https://other.example is configured"},
			{`{"resource": "$GATE/api", "misspelt": 1}`, "misspelt"},
			{`{"resource": "$GATE/api", "allow_target": ["slashes"]}`, `no kind of target "slashes"`},
			{`{"resource": "$GATE/api", "scope_rules": [{}]}`, "a scope rule without scopes"},
			{`{"resource": "$GATE/api", "scope_rules": [{"methods": ["*"], "scopes": ["a"]}]}`, `method "*"`},
			{`{"resource": "$GATE/api", "claim_rules": [{"name": "a"}]}`, "want the name of a claim and the values"},
			{`{"resource": "$GATE/api", "expression": "1 +"}`, "expression: "},
		} {
			err := s.loadWithProvider(providerCaddyfile, test.provider)
			if err == nil {
				t.Errorf("%s is accepted", test.provider)
				continue
			}
			contains(t, err.Error(), test.says)
		}
	})
}
