package caddymodule

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestAdminErrors: what the admin API does not do, it says.
func TestAdminErrors(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	s.addClient("taken", "api:read")
	s.adminCall("POST", "/oauth/clients", map[string]any{"client_id": "spa", "client_name": "SPA", "client_type": "public"})
	body := func(members ...string) map[string]any {
		m := map[string]any{"client_name": "N"}
		for _, member := range members {
			name, value, _ := strings.Cut(member, "=")
			m[name] = value
		}
		return m
	}
	for _, test := range []struct {
		name, method, path string
		body               any
		status             int
		says               string
	}{
		{"nothing there", "GET", "/oauth/nothing", nil, 404, "there is nothing at /oauth/nothing"},
		{"too deep", "GET", "/oauth/clients/a/b", nil, 404, "there is nothing at"},
		{"no client of that name", "GET", "/oauth/clients/nobody", nil, 404, "not found"},
		{"no client to remove", "DELETE", "/oauth/clients/nobody", nil, 404, "not found"},
		{"no client to rotate", "POST", "/oauth/clients/nobody/rotate-secret", map[string]int{}, 404, "not found"},
		{"a method that is not there", "PUT", "/oauth/clients", body(), 405, "GET or POST"},
		{"a method that is not there for one", "PATCH", "/oauth/clients/taken", body(), 405, "GET or DELETE"},
		{"reading what only acts", "GET", "/oauth/keys/rotate", nil, 405, "use POST"},
		{"an unknown member", "POST", "/oauth/clients", body("client_secret=x"), 400, `unknown field \"client_secret\"`},
		{"an unknown issuer", "GET", "/oauth/clients?issuer=https://nobody.example", nil, 400, "no issuer https://nobody.example is configured; there is: " + s.url},
		{"an unknown scope", "POST", "/oauth/clients", body("scope=nope"), 400, "nope"},
		{"an unknown type", "POST", "/oauth/clients", body("client_type=secret"), 400, "confidential"},
		{"an id that is taken", "POST", "/oauth/clients", body("client_id=taken"), 409, "there is a client with this id already"},
		{"the id of a declared client", "POST", "/oauth/clients", body("client_id=app"), 409, "there is a client with this id already"},
		{"removing a declared client", "DELETE", "/oauth/clients/app", nil, 409, "declared in the configuration"},
		{"rotating a declared client", "POST", "/oauth/clients/app/rotate-secret", map[string]int{}, 409, "declared in the configuration"},
		{"a secret for a public client", "POST", "/oauth/clients/spa/rotate-secret", map[string]int{}, 400, "a public client has no secret"},
		{"a negative overlap", "POST", "/oauth/clients/taken/rotate-secret", map[string]int{"overlap_seconds": -1}, 400, "zero or more"},
		{"not an object", "POST", "/oauth/keys/rotate", []int{1}, 400, "cannot unmarshal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.adminCall(test.method, test.path, test.body)
			a.want(t, test.status)
			contains(t, a.body, test.says)
			if test.status == 405 && a.Header.Get("Allow") != strings.ReplaceAll(strings.TrimPrefix(test.says, "use "), " or ", ", ") {
				t.Errorf("Allow: %s (RFC 9110 §15.5.6)", a.Header.Get("Allow"))
			}
		})
	}
	// No page of another origin can send JSON without asking first, so nothing
	// else is read.
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"} {
		a := s.send("POST", "http://"+s.admin+"/oauth/clients", `{"client_name": "N"}`, "Content-Type: "+contentType)
		a.want(t, http.StatusUnsupportedMediaType)
	}
	a := s.send("POST", "http://"+s.admin+"/oauth/clients", `{"client_name": "`+strings.Repeat("x", maxAdminBody)+`"}`, "Content-Type: application/json")
	a.want(t, 400)
	// As Caddy protects the rest of its endpoint: by Origin, when one is sent.
	a = s.adminCall("POST", "/oauth/keys/rotate", map[string]bool{}, "Origin: https://evil.example", "Sec-Fetch-Mode: cors")
	a.want(t, http.StatusForbidden)
}

// TestAdminClients: a client's life, and what it means at the gate.
func TestAdminClients(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	secret := s.addClient("late", "api:read")

	var shown map[string]any
	a := s.adminCall("GET", "/oauth/clients/late", nil)
	if err := json.Unmarshal([]byte(a.body), &shown); err != nil {
		t.Fatal(err)
	}
	if shown["client_secret"] != nil || strings.Contains(a.body, "sha256") {
		t.Errorf("the secret is shown again: %s", a.body)
	}
	if shown["client_id"] != "late" || shown["scope"] != "api:read" || shown["client_type"] != "confidential" {
		t.Errorf("%s", a.body)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	contains(t, s.adminCall("GET", "/oauth/clients", nil).body, `"client_id":"late"`, `"client_id":"app"`, `"declared":true`)

	t.Run("rotation with an overlap: both secrets work", func(t *testing.T) {
		second := s.adminCall("POST", "/oauth/clients/late/rotate-secret", map[string]int{"overlap_seconds": 60}).member(t, "client_secret")
		s.tokenRequest("late", secret).want(t, 200)
		s.tokenRequest("late", second).want(t, 200)
		secret = second
	})
	t.Run("rotation without one: the old secret has leaked", func(t *testing.T) {
		third := s.adminCall("POST", "/oauth/clients/late/rotate-secret", map[string]int{"overlap_seconds": 0}).member(t, "client_secret")
		s.tokenRequest("late", secret).want(t, 401)
		s.tokenRequest("late", third).want(t, 200)
		secret = third
	})
	t.Run("removal ends its tokens at once", func(t *testing.T) {
		token := s.token("late", secret)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		s.adminCall("DELETE", "/oauth/clients/late", nil).want(t, 200)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 401)
		s.tokenRequest("late", secret).want(t, 401)
		s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200) // nobody else's
	})
	t.Run("revocation of a token", func(t *testing.T) {
		token := s.appToken()
		contains(t, s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).body, `"status":"revoked"`, `"client_id":"app"`)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 401)
		contains(t, s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).body, `"status":"not active"`)
		contains(t, s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": "garbage"}).body, `"status":"unknown"`)
	})
	for _, event := range []string{`"path":"/oauth/clients/late"`, `"path":"/oauth/tokens/revoke"`} {
		contains(t, s.log(), event) // the audit trail
	}
	for _, never := range []string{secret, appSecret} {
		if strings.Contains(s.log(), never) {
			t.Error("a secret stands in the log")
		}
	}
}

