package issuer

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Refusals that go to the client (RFC 6749 §4.1.2.1): each with its code, the
// state, iss (RFC 9207 §2), and at the redirect URI that was asked for.
func TestAuthorizeRefusals(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	repeated := func(name, other string) string {
		return authorization().Encode() + "&" + url.Values{name: {other}}.Encode()
	}
	with := func(changes ...string) string { return authorization(changes...).Encode() }
	for _, test := range []struct {
		must  string
		query string
		code  oauth.ErrorCode
	}{
		{"RFC 6749 section 4.1.1: response_type is required", with("response_type", ""), oauth.InvalidRequest},
		{"RFC 6749 section 3.1.1: token is not offered", with("response_type", "token"), oauth.UnsupportedResponseType},
		{"OpenID Connect Core section 3: id_token is not offered", with("response_type", "id_token"), oauth.UnsupportedResponseType},
		{"hybrid flows are not offered", with("response_type", "code token"), oauth.UnsupportedResponseType},
		{"hybrid flows are not offered", with("response_type", "code id_token"), oauth.UnsupportedResponseType},
		{"none is not offered", with("response_type", "none"), oauth.UnsupportedResponseType},
		{"RFC 6749 section 3.1.1: values are case sensitive", with("response_type", "CODE"), oauth.UnsupportedResponseType},
		{"a zero byte is part of the value", with("response_type", "code\x00"), oauth.UnsupportedResponseType},
		{"RFC 9700 section 4.3: no answer in fragments", with("response_mode", "fragment"), oauth.InvalidRequest},
		{"web_message is not offered", with("response_mode", "web_message"), oauth.InvalidRequest},
		{"JARM is not offered", with("response_mode", "query.jwt"), oauth.InvalidRequest},
		{"unknown response modes are refused", with("response_mode", "xyz"), oauth.InvalidRequest},

		{"RFC 6749 section 3.1: not more than once", repeated("response_type", "token"), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", repeated("scope", "write"), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", repeated("state", "other"), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", repeated("nonce", "other"), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", repeated("code_challenge", fixtureVerifier[:43]), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", repeated("code_challenge_method", "plain"), oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once, unknown ones too", authorization("foo", "1").Encode() + "&foo=2", oauth.InvalidRequest},
		{"RFC 6749 section 3.1: not more than once", with("prompt", "login") + "&prompt=none", oauth.InvalidRequest},

		{"RFC 6749 section 3.3: a quote is no scope character", with("scope", `openid a"b`), oauth.InvalidScope},
		{"RFC 6749 section 3.3: a backslash is no scope character", with("scope", `openid a\b`), oauth.InvalidScope},
		{"RFC 6749 section 3.3: markup", with("scope", `"><script>`), oauth.InvalidScope},
		{"RFC 6749 section 3.3: no control characters", with("scope", "openid\nread"), oauth.InvalidScope},
		{"RFC 6749 section 3.3: none of the scopes can be granted", with("scope", "admin nonsense"), oauth.InvalidScope},
		{"RFC 6749 section 3.3: scopes are case sensitive", with("scope", "OPENID"), oauth.InvalidScope},

		{"RFC 8707 section 2: an unknown resource", with("resource", "https://other.test"), oauth.InvalidTarget},
		{"RFC 8707 section 2: a known one and an unknown one", with("resource", fixtureAPI) + "&resource=https://other.test", oauth.InvalidTarget},
		{"RFC 8707 section 2: no fragment", with("resource", fixtureAPI+"#x"), oauth.InvalidTarget},
		{"RFC 8707 section 2: absolute", with("resource", "api"), oauth.InvalidTarget},

		{"RFC 7636 section 4.4.1: a challenge is required", with("code_challenge", "", "code_challenge_method", ""), oauth.InvalidRequest},

		{"OpenID Connect Core section 3.1.2.1: none excludes other prompts", with("prompt", "none login"), oauth.InvalidRequest},
		{"unknown prompts are refused", with("prompt", "create"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.1: max_age is a number", with("max_age", "-1"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.1: max_age is a number", with("max_age", "abc"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.1: max_age is whole", with("max_age", "1.5"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.1: max_age is bounded", with("max_age", "99999999999999999999"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.6", with("request", "eyJhbGciOiJub25lIn0.e30."), oauth.RequestNotSupported},
		{"OpenID Connect Core section 3.1.2.6", with("request_uri", "https://evil.test/r"), oauth.RequestURINotSupported},
		{"OpenID Connect Core section 3.1.2.6", with("registration", "{}"), oauth.RegistrationNotSupported},
		{"OpenID Connect Core section 3.1.2.1: a hint must be ours", with("id_token_hint", "canary"), oauth.InvalidRequest},
		{"OpenID Connect Core section 3.1.2.1: alg none is no signature", with("id_token_hint", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."), oauth.InvalidRequest},
		{"nonce is bounded", with("nonce", strings.Repeat("n", 1025)), oauth.InvalidRequest},
	} {
		t.Run(test.must+" "+string(test.code), func(t *testing.T) {
			v.t = t
			p := v.get("/authorize?" + test.query)
			answer := p.answerTo("https://app.test/cb")
			if got := oauth.ErrorCode(answer.Get("error")); got != test.code {
				t.Errorf("error %q, want %q: %s", got, test.code, test.query)
			}
			if answer.Get("state") != "state-of-the-client" {
				t.Errorf("state %q: MUST be that of the request (RFC 6749 section 4.1.2.1)", answer.Get("state"))
			}
			if answer.Has("code") || answer.Has("code_challenge") || strings.Contains(p.Header().Get("Location"), "evil") {
				t.Errorf("Location %s", p.Header().Get("Location"))
			}
			if description := answer.Get("error_description"); description == "" || description != oauth.DescriptionText(description) {
				t.Errorf("error_description %q (RFC 6749 section 4.1.2.1)", description)
			}
		})
	}
}

// Until client and redirect URI are proven, nothing is sent on (RFC 6749
// §4.1.2.1: MUST NOT automatically redirect), whatever else is wrong.
func TestAuthorizePages(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	with := func(changes ...string) string { return authorization(changes...).Encode() }
	evil := "https://evil.test/cb"
	for _, test := range []struct{ must, query string }{
		{"client_id is required", with("client_id", "")},
		{"the client is unknown", with("client_id", "nobody")},
		{"the client is disabled", with("client_id", "gone", "redirect_uri", "https://gone.test/cb")},
		{"the client id is no id", with("client_id", "a b\x00<script>")},
		{"client_id twice", with() + "&client_id=web2"},
		{"client_id twice, the other first", "client_id=web2&" + with()},
		{"redirect_uri twice", with() + "&redirect_uri=" + url.QueryEscape(evil)},
		{"redirect_uri twice, evil first", "redirect_uri=" + url.QueryEscape(evil) + "&" + with()},
		{"redirect_uri is required with openid (OpenID Connect Core 3.1.2.1)", with("client_id", "always", "redirect_uri", "")},
		{"redirect_uri is required of a client with several (RFC 6749 3.1.2.3)", with("redirect_uri", "", "scope", "read")},
		{"another client's redirect_uri", with("redirect_uri", "https://app2.test/cb?tenant=1")},
		{"unregistered, and response_type wrong", with("redirect_uri", evil, "response_type", "foo")},
		{"unregistered, and scope wrong", with("redirect_uri", evil, "scope", `"`)},
		{"unregistered, and client unknown", with("redirect_uri", evil, "client_id", "nobody")},
		{"unregistered, and client disabled", with("redirect_uri", evil, "client_id", "gone")},
		{"unregistered, and prompt=none", with("redirect_uri", evil, "prompt", "none")},
		{"malformed percent-encoding", with() + "&x=%zz"},
		{"a semicolon is no separator", with() + ";x=1"},
	} {
		t.Run(test.must, func(t *testing.T) {
			v.t = t
			v.get("/authorize?"+test.query).expectStatus(http.StatusBadRequest, test.must)
		})
	}
	v.t = t
	v.get("/authorize?"+with("x", strings.Repeat("a", 17<<10))).expectStatus(http.StatusRequestURITooLong, "requests are bounded")
	p := v.post("/authorize", authorization(), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	p.expectStatus(http.StatusUnsupportedMediaType, "OpenID Connect Core 3.1.2.1: POST is a form")

	answer := v.authorize(authorization("client_id", "svc", "redirect_uri", "https://svc.test/cb"))
	answer.expectStatus(http.StatusBadRequest, "a client without the grant has no redirect URI")
}

// A client that is registered with a redirect URI and not for the code flow.
func TestAuthorizeUnauthorizedClient(t *testing.T) {
	f := newFixture(t, withPeople, func(c *Config) {
		for n := range c.Clients {
			if c.Clients[n].ID == "svc" {
				c.Clients[n].RedirectURIs = []string{"https://svc.test/cb"}
			}
		}
	})
	p := f.visitor().authorize(authorization("client_id", "svc", "redirect_uri", "https://svc.test/cb"))
	if got := p.answerTo("https://svc.test/cb").Get("error"); got != string(oauth.UnauthorizedClient) {
		t.Errorf("error %q, want unauthorized_client (RFC 6749 section 4.1.2.1)", got)
	}
}

// What clients may send and must not be refused for.
func TestAuthorizeAccepts(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.visitor()
	for _, test := range []struct {
		must    string
		changes []string
	}{
		{"RFC 6749 section 3.1: unknown parameters MUST be ignored", []string{"foo", "bar", "extra", "1"}},
		{"OpenID Connect Core section 3.1.2.1: display=page", []string{"display", "page"}},
		{"OpenID Connect Core section 3.1.2.1: display=popup", []string{"display", "popup"}},
		{"OpenID Connect Core section 3.1.2.1: ui_locales is a preference", []string{"ui_locales", "se"}},
		{"OpenID Connect Core section 5.2: claims_locales is a preference", []string{"claims_locales", "se"}},
		{"OpenID Connect Core section 3.1.2.1: acr_values is a preference", []string{"acr_values", "1 2"}},
		{"OpenID Connect Core section 5.5: claims is not supported and ignored", []string{"claims", `{"id_token":{"sub":{"value":"bob"}}}`}},
		{"claims that are no JSON are ignored as well", []string{"claims", strings.Repeat("[", 3000)}},
		{"a parameter without a value counts as left out (RFC 6749 section 3.1)", []string{"prompt", " ", "request", ""}},
		{"OpenID Connect Core section 3.1.2.1: nonce is optional in the code flow", []string{"nonce", ""}},
		{"state is only recommended", []string{"state", ""}},
		{"the order of scopes does not count", []string{"scope", "read profile openid"}},
		{"a scope twice is one", []string{"scope", "openid openid"}},
		{"a scope that cannot be granted is left out (RFC 6749 section 3.3)", []string{"scope", "openid admin"}},
		{"response_mode=query is the default", []string{"response_mode", "query"}},
		{"max_age=0", []string{"max_age", "0"}},
		{"prompt=select_account", []string{"prompt", "select_account"}},
		{"PKCE is optional where the client is registered so", []string{
			"client_id", "legacy", "redirect_uri", "https://legacy.test/cb", "code_challenge", "", "code_challenge_method", ""}},
		{"redirect_uri may be left out where there is one and no openid (RFC 6749 section 3.1.2.3)", []string{
			"client_id", "always", "redirect_uri", "", "scope", "read"}},
	} {
		t.Run(test.must, func(t *testing.T) {
			v.t = t
			v.authorize(authorization(test.changes...)).expectPage(pages.ActionLogin, test.must)
			post := v.post("/authorize", authorization(test.changes...))
			post.follow().expectPage(pages.ActionLogin, "OpenID Connect Core 3.1.2.1: MUST support POST")
		})
	}
}

// The scope and the audience that a code is good for.
func TestAuthorizeScopeAndResource(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for _, test := range []struct {
		must             string
		changes          []string
		scope, audience  string
		refreshTokenToo  bool
		withoutIDTokenOK bool
	}{
		{must: "what was asked for", changes: []string{"scope", "openid read"}, scope: "openid read", audience: fixtureAPI + " " + fixtureURL},
		{must: "OAuth without openid", changes: []string{"scope", "read"}, scope: "read", audience: fixtureAPI, withoutIDTokenOK: true},
		{must: "what cannot be granted is left out and the answer says so (RFC 6749 section 3.3)",
			changes: []string{"scope", "openid read admin"}, scope: "openid read", audience: fixtureAPI + " " + fixtureURL},
		{must: "no scope: the client's, but for offline_access", changes: []string{"scope", ""},
			scope: "openid profile email phone address read write", audience: fixtureAPI + " " + fixtureURL},
		{must: "offline_access", changes: []string{"scope", "openid offline_access"},
			scope: "openid offline_access", audience: fixtureAPI + " " + fixtureURL, refreshTokenToo: true},
		{must: "a resource (RFC 8707 section 2)", changes: []string{"scope", "read", "resource", fixtureFiles},
			scope: "read", audience: fixtureFiles, withoutIDTokenOK: true},
	} {
		t.Run(test.must, func(t *testing.T) {
			v.t = t
			tokens := f.redeemed(v.code(test.changes...))
			facts := f.facts(tokens.AccessToken)
			if tokens.Scope != test.scope || oauth.Scope(facts.Scope).String() != test.scope {
				t.Errorf("scope %q and %q, want %q", tokens.Scope, facts.Scope, test.scope)
			}
			if got := strings.Join(facts.Audience, " "); got != test.audience {
				t.Errorf("audience %q, want %q", got, test.audience)
			}
			if (tokens.RefreshToken != "") != test.refreshTokenToo {
				t.Errorf("refresh token given: %v, want %v (OpenID Connect Core section 11)", tokens.RefreshToken != "", test.refreshTokenToo)
			}
			if (tokens.IDToken == "") != test.withoutIDTokenOK {
				t.Errorf("id_token given: %v (OpenID Connect Core section 3.1.3.3)", tokens.IDToken != "")
			}
		})
	}
	v.t = t
	q := authorization("scope", "read")
	q["resource"] = []string{fixtureAPI, fixtureFiles}
	tokens := f.redeemed(v.authorize(q).answerTo("https://app.test/cb").Get("code"))
	if got := f.facts(tokens.AccessToken).Audience; !slices.Equal(got, q["resource"]) {
		t.Errorf("audience %v, want both resources", got)
	}
}

// state comes back byte for byte (RFC 6749 §4.1.2: the exact value), and cannot
// make a second header.
func TestAuthorizeState(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	states := []string{
		" +%2B&=#;'\"é\x00", "a\r\nSet-Cookie: x=1", "{env.SECRET}{http.request.host}", `"><script>alert(1)</script>`,
		strings.Repeat("0123456789abcdef", 256), "\u202e\ufeff", "%00%0d%0a", "\xff\xfe",
	}
	for _, state := range states {
		q := authorization("state", state, "prompt", "none")
		p := v.authorize(q)
		answer := p.answerTo("https://app.test/cb")
		if got := answer.Get("state"); got != state {
			t.Errorf("refusal: state %.80q, want %.80q", got, state)
		}
		if p.Header().Get("Set-Cookie") != "" || answer.Get("error") != string(oauth.ConsentRequired) {
			t.Errorf("headers %v", p.Header())
		}
	}
	v.code() // consents
	for _, state := range states {
		p := v.authorize(authorization("state", state))
		if answer := p.answerTo("https://app.test/cb"); answer.Get("state") != state || answer.Get("code") == "" {
			t.Errorf("success: state %.80q, want %.80q", answer.Get("state"), state)
		}
	}
	if _, ok := v.authorize(authorization("state", "")).answerTo("https://app.test/cb")["state"]; ok {
		t.Error("an answer has a state that was not sent (RFC 6749 section 4.1.2)")
	}
	long := v.authorize(authorization("state", strings.Repeat("s", 8193)))
	if got := long.answerTo("https://app.test/cb").Get("error"); got != string(oauth.InvalidRequest) {
		t.Errorf("error %q: state is bounded", got)
	}
}

// A registered query is kept (RFC 6749 §3.1.2).
func TestAuthorizeKeepsTheQuery(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	p := v.authorize(authorization("client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1")).press(pages.ActionAllow)
	location := p.Header().Get("Location")
	if !strings.HasPrefix(location, "https://app2.test/cb?tenant=1&") || strings.Count(location, "?") != 1 {
		t.Errorf("Location %q", location)
	}
}

// response_mode=form_post (OAuth 2.0 Form Post Response Mode §2): answers and
// refusals as a form that leaves for the client's origin.
func TestAuthorizeFormPost(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	state := `"><img src=x onerror=alert(1)>{{7*7}}`
	p := v.authorize(authorization("response_mode", "form_post", "state", state)).press(pages.ActionAllow)
	p.expectStatus(http.StatusOK, "a page with a form")
	form := p.forms[0]
	if form.action != "https://app.test/cb" || form.fields.Get("code") == "" || form.fields.Get("state") != state || form.fields.Get("iss") != fixtureURL {
		t.Errorf("form %v", form)
	}
	if !strings.Contains(p.Header().Get("Content-Security-Policy"), "; form-action https:") {
		t.Errorf("the form does not reach the client: %s", p.Header().Get("Content-Security-Policy"))
	}
	f.redeemed(form.fields.Get("code"))

	p = v.authorize(authorization("response_mode", "form_post", "scope", "nonsense"))
	if form := p.forms[0]; form.fields.Get("error") != string(oauth.InvalidScope) || form.fields.Get("iss") != fixtureURL || form.action != "https://app.test/cb" {
		t.Errorf("refusal %v", form)
	}
	p = v.authorize(authorization("client_id", "native", "redirect_uri", "com.example.app:/cb", "response_mode", "form_post", "prompt", "none"))
	if got := p.answerTo("com.example.app:/cb").Get("error"); got != string(oauth.ConsentRequired) {
		t.Errorf("a private-use scheme cannot take a form: error %q", got)
	}
}

// iss in every kind of answer (RFC 9207 §2): success, refusal of the person,
// refusal of the request, nobody signed in.
func TestAuthorizeIss(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	const cb = "https://app.test/cb"
	denied := v.authorize(authorization()).press(pages.ActionDeny).answerTo(cb)
	if denied.Get("error") != string(oauth.AccessDenied) || denied.Get("state") != "state-of-the-client" {
		t.Errorf("denial %v", denied)
	}
	if v.authorize(authorization()).press(pages.ActionAllow).answerTo(cb).Get("code") == "" {
		t.Error("no code")
	}
	if got := f.visitor().authorize(authorization("prompt", "none")).answerTo(cb).Get("error"); got != string(oauth.LoginRequired) {
		t.Errorf("error %q, want login_required (OpenID Connect Core section 3.1.2.6)", got)
	}
}

// prompt and max_age (OpenID Connect Core §3.1.2.1).
func TestAuthorizePrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice, bob := f.person(fixtureProfile), f.person(users.User{Username: "bob"})
		v := f.signedIn(alice)
		const cb = "https://app.test/cb"
		asked := func(changes ...string) *shown { t.Helper(); return v.authorize(authorization(changes...)) }
		refusal := func(p *shown, want oauth.ErrorCode) {
			t.Helper()
			if got := p.answerTo(cb).Get("error"); got != string(want) {
				t.Errorf("error %q, want %q", got, want)
			}
		}
		refusal(asked("prompt", "none"), oauth.ConsentRequired)
		hint := f.redeemed(v.code()).IDToken
		bobs := f.redeemed(f.signedIn(bob).code()).IDToken
		if asked("prompt", "none").answerTo(cb).Get("code") == "" {
			t.Error("prompt=none with session and consent: no code")
		}
		if asked("prompt", "none", "id_token_hint", hint).answerTo(cb).Get("code") == "" {
			t.Error("prompt=none with the right hint: no code")
		}
		refusal(asked("prompt", "none", "id_token_hint", bobs), oauth.LoginRequired)
		asked("id_token_hint", bobs).expectPage(pages.ActionLogin, "somebody else is expected")
		asked("prompt", "consent").expectPage(pages.ActionAllow, "prompt=consent asks though it is remembered")
		asked("prompt", "login").expectPage(pages.ActionLogin, "prompt=login MUST authenticate anew")
		asked("prompt", "select_account").expectPage(pages.ActionLogin, "another account may be chosen")

		time.Sleep(2 * time.Second)
		asked("max_age", "1").expectPage(pages.ActionLogin, "the sign-in is older than max_age")
		refusal(asked("max_age", "1", "prompt", "none"), oauth.LoginRequired)
		if asked("max_age", "10000").answerTo(cb).Get("code") == "" {
			t.Error("max_age=10000: no code")
		}
		asked("max_age", "0").expectPage(pages.ActionLogin, "max_age=0 is prompt=login")
	})
}

// A new sign-in that was demanded is enough: no loop; and the ID token says so.
func TestAuthorizeSignInAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice := f.personWithPassword(fixtureProfile, alicePassword)
		v := f.signedIn(alice)
		v.code()
		for _, demand := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"max_age", "1"}} {
			time.Sleep(time.Hour)
			before := time.Now()
			p := v.authorize(authorization(demand...)).expectPage(pages.ActionLogin, demand[0])
			time.Sleep(3 * time.Second)
			p = p.press(pages.ActionLogin, "username", "alice", "password", alicePassword).follow()
			tokens := f.redeemed(p.answerTo("https://app.test/cb").Get("code"))
			claims := idTokenOf(t, tokens.IDToken)
			if auth := int64(claims["auth_time"].(float64)); auth < before.Unix()+3 {
				t.Errorf("%v: auth_time %d, want the new sign-in at %d", demand, auth, before.Unix()+3)
			}
		}
	})
}

