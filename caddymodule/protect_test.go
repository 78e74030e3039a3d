package caddymodule

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// TestProtectCredentials: what counts as a token, where, and what the answer is
// (RFC 6750 §2.1, §3).
func TestProtectCredentials(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	good := s.appToken()
	realm := `Bearer realm="` + s.url + `/api"`
	none := realm + `, scope="api:read"`
	for _, test := range []struct {
		name, path string
		headers    []string
		status     int
		challenge  string // WWW-Authenticate; "" where none is expected
	}{
		{"a token passes", "/api/x", []string{bearer(good)}, 200, ""},
		{"the scheme is compared without case, RFC 9110 §11.1", "/api/x", []string{"Authorization: bEaReR " + good}, 200, ""},
		{"a bare token passes, being on by default", "/api/x", []string{"Authorization: " + good}, 200, ""},
		{"no token: no error code, RFC 6750 §3.1", "/api/x", nil, 401, none},
		{"Basic is no token", "/api/x", []string{basic("app", appSecret)}, 401, none},
		{"DPoP is another scheme", "/api/x", []string{"Authorization: DPoP " + good}, 401, none},
		{"Token is another scheme", "/api/x", []string{"Authorization: Token " + good}, 401, none},
		{"JWT is another scheme", "/api/x", []string{"Authorization: JWT " + good}, 401, none},
		{"Bearer and a colon is another scheme", "/api/x", []string{"Authorization: Bearer: " + good}, 401, none},
		{"two schemes in one field", "/api/x", []string{"Authorization: Basic QQ==, Bearer " + good}, 401, none},
		{"a token in the query is not looked at, RFC 9700 §4.3.2", "/api/x?access_token=" + good, nil, 401, none},
		{"a token in a cookie is not looked at", "/api/x", []string{"Cookie: access_token=" + good}, 401, none},
		{"a token in Proxy-Authorization is not looked at", "/api/x", []string{"Proxy-Authorization: Bearer " + good}, 401, none},
		{"a token in X-Authorization is not looked at", "/api/x", []string{"X-Authorization: Bearer " + good}, 401, none},
		{"a token in X-Forwarded-Authorization is not looked at", "/api/x", []string{"X-Forwarded-Authorization: Bearer " + good}, 401, none},
		{"two fields, good first: two readers could differ", "/api/x", []string{bearer(good), bearer("forged")}, 400, realm + `, error="invalid_request", error_description="the request has more than one Authorization header field"`},
		{"two fields, good last", "/api/x", []string{bearer("forged"), bearer(good)}, 400, realm + `, error="invalid_request", error_description="the request has more than one Authorization header field"`},
		{"Basic first, Bearer second", "/api/x", []string{basic("a", "b"), bearer(good)}, 400, realm + `, error="invalid_request", error_description="the request has more than one Authorization header field"`},
		{"header and query, RFC 6750 §2", "/api/x?access_token=other", []string{bearer(good)}, 400, realm + `, error="invalid_request", error_description="the request has a token in its header and another in its query; use the header alone"`},
		{"header and escaped query", "/api/x?a=1&%61ccess_token=other", []string{bearer(good)}, 400, realm + `, error="invalid_request", error_description="the request has a token in its header and another in its query; use the header alone"`},
		{"nothing after Bearer", "/api/x", []string{"Authorization: Bearer"}, 401, realm + `, error="invalid_token", error_description="what follows Bearer is not a token"`},
		{"two words after Bearer", "/api/x", []string{bearer(good + " " + good)}, 401, realm + `, error="invalid_token", error_description="what follows Bearer is not a token"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.send("GET", test.path, "", test.headers...)
			a.want(t, test.status)
			if test.challenge != "" { // RFC 9728 §5.1
				test.challenge += `, resource_metadata="` + s.url + `/.well-known/oauth-protected-resource/api"`
			}
			if got := a.Header.Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("WWW-Authenticate: %s\nwant              %s", got, test.challenge)
			}
			if test.status == 200 {
				b.one(t)
				return
			}
			b.none(t)
			if got := a.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q: a refusal must not be kept", got)
			}
		})
	}
	a := s.send("POST", "/api/x", "access_token="+good, "Content-Type: application/x-www-form-urlencoded")
	a.want(t, 401)
	b.none(t)
}

// TestProtectToken: what a token must be (RFC 9068 §4). Each token is signed by
// the issuer's own key and is wrong in one point only.
func TestProtectToken(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	claims := func(c map[string]any) func() string { return func() string { return s.forge("at+jwt", c) } }
	now := time.Now().Unix()
	for _, test := range []struct {
		name   string
		token  func() string
		status int
		says   string // part of the challenge
	}{
		{"the control is good", claims(nil), 200, ""},
		{"one audience of several", claims(map[string]any{"aud": []string{"https://other.example", s.url + "/api"}}), 200, ""},
		{"expired", claims(map[string]any{"iat": now - 600, "exp": now - 1}), 401, "expired"},
		{"expires this second: exp is on or after which, RFC 7519 §4.1.4", claims(map[string]any{"exp": now}), 401, "expired"},
		{"not valid yet", claims(map[string]any{"nbf": now + 600}), 401, `error="invalid_token"`},
		{"issued in the future", claims(map[string]any{"iat": now + 3600, "exp": now + 7200}), 401, `error="invalid_token"`},
		{"another issuer", claims(map[string]any{"iss": "https://evil.example"}), 401, "iss"},
		{"issuer with a slash", claims(map[string]any{"iss": s.url + "/"}), 401, "iss"},
		{"no issuer", claims(map[string]any{"iss": nil}), 401, "iss"},
		{"another audience", claims(map[string]any{"aud": "https://other.example"}), 401, "the token is for another resource than " + s.url + "/api"},
		{"an audience that begins the same", claims(map[string]any{"aud": s.url + "/api/"}), 401, "another resource"},
		{"the issuer as audience", claims(map[string]any{"aud": s.url}), 401, "another resource"},
		{"the client as audience, as ID tokens have it", claims(map[string]any{"aud": "app"}), 401, "another resource"},
		{"no audience", claims(map[string]any{"aud": nil}), 401, `error="invalid_token"`},
		{"no expiry", claims(map[string]any{"exp": nil}), 401, `error="invalid_token"`},
		{"no subject", claims(map[string]any{"sub": nil}), 401, `error="invalid_token"`},
		{"no client", claims(map[string]any{"client_id": nil}), 401, `error="invalid_token"`},
		{"no id: it could not be revoked", claims(map[string]any{"jti": nil}), 401, `error="invalid_token"`},
		{"an ID token, by its typ", func() string { return s.forge("JWT", nil) }, 401, `error="invalid_token"`},
		{"a logout token, by its typ", func() string { return s.forge("logout+jwt", nil) }, 401, `error="invalid_token"`},
		{"garbage", func() string { return "garbage" }, 401, `error="invalid_token"`},
		{"three parts of garbage", func() string { return "a.b.c" }, 401, `error="invalid_token"`},
		{"unsigned", func() string { return resign(s.forge("at+jwt", nil), `{"alg":"none","typ":"at+jwt"}`, "") }, 401, `error="invalid_token"`},
		{"without its signature", func() string { return cutSignature(s.forge("at+jwt", nil)) }, 401, `error="invalid_token"`},
		{"a changed claim", func() string { return changeClaim(s.forge("at+jwt", nil)) }, 401, `error="invalid_token"`},
		{"over 8 KiB", func() string { return strings.Repeat("a", 9<<10) }, 401, `error="invalid_token"`},
		{"lacks a scope", claims(map[string]any{"scope": "api:write"}), 403, `error="insufficient_scope", error_description="the token lacks the scope api:read", scope="api:read"`},
		{"a scope that begins the same", claims(map[string]any{"scope": "api:reader api:rea"}), 403, `scope="api:read"`},
		{"a scope in another case", claims(map[string]any{"scope": "API:READ"}), 403, `scope="api:read"`},
		{"no scope at all", claims(map[string]any{"scope": nil}), 403, `scope="api:read"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.send("GET", "/api/x", "", bearer(test.token()))
			a.want(t, test.status)
			challenge := a.Header.Get("WWW-Authenticate")
			if test.status == 200 {
				b.one(t)
				return
			}
			b.none(t)
			contains(t, challenge, `Bearer realm="`+s.url+`/api", error="`, test.says)
		})
	}
	t.Run("revoked, on the very next request", func(t *testing.T) {
		token := s.appToken()
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		b.one(t)
		s.send("POST", "/revoke", "token="+token, basic("app", appSecret), "Content-Type: application/x-www-form-urlencoded").want(t, 200)
		a := s.send("GET", "/api/x", "", bearer(token))
		a.want(t, 401)
		b.none(t)
		contains(t, a.Header.Get("WWW-Authenticate"), `error="invalid_token", error_description="the token was revoked"`)
	})
}

