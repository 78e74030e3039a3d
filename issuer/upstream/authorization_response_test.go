package upstream

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// set returns a fault: the ID token (or UserInfo, metadata, token response)
// has another value for one member; nil removes it.
func set(name string, value any) func(map[string]any) {
	return func(m map[string]any) {
		if value == nil {
			delete(m, name)
			return
		}
		m[name] = value
	}
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// Every refusal of Finish, by what MUST be refused.
func TestFinishRefuses(t *testing.T) {
	for _, test := range []struct {
		must   string
		want   error
		fault  func(t *testing.T, p *toy)
		config func(*Config)
		tamper func(pending *Pending, answer url.Values)
		force  bool
		sent   bool   // the code reaches the provider although the answer was tampered with
		says   string // in the error
	}{
		// RFC 6749 §10.12, RFC 9700 §4.7
		{must: "state MUST be the one sent", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Set("state", "x") }},
		{must: "state MUST be there", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Del("state") }},
		{must: "no state matches a browser that began nothing", want: ErrMismatch, tamper: func(p *Pending, a url.Values) { *p = Pending{Issuer: p.Issuer}; a.Del("state") }},
		{must: "parameters MUST NOT occur twice (RFC 6749 §3.1)", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Add("code", "x") }},

		// RFC 9207 §2.4, RFC 9700 §4.4.2
		{must: "iss MUST be that of the provider", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Set("iss", "https://evil.example") }},
		{must: "iss MUST be compared byte for byte", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Set("iss", a.Get("iss")+"/") }},
		{must: "iss MUST be there where the metadata says so", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Del("iss") }},
		{must: "iss MUST be there in an error as well", want: ErrMismatch, tamper: func(_ *Pending, a url.Values) { a.Del("iss"); a.Set("error", "access_denied") }},
		{must: "an answer of a provider that was not asked MUST be refused", want: ErrMismatch, tamper: func(p *Pending, _ url.Values) { p.Issuer = "https://other.example" }},

		// Core §3.1.2.6
		{must: "the person declined", want: ErrDenied, tamper: func(_ *Pending, a url.Values) { a.Set("error", "access_denied") }},
		{must: "the provider needs the person", want: ErrDenied, tamper: func(_ *Pending, a url.Values) { a.Set("error", "login_required") }},
		{must: "the provider is down", want: ErrUnavailable, tamper: func(_ *Pending, a url.Values) { a.Set("error", "temporarily_unavailable") }},
		{must: "this client is wrong", want: ErrRefused, tamper: func(_ *Pending, a url.Values) { a.Set("error", "invalid_scope") }},
		{must: "a description that repeats the state is not logged", want: ErrDenied, tamper: func(p *Pending, a url.Values) {
			a.Set("error", "access_denied")
			a.Set("error_description", "not for "+p.State)
		}},
		{must: "a code MUST be there", want: ErrRefused, tamper: func(_ *Pending, a url.Values) { a.Del("code") }},

		// Core §3.1.3.3, RFC 7636 §4.6
		{must: "the provider refuses another verifier", want: ErrRefused, sent: true, tamper: func(p *Pending, _ url.Values) { p.Verifier = strings.Repeat("a", 43) }},
		{must: "token_type MUST be Bearer", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.tokens = set("token_type", "DPoP") }},
		{must: "id_token MUST be there", want: ErrRefused, says: "there is no id_token", fault: func(_ *testing.T, p *toy) { p.tokens = set("id_token", nil) }},
		{must: "a description that repeats the code is not logged", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.handler["/token"] = answer(400, "application/json", `{"error":"invalid_grant","error_description":"unknown `+p.code+`"}`)
		}},
		{must: "a body that is no error response is not logged", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.handler["/token"] = answer(400, "application/x-unknown", p.code)
		}},

		// Core §3.1.3.7
		{must: "2: iss MUST match exactly", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("iss", p.URL+"/") }},
		{must: "2: iss MUST be there", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("iss", nil) }},
		{must: "3: aud MUST contain the client", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("aud", "other") }},
		{must: "3: aud MUST contain the client, whatever azp says", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.claims = func(m map[string]any) { m["aud"], m["azp"] = "other", testClientID }
		}},
		{must: "3: aud MUST NOT contain audiences that are not trusted", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("aud", []string{testClientID, "other"}) }},
		{must: "5: azp MUST be the client", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("azp", "other") }},
		{must: "5: azp MUST be a string", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("azp", 1) }},
		{must: "6: the signature MUST be that of the provider", want: ErrRefused, fault: func(t *testing.T, p *toy) {
			other := newToy(t).key
			p.sign = func(c []byte) string { return signed(t, jose.ES256, other, c) }
		}},
		{must: "6: what is signed MUST be what is read", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			sign := p.sign
			p.sign = func(c []byte) string {
				parts := strings.Split(sign(c), ".")
				parts[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(c, []byte("Jane Doe"), []byte("Jack Doe"), 1))
				return strings.Join(parts, ".")
			}
		}},
		{must: "7: alg MUST NOT be none (RFC 8725 §3.1)", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.sign = func(c []byte) string {
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(c) + "."
			}
		}},
		{must: "8: alg MUST NOT be HS256 with the client secret", want: ErrRefused, fault: func(t *testing.T, p *toy) {
			secret := []byte(strings.Repeat(testClientSecret, 4))
			p.handler["/jwks"] = func(w http.ResponseWriter, _ *http.Request) {
				answerJSON(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: secret, Algorithm: "HS256"}}})
			}
			p.sign = func(c []byte) string { return signed(t, jose.HS256, secret, c) }
		}},
		{must: "7: alg MUST be one that the metadata names", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.metadata = set("id_token_signing_alg_values_supported", []string{"RS256"})
		}},
		{must: "9: exp MUST be in the future", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("exp", in(-time.Second)) }},
		{must: "9: exp MUST be there", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("exp", nil) }},
		{must: "10: iat in the future", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("iat", in(clockSkew+time.Minute)) }},
		{must: "10: iat too far away", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("iat", in(-maxIDTokenAge-time.Second)) }},
		{must: "10: iat MUST be there (§2)", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("iat", nil) }},
		{must: "11: nonce MUST be the one sent", want: ErrMismatch, fault: func(_ *testing.T, p *toy) { p.claims = set("nonce", "other") }},
		{must: "11: nonce MUST be there", want: ErrMismatch, fault: func(_ *testing.T, p *toy) { p.claims = set("nonce", nil) }},
		{must: "13: auth_time MUST be there after max_age (§2)", want: ErrRefused, force: true, says: "auth_time is missing"},
		{must: "13: the login MUST be new", want: ErrRefused, force: true, fault: func(_ *testing.T, p *toy) { p.claims = set("auth_time", in(-time.Hour)) }},
		{must: "§2: sub MUST be there", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("sub", nil) }},
		{must: "§2: sub MUST NOT exceed 255 characters", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("sub", strings.Repeat("a", 256)) }},
		{must: "§2: sub is ASCII", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("sub", "a\u202eb") }},
		{must: "a claim MUST NOT stand for one that differs in case", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("\u017fub", "admin") }},
		{must: "§3.1.3.8: at_hash MUST be that of the access token", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA") }},

		// Core §5.3.2
		{must: "sub of UserInfo MUST exactly match", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("name", nil); p.userinfo = set("sub", "1") }},
		{must: "sub of UserInfo MUST be there", want: ErrRefused, fault: func(_ *testing.T, p *toy) { p.claims = set("name", nil); p.userinfo = set("sub", nil) }},
		{must: "UserInfo that is a JWT is not read", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.claims = set("name", nil)
			p.handler["/userinfo"] = answer(200, "application/jwt", "a.b.c")
		}},
		{must: "UserInfo that is refused", want: ErrRefused, fault: func(_ *testing.T, p *toy) {
			p.claims = set("name", nil)
			p.handler["/userinfo"] = answer(401, "application/json", "{}")
		}},

		// what the configuration asks for
		{must: "the email MUST be verified: absent is no", want: ErrNotAllowed, config: requireVerified, fault: func(_ *testing.T, p *toy) {
			p.claims, p.userinfo = set("email_verified", nil), set("email_verified", nil)
		}},
		{must: "the email MUST be verified: null is no", want: ErrNotAllowed, config: requireVerified, fault: func(_ *testing.T, p *toy) {
			p.claims = func(m map[string]any) { m["email_verified"] = nil }
		}},
		{must: "the email MUST be verified: 1 is no", want: ErrNotAllowed, config: requireVerified, fault: func(_ *testing.T, p *toy) { p.claims = set("email_verified", 1) }},
		{must: "the email MUST be verified: of another address is no", want: ErrNotAllowed, config: requireVerified, fault: func(_ *testing.T, p *toy) {
			p.claims, p.userinfo = set("email_verified", nil), set("email", "mallory@example.com")
		}},
		{must: "the domain MUST be allowed", want: ErrNotAllowed, config: allowDomain("example.org")},
		{must: "a subdomain is another domain", want: ErrNotAllowed, config: allowDomain("le.com")},
		{must: "the domain of an address that is not verified does not count", want: ErrNotAllowed, config: allowDomain("example.com"), fault: func(_ *testing.T, p *toy) {
			p.claims = set("email_verified", false)
		}},
		{must: "an address with two domains has none", want: ErrNotAllowed, config: allowDomain("example.com"), fault: func(_ *testing.T, p *toy) {
			p.claims = set("email", "jane@evil.example@example.com")
		}},
		{must: "a mapped username MUST be there", want: ErrRefused, config: func(c *Config) { c.Claims.Username = "upn" }},
	} {
		t.Run(test.must, func(t *testing.T) {
			p := newToy(t)
			if test.fault != nil {
				test.fault(t, p)
			}
			provider := p.provider(t, test.config)
			pending, brought := p.begin(t, provider, test.force)
			if test.tamper != nil {
				test.tamper(&pending, brought)
			}
			identity, err := provider.Finish(t.Context(), pending, brought)
			checkOneKind(t, err, test.want)
			if identity != nil {
				t.Error("a refusal returns an identity")
			}
			checkSays(t, err, test.says)
			// RFC 9207 §2.4: clients MUST NOT proceed.
			if test.tamper != nil && !test.sent && p.count("/token") != 0 {
				t.Error("the code was sent before the answer was checked")
			}
			p.checkSilent(t, err, pending)
		})
	}
}