// Markup in whatever a page could repeat is text there, and placeholders are
// only text (OWASP: output encoding).
func TestAuthorizeMarkup(t *testing.T) {
	payload := `"><img src=x onerror=alert(1)>javascript:alert(1)//{{constructor}}${7*7}{env.HOME}`
	f := newFixture(t, withPeople, func(c *Config) {
		for n := range c.Clients {
			if c.Clients[n].ID == "web" {
				c.Clients[n].Name = payload
			}
		}
		c.Scopes = append(c.Scopes, ScopeConfig{Name: "<b>", Description: payload})
	})
	alice := f.person(users.User{Username: "alice", Name: payload, Email: payload})
	anonymous, v := f.visitor(), f.signedIn(alice)
	check := func(t *testing.T, p *shown) {
		t.Helper()
		if strings.Contains(p.Body.String(), "<img src=x") || strings.Contains(p.Body.String(), `""><`) {
			t.Errorf("markup is not escaped: %.3000s", p.Body)
		}
		if strings.Contains(p.Body.String(), "/root") {
			t.Error("a placeholder was replaced")
		}
		for name, values := range p.Header() {
			if strings.ContainsAny(strings.Join(values, ""), "<>\r\n") && name != "Location" {
				t.Errorf("header %s: %q", name, values)
			}
		}
	}
	for _, name := range []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age", "login_hint", "ui_locales",
		"acr_values", "id_token_hint", "display", "claims", "resource", "code_challenge", "code_challenge_method", "error", "error_description", payload,
	} {
		t.Run(name, func(t *testing.T) {
			for _, visitor := range []*visitor{anonymous, v} {
				visitor.t = t
				check(t, visitor.authorize(authorization(name, payload)))
				check(t, visitor.authorize(authorization(name, payload, "prompt", "consent")))
			}
		})
	}
	anonymous.t, v.t = t, t
	for _, target := range []string{
		"/login?transaction=" + url.QueryEscape(payload), "/consent?transaction=" + url.QueryEscape(payload), "/account?done=" + url.QueryEscape(payload),
		"/end-session?state=" + url.QueryEscape(payload), "/end-session?id_token_hint=" + url.QueryEscape(payload),
		"/login?next=" + url.QueryEscape("https://evil.test"),
	} {
		check(t, anonymous.get(target, withHeader("Referer", payload)))
		p := v.get(target, withHeader("Accept-Language", payload), withHeader("User-Agent", payload))
		check(t, p)
		for _, leads := range []string{`href="//`, `href="http`, `action="//`, `action="http`, `evil.test"`} {
			if strings.Contains(p.Body.String(), leads) || strings.Contains(p.Header().Get("Location"), "evil.test") {
				t.Errorf("%s: a parameter chooses where to go: %s: %.3000s", target, leads, p.Body)
			}
		}
	}
	p := anonymous.authorize(authorization()).press(pages.ActionLogin, "username", payload, "password", "x")
	check(t, p)
	check(t, v.authorize(authorization("scope", "openid", "prompt", "consent")))
}