func resign(token, header, signature string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + signature
}

func cutSignature(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

func changeClaim(token string) string {
	parts := strings.Split(token, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), `"app"`, `"bob"`, 1)))
	return strings.Join(parts, ".")
}

// TestProtectMethods: scopes follow the method, as it is (RFC 9110 §9.1: methods
// are case-sensitive), and some methods do not pass at all.
func TestProtectMethods(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(usualCaddyfile, "scope * api:write", "scope POST,PUT api:write api:read", 1), b.address)
	read, write := s.appToken("scope=api:read"), s.appToken("scope=api:write api:read")
	for _, test := range []struct {
		method      string
		read, write int
	}{
		{"GET", 200, 200}, {"HEAD", 200, 200}, {"POST", 403, 200}, {"PUT", 403, 200},
		{"DELETE", 403, 403}, {"PATCH", 403, 403}, {"OPTIONS", 403, 403}, {"FOO", 403, 403},
		{"get", 403, 403}, {"Get", 403, 403}, {"post", 403, 403},
		{"TRACE", 405, 405}, {"TRACK", 405, 405},
	} {
		t.Run(test.method, func(t *testing.T) {
			for token, want := range map[string]int{read: test.read, write: test.write} {
				answers := s.raw(t, s.rawRequest(test.method, "/api/x", bearer(token), "Content-Length: 0", "Connection: close"), 1)
				answers[0].want(t, want)
				if want == 200 {
					b.one(t)
				} else {
					b.none(t)
				}
			}
			if test.method == "HEAD" {
				return
			}
			// Without a token no method opens anything.
			if got := s.raw(t, s.rawRequest(test.method, "/api/x", "Content-Length: 0"), 1)[0].StatusCode; got != 401 && got != 405 {
				t.Errorf("without a token: %d", got)
			}
			b.none(t)
		})
	}
	for _, target := range []string{"/api/x", "/api/../api/x"} {
		answers := s.raw(t, s.rawRequest("CONNECT", target, bearer(write)), 1)
		if len(answers) != 1 || answers[0].StatusCode < 400 {
			t.Errorf("CONNECT %s: %v", target, statuses(answers))
		}
		b.none(t)
	}
	a := s.send("DELETE", "/api/x", "", bearer(write))
	contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope", error_description="no scope of this resource allows the method on this path"`)
	a = s.send("DELETE", "/api/x", "")
	contains(t, a.Header.Get("WWW-Authenticate"), `Bearer realm="`+s.url+`/api", scope="api:read api:write"`)
}