// TestAdminKeys: a rotation breaks no token.
func TestAdminKeys(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	old := s.appToken()
	before := s.keys()
	if len(before) != 1 || before[0].Status != "active" {
		t.Fatalf("keys %v", before)
	}
	s.adminCall("POST", "/oauth/keys/rotate", map[string]bool{}).want(t, 200)
	if kid := keyOf(t, s.appToken()); kid != before[0].KID {
		t.Error("a key that nobody can know yet signs")
	}
	s.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, 200)
	var fresh string
	eventually(t, "the new key signs", func() bool {
		fresh = s.appToken()
		return keyOf(t, fresh) != before[0].KID
	})
	for _, token := range []string{old, fresh} {
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	}
	jwks := s.send("GET", "/.well-known/jwks.json", "").body
	contains(t, jwks, keyOf(t, old), keyOf(t, fresh))
	if strings.Contains(jwks, `"d":`) {
		t.Error("a private key is published")
	}
}

type keyInfo struct {
	KID, Alg, Status string
}

func (s *server) keys() (all []keyInfo) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.adminCall("GET", "/oauth/keys", nil).body), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestAdminAfterFailedReload: the routes of the endpoint belong to the
// configuration that failed; what they do is done to the one in force.
func TestAdminAfterFailedReload(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	if err := s.load(strings.Replace(usualCaddyfile, "issuer $GATE {", "issuer $GATE/ {", 1)); err == nil {
		t.Fatal("it loads")
	}
	s.adminCall("GET", "/oauth/clients?issuer="+s.url, nil).want(t, 200)
	secret := s.addClient("after", "api:read")
	s.send("GET", "/api/x", "", bearer(s.token("after", secret))).want(t, 200)
}

// TestAdminSeveralIssuers: each has its own clients, keys and tokens.
func TestAdminSeveralIssuers(t *testing.T) {
	b := startBackend(t)
	text := strings.Replace(usualCaddyfile, "oauth {", "oauth {\n\t\tissuer $GATE/second {\n\t\t\tscope api:read\n\t\t}", 1)
	text = strings.Replace(text, "\toauth_issuer\n", "\toauth_issuer $GATE\n\toauth_issuer $GATE/second\n", 1)
	text = strings.Replace(text, "resource $GATE/api", "resource $GATE/api\n\t\tissuer $GATE", 1)
	s := start(t, text, b.address)
	a := s.adminCall("GET", "/oauth/clients", nil)
	a.want(t, 400)
	contains(t, a.body, "there are several issuers; name one of: ", s.url+"/second")

	second := "?issuer=" + s.url + "/second"
	secret := s.adminCall("POST", "/oauth/clients"+second, map[string]any{"client_id": "other", "client_name": "Other",
		"grant_types": []string{"client_credentials"}, "scope": "api:read", "resources": []string{s.url + "/api"}}).member(t, "client_secret")
	s.tokenRequest("other", secret).want(t, 401)
	form := []string{basic("other", secret), "Content-Type: application/x-www-form-urlencoded"}
	a = s.send("POST", "/second/token", "grant_type=client_credentials", form...)
	a.want(t, 200)
	refused := s.send("GET", "/api/x", "", bearer(a.member(t, "access_token")))
	refused.want(t, 401) // the gate accepts the first issuer only
	first := s.adminCall("GET", "/oauth/keys?issuer="+s.url, nil).body
	if first == s.adminCall("GET", "/oauth/keys"+second, nil).body {
		t.Error("two issuers share their keys")
	}
	b.none(t)
}

// TestConfigShowsNoSecret: /config/ is for whoever operates the server; what it
// shows is a hash, or the name of the place where the secret is.
func TestConfigShowsNoSecret(t *testing.T) {
	b := startBackend(t)
	t.Setenv("OAUTH_TEST_SECRET", appSecret)
	s := start(t, strings.Replace(usualCaddyfile, "secret_hash $HASH", "secret {env.OAUTH_TEST_SECRET}", 1), b.address)
	s.appToken() // it is the secret
	config := s.adminCall("GET", "/config/", nil).body
	contains(t, config, "{env.OAUTH_TEST_SECRET}")
	if strings.Contains(config, canary) {
		t.Error("the secret stands in /config/")
	}
}

// keyOf is the kid of a token.
func keyOf(t testing.TB, token string) string {
	t.Helper()
	var header struct {
		KID string `json:"kid"`
	}
	decodePart(t, token, 0, &header)
	return header.KID
}