// Links never follow what a request says about the host (RFC 8414 §3: metadata
// and links are the issuer's).
func TestAuthorizeIgnoresForwarding(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	poisoned := []fixtureRequest{
		func(r *http.Request) { r.Host = "evil.test" },
		withHeader("X-Forwarded-Host", "evil.test"), withHeader("X-Forwarded-Proto", "evil"), withHeader("X-Forwarded-For", "evil.test"),
		withHeader("X-Forwarded-Prefix", "/evil.test"), withHeader("Forwarded", "host=evil.test;proto=evil"), withHeader("X-Original-URL", "/evil.test"),
		withHeader("X-Rewrite-URL", "/evil.test"), withHeader("Origin", "https://evil.test"), withHeader("Referer", "https://evil.test"),
	}
	targets := []string{"/authorize?" + authorization().Encode(), "/authorize?" + authorization("scope", "no").Encode(),
		"/authorize", "/login", "/account", "/consent", "/end-session", "/end-session?client_id=web"}
	for _, v := range []*visitor{f.visitor(), f.signedIn(alice)} {
		for _, target := range targets {
			p := v.get(target, poisoned...)
			if strings.Contains(fmt.Sprint(p.Header(), p.Body), "evil") {
				t.Errorf("%s: the answer repeats the request's headers: %v %.2000s", target, p.Header(), p.Body)
			}
		}
	}
}