func TestProtectOptions(t *testing.T) {
	b := startBackend(t)
	options := func(lines ...string) string {
		return strings.Replace(usualCaddyfile, "scope GET,HEAD api:read", strings.Join(lines, "\n\t\t"), 1)
	}
	s := start(t, options("bare_token off", "forward_token", "identity_header x-caller sub", "identity_header X-Mail email",
		"identity_header X-Rights rights", "identity_header X-Null nothing", "scope GET api:read"), b.address)
	token := s.forge("at+jwt", map[string]any{"sub": "Zoé, 100%", "rights": map[string]any{"a": 1}, "nothing": nil})

	t.Run("bare_token off", func(t *testing.T) {
		s.send("GET", "/api/x", "", "Authorization: "+token).want(t, 401)
		b.none(t)
	})
	t.Run("identity_header and forward_token", func(t *testing.T) {
		s.send("GET", "/api/x", "", bearer(token), "X-Mail: admin@example.com", "X-Null: admin", "x_CALLER: admin").want(t, 200)
		got := b.one(t)
		for name, want := range map[string][]string{
			"Authorization": {"Bearer " + token},
			"X-Caller":      {"Zo%C3%A9, 100%25"},
			"X-Rights":      {`{"a":1}`},
			"X-Mail":        nil, // the token lacks the claim; the client's word does not stand in for it
			"X-Null":        nil,
			"X-Auth-Client": nil, // replaced, not added to
		} {
			if values := fields(got, name); !slices.Equal(values, want) {
				t.Errorf("%s: %q, want %q", name, values, want)
			}
		}
	})
	t.Run("default headers and no token", func(t *testing.T) {
		if err := s.load(usualCaddyfile); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200)
		got := b.one(t)
		for name, want := range map[string][]string{
			"Authorization": nil, "X-Auth-Subject": {"app"}, "X-Auth-Client": {"app"}, "X-Auth-Scope": {"api:read api:write"},
		} {
			if values := fields(got, name); !slices.Equal(values, want) {
				t.Errorf("%s: %q, want %q", name, values, want)
			}
		}
	})
	t.Run("no scope line", func(t *testing.T) {
		if err := s.load(strings.Replace(options(), "scope * api:write\n", "\n", 1)); err != nil {
			t.Fatal(err)
		}
		s.send("DELETE", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"scope": nil}))).want(t, 200)
		b.one(t)
		s.send("DELETE", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"aud": "https://other.example"}))).want(t, 401)
		b.none(t)
	})
}