func requireVerified(c *Config) { c.RequireVerifiedEmail = true }

func allowDomain(domain string) func(*Config) {
	return func(c *Config) { c.AllowedDomains = []string{domain} }
}

// checkOneKind: an error is of the kind that is wanted, and of no other.
func checkOneKind(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, kind := range []error{ErrDenied, ErrMismatch, ErrUnavailable, ErrNotAllowed, ErrRefused} {
		if errors.Is(err, kind) != (kind == want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
}

// checkSays: the operator's log says what it was.
func checkSays(t *testing.T, err error, text string) {
	t.Helper()
	if !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %q in it", err, text)
	}
}

// Every endpoint may fail in every way, and no way lets anybody in.
func TestEndpointFails(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect led to another origin") }))
	t.Cleanup(elsewhere.Close)
	huge := `{"a":"` + strings.Repeat("a", maxAnswer) + `"}`
	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/jwks", "/userinfo"} {
		for _, test := range []struct {
			must    string
			want    error
			handler http.HandlerFunc
			says    string // in the error
		}{
			{"500", ErrUnavailable, answer(500, "text/html", "<p>"), "500"},
			{"503", ErrUnavailable, answer(503, "application/json", `{"error":"x"}`), "503"},
			{"429", ErrUnavailable, answer(429, "application/json", `{"error":"x"}`), "429"},
			{"a web page", ErrUnavailable, answer(200, "text/html; charset=utf-8", "<title>Maintenance</title>"), "web page"},
			{"the connection is closed", ErrUnavailable, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
			{"the body ends early", ErrUnavailable, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte(`{"a":`))
			}, "EOF"},
			{"404", ErrRefused, answer(404, "text/plain", "no"), "404"},
			{"403", ErrRefused, answer(403, "application/json", `{}`), "403"},
			{"not JSON", ErrRefused, answer(200, "application/json", `{"a":`), ""},
			{"JSON that is no object", ErrRefused, answer(200, "application/json", `"a"`), ""},
			{"a huge body", ErrRefused, answer(200, "application/json", huge), "1 MiB"},
			{"a redirect to another origin (RFC 9700 §4.12)", ErrRefused, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+"/?code="+r.FormValue("code"), http.StatusTemporaryRedirect)
			}, "redirect"},
			{"a redirect for ever", ErrRefused, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirect"},
		} {
			t.Run(path[1:]+" "+test.must, func(t *testing.T) {
				p := newToy(t)
				p.handler[path] = test.handler
				p.claims = set("name", nil) // for UserInfo to be asked
				provider := p.provider(t, nil)
				if path == "/.well-known/openid-configuration" {
					_, _, err := provider.Begin(t.Context(), testRedirectURI, "", "", false)
					checkOneKind(t, err, test.want)
					checkSays(t, err, test.says)
					p.checkSilent(t, err, Pending{})
					return
				}
				pending, brought := p.begin(t, provider, false)
				_, err := provider.Finish(t.Context(), pending, brought)
				checkOneKind(t, err, test.want)
				checkSays(t, err, test.says)
				p.checkSilent(t, err, pending)
			})
		}
	}
}