// HEAD is GET without a body, and any other method is none (RFC 9110 §9.1).
func TestAuthorizeMethods(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.visitor()
	target := "/authorize?" + authorization().Encode()
	v.get(target, withMethod(http.MethodHead)).expectStatus(http.StatusOK, "HEAD")
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"} {
		w := f.get(target, withMethod(method))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	preflight := f.get(target, withMethod(http.MethodOptions), withHeader("Origin", "https://evil.test"), withHeader("Access-Control-Request-Method", "GET"))
	if preflight.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("the authorization endpoint MUST NOT support CORS (RFC 9700 section 2.6)")
	}
}

// Anybody can begin a sign-in, so beginning one writes nothing.
func TestAnonymousVisitorsWriteNothing(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	writes := f.countWrites()
	v := f.visitor()
	for range 3 {
		p := v.authorize(authorization()).expectPage(pages.ActionLogin, "sign in")
		v.authorize(authorization("scope", "no"))
		v.authorize(authorization("client_id", "no"))
		v.authorize(authorization("prompt", "none"))
		v.get("/account")
		v.get("/login")
		v.get("/consent?transaction=" + url.QueryEscape(p.form(pages.ActionLogin).fields.Get(pages.FieldTransaction)))
		v.get("/end-session")
		v.post("/consent", url.Values{})
		v.post("/account", url.Values{})
	}
	v.authorize(authorization()).press(pages.ActionLogin, "username", "alice", "password", "wrong")
	if n := writes(); n != 0 {
		t.Errorf("%d writes by visitors who have proven nothing", n)
	}
}