// noStorage is a storage that cannot be opened.
type noStorage struct{ Storage }

func (noStorage) Open() (storage.Storage, error) { return nil, storage.ErrUnavailable }

// TestProtectUnavailable: a gate that cannot tell refuses.
func TestProtectUnavailable(t *testing.T) {
	const url = "https://auth.example"
	app := &App{storage: noStorage{}, vault: new(vault), logger: slog.New(slog.DiscardHandler), configs: map[string]issuer.Config{url: {}}}
	protect := &Protect{Policy: Policy{Resource: "https://api.example", app: app, bare: true}}
	protect.sources = sources{protect.builtIn(url)}
	protect.gate = protect.checks(false)
	protect.decisions = newDecisions(caddy.Context{}, protect)
	protect.decisions.logger = zap.NewNop()
	for name, handler := range map[string]caddyhttp.MiddlewareHandler{
		"oauth_protect": protect,
		"oauth_issuer":  &IssuerHandler{app: app, Issuer: "https://auth.example"},
	} {
		passed := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			t.Error(name, "let a request pass that it could not judge")
			return nil
		})
		r, w := httptest.NewRequest("GET", "/api/x", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer a.b.c")
		var refused caddyhttp.HandlerError
		if err := handler.ServeHTTP(w, r, passed); !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %v, want 503", name, err)
		}
		if w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: header %v", name, w.Header())
		}
	}
}

// TestProtectErrorsAndLogs: refusals are Caddy errors which handle_errors can
// dress, the challenge stays, and the access log knows the caller.
func TestProtectErrorsAndLogs(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(usualCaddyfile, "\toauth_issuer\n", `	log
	handle_errors {
		header X-Dressed yes
		respond "sorry: {err.status_code}"
	}
	header /api/* X-Seen "{http.auth.user.id}|{http.auth.user.client_id}|{http.auth.user.scope}|{http.auth.user.issuer}|{http.auth.user.token_id}"
	oauth_issuer
`, 1), b.address)
	for _, test := range []struct {
		headers []string
		status  string
	}{
		{nil, "401"}, {[]string{bearer("garbage")}, "401"}, {[]string{bearer(s.forge("at+jwt", map[string]any{"scope": nil}))}, "403"},
	} {
		a := s.send("GET", "/api/x", "", test.headers...)
		if a.body != "sorry: "+test.status || a.Header.Get("X-Dressed") != "yes" {
			t.Errorf("%s: not dressed: %v %s", test.status, a.Header, a.body)
		}
		contains(t, a.Header.Get("WWW-Authenticate"), "Bearer realm=")
		b.none(t)
	}
	token := s.forge("at+jwt", map[string]any{"sub": "alice", "jti": "the-id"})
	a := s.send("GET", "/api/x", "", bearer(token))
	a.want(t, 200)
	eventually(t, "the access log names the caller", func() bool { return strings.Contains(s.log(), `"user_id":"alice"`) })
	for _, secret := range []string{token, strings.Split(token, ".")[2]} {
		if strings.Contains(s.log(), secret) {
			t.Error("the token stands in the log")
		}
	}
	if at := strings.Index(s.log(), `"level":"error"`); at >= 0 {
		t.Errorf("a refusal is no error of the server: %.300s", s.log()[at:])
	}
}

// TestProtectWithoutApp: the message says what is missing.
func TestProtectWithoutApp(t *testing.T) {
	s := newServer(t, "127.0.0.1:9")
	t.Setenv("XDG_DATA_HOME", s.dir)
	t.Cleanup(func() { _ = caddy.Stop() })
	for _, directive := range []string{"oauth_issuer", "oauth_protect {\n\t\tresource https://a.example\n\t}"} {
		err := s.load("{\n}\n\n$GATE {\n\t" + directive + "\n}\n")
		if err == nil {
			t.Fatal(directive, "loads without an oauth app")
		}
		contains(t, err.Error(), "global options")
	}
}