// A redirect of the token endpoint is not followed, not even to the same origin:
// the request carries the code and the secret.
func TestTokenRequestIsSentOnce(t *testing.T) {
	p := newToy(t)
	p.handler["/token"] = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
	p.handler["/elsewhere"] = p.token
	provider := p.provider(t, nil)
	pending, brought := p.begin(t, provider, false)
	_, err := provider.Finish(t.Context(), pending, brought)
	checkOneKind(t, err, ErrRefused)
	if p.count("/token") != 1 || p.count("/elsewhere") != 0 {
		t.Errorf("the code was sent %d + %d times", p.count("/token"), p.count("/elsewhere"))
	}
}

// A GET may move within its origin.
func TestSameOriginRedirect(t *testing.T) {
	p := newToy(t)
	p.handler["/.well-known/openid-configuration"] = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved", http.StatusFound)
	}
	p.handler["/moved"] = func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, 200, map[string]string{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/a", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
		})
	}
	provider := p.provider(t, nil)
	pending, brought := p.begin(t, provider, false)
	if _, err := provider.Finish(t.Context(), pending, brought); err != nil {
		t.Error(err)
	}
}

// Nobody listens, or nobody answers: the caller's context ends the wait.
func TestProviderIsSilent(t *testing.T) {
	gone := newToy(t)
	provider := gone.provider(t, nil)
	gone.Close()
	_, _, err := provider.Begin(t.Context(), testRedirectURI, "", "", false)
	checkOneKind(t, err, ErrUnavailable)

	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/jwks", "/userinfo"} {
		t.Run(path[1:], func(t *testing.T) {
			p := newToy(t)
			p.claims = set("name", nil)
			ctx, leave := contextOf(t)
			held := make(chan struct{})
			hold := func(http.ResponseWriter, *http.Request) { leave(); <-held }
			t.Cleanup(func() { close(held) }) // before the server closes, which waits for it
			provider := p.provider(t, nil)
			p.handler[path] = hold
			if path == "/.well-known/openid-configuration" {
				_, _, err := provider.Begin(ctx, testRedirectURI, "", "", false)
				checkOneKind(t, err, ErrUnavailable)
				return
			}
			pending, brought := p.begin(t, provider, false)
			_, err := provider.Finish(ctx, pending, brought)
			checkOneKind(t, err, ErrUnavailable)
		})
	}
}
