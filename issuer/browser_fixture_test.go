package issuer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

const (
	alicePassword = "canary staple of 4lice"
	bobPassword   = "canary staple of b0b"

	webSecret = "canary-web"
	// fixtureVerifier and its S256 challenge (RFC 7636 §4.2).
	fixtureVerifier  = "canary-verifier-0123456789-0123456789-0123456789"
	fixtureChallenge = "0xCLKpKXBKoT1Oj35mUN_Jyqz5kF0HOABBDKHu_yjUU"
)

var (
	asWeb    = withBasic("web", webSecret)
	asTwin   = withBasic("twin", "canary-twin")
	asWeb2   = withBasic("web2", "canary-web2")
	asAlways = withBasic("always", "canary-always")
	asLegacy = withBasic("legacy", "canary-legacy")
)

// withPeople adds what sign-ins need: passwords that are kept here, and clients.
//
//	web      confidential, two redirect URIs, every scope
//	web2     confidential, one redirect URI
//	twin     confidential, with a redirect URI of web
//	spa      public, an https redirect URI (in place of the spa that cannot)
//	native   public, loopback and private-use redirect URIs
//	always   confidential, gets refresh tokens unasked
//	legacy   confidential, PKCE optional
//	gone     confidential, disabled
func withPeople(c *Config) {
	c.LocalLogin = true
	flows := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	client := func(id, clientType string, redirects []string, change func(*clients.Metadata)) clients.Client {
		m := clients.Metadata{
			ID: id, Name: "Client " + id, Type: clientType, GrantTypes: flows, RedirectURIs: redirects,
			Scope: append(slices.Clone(oauth.PersonalScopes), "read", "write"),
		}
		if change != nil {
			change(&m)
		}
		made := clients.Client{Metadata: m}
		if clientType == clients.Confidential {
			made.Secrets = []clients.Secret{{Hash: clients.HashSecret("canary-" + id)}}
		}
		return made
	}
	c.Clients = slices.DeleteFunc(c.Clients, func(c clients.Client) bool { return c.ID == "spa" })
	c.Clients = append(c.Clients,
		client("web", clients.Confidential, []string{"https://app.test/cb", "https://app.test/cb2"}, func(m *clients.Metadata) {
			m.PostLogoutRedirectURIs = []string{"https://app.test/bye", "https://app.test/bye?from=here"}
		}),
		client("web2", clients.Confidential, []string{"https://app2.test/cb?tenant=1"}, func(m *clients.Metadata) {
			m.PostLogoutRedirectURIs = []string{"https://app2.test/bye"}
		}),
		client("twin", clients.Confidential, []string{"https://app.test/cb"}, nil),
		client("spa", clients.Public, []string{"https://spa.test/cb"}, nil),
		client("native", clients.Public, []string{"http://127.0.0.1/cb", "com.example.app:/cb"}, nil),
		client("always", clients.Confidential, []string{"https://always.test/cb"}, func(m *clients.Metadata) { m.RefreshTokenAlways = true }),
		client("legacy", clients.Confidential, []string{"https://legacy.test/cb"}, func(m *clients.Metadata) { m.PKCEOptional = true }),
		client("gone", clients.Confidential, []string{"https://gone.test/cb"}, func(m *clients.Metadata) { m.Disabled = true }),
	)
}

// fixtureProfile is what the scopes of OpenID Connect release of alice.
var fixtureProfile = users.User{
	Username: "alice", Name: "Alice Doe", GivenName: "Alice", FamilyName: "Doe", Locale: "fr", Picture: "https://alice.test/me.png",
	Email: "alice@example.test", EmailVerified: true, PhoneNumber: "+33123456789",
	Address: users.Address{Formatted: "1 rue X", Country: "FR"},
}

// person adds somebody without a password, which costs no hash.
func (f *fixture) person(user users.User) *users.User { return f.personWithPassword(user, "") }

func (f *fixture) personWithPassword(user users.User, password string) *users.User {
	f.t.Helper()
	added, err := f.AddUser(f.t.Context(), user, password)
	if err != nil {
		f.t.Fatal(err)
	}
	return added
}

// change changes a person's record as an operator would.
func (f *fixture) change(user *users.User, change func(*users.User)) {
	f.t.Helper()
	_, err := f.realm.users.Update(f.t.Context(), user.ID, func(u *users.User) error { change(u); return nil })
	if err != nil {
		f.t.Fatal(err)
	}
}

// visitor is a stand-in for a browser: it keeps cookies as one does, reads
// forms, and follows redirects on the issuer's own origin and nowhere else. Every
// answer it gets is held against what is true of all pages.
type visitor struct {
	f       *fixture
	t       testing.TB
	cookies map[string]string
	header  http.Header // sent with every request
}

func (f *fixture) visitor() *visitor {
	return &visitor{f: f, t: f.t, cookies: make(map[string]string), header: http.Header{"User-Agent": {"Mozilla/5.0 (X11; Linux) Firefox/140.0"}}}
}

// signedIn is a visitor who has signed in already. It skips the form and its
// slow hash; TestLogin does not.
func (f *fixture) signedIn(user *users.User) *visitor {
	f.t.Helper()
	v := f.visitor()
	v.signIn(user)
	return v
}

func (v *visitor) signIn(user *users.User) {
	v.t.Helper()
	w := httptest.NewRecorder()
	if _, _, err := v.f.signin.SignIn(w, v.request(http.MethodGet, "/account", ""), user, signin.ByPassword()); err != nil {
		v.t.Fatal(err)
	}
	v.keep(w)
}

// shown is an answer as a browser sees it.
type shown struct {
	*httptest.ResponseRecorder
	v     *visitor
	forms []shownForm
}

// shownForm is a form of a page; buttons are the values of its action buttons.
type shownForm struct {
	action  string
	fields  url.Values
	buttons []string
}

func (v *visitor) request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	maps.Copy(r.Header, v.header)
	for _, name := range slices.Sorted(maps.Keys(v.cookies)) {
		r.AddCookie(&http.Cookie{Name: name, Value: v.cookies[name]})
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		// What browsers say of a form on a page with Referrer-Policy: no-referrer.
		r.Header.Set("Origin", "null")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r
}

func (v *visitor) get(target string, changes ...fixtureRequest) *shown {
	v.t.Helper()
	return v.do(v.request(http.MethodGet, target, ""), changes...)
}

func (v *visitor) post(target string, fields url.Values, changes ...fixtureRequest) *shown {
	v.t.Helper()
	return v.do(v.request(http.MethodPost, target, fields.Encode()), changes...)
}

func (v *visitor) do(r *http.Request, changes ...fixtureRequest) *shown {
	v.t.Helper()
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	v.f.ServeHTTP(w, r)
	checkPage(v.t, w)
	v.keep(w)
	return &shown{ResponseRecorder: w, v: v, forms: readForms(v.t, w)}
}

// keep does with Set-Cookie what browsers do, and checks what RFC 9700 and RFC
// 6265bis §4.1.3 want of every cookie.
func (v *visitor) keep(w *httptest.ResponseRecorder) {
	v.t.Helper()
	secure := strings.HasPrefix(v.f.URL(), "https:")
	for _, c := range w.Result().Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != secure {
			v.t.Errorf("cookie %s: want HttpOnly, SameSite=Lax, Path=/, no Domain, Secure=%v", c.Raw, secure)
		}
		if strings.HasPrefix(c.Name, "__Host-oauth_") != secure || !strings.Contains(c.Name, "oauth_") {
			v.t.Errorf("cookie %s: __Host- exactly on https", c.Name)
		}
		switch {
		case c.MaxAge < 0:
			delete(v.cookies, c.Name)
		case len(c.Name)+len(c.Value) <= 4096: // RFC 6265bis §5.6: a longer one is dropped
			v.cookies[c.Name] = c.Value
		}
	}
}

// checkPage holds an answer against what is true of every page and redirect.
func checkPage(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("a page has %s: no other origin may read it", name)
		}
	}
	if !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v: want no-store, no-referrer, nosniff (RFC 9700 section 4.2.4)", h)
	}
	if len(h.Values("Location")) > 1 || strings.ContainsAny(h.Get("Location"), "\r\n") {
		t.Errorf("Location %q", h.Values("Location"))
	}
	if (w.Code/100 == 3) != (h.Get("Location") != "") || (w.Code/100 == 3 && w.Code != http.StatusSeeOther) {
		t.Errorf("status %d with Location %q: a redirect is 303 (RFC 9700 section 4.12)", w.Code, h.Get("Location"))
	}
	if bytes.Contains(w.Body.Bytes(), []byte(canary)) {
		t.Errorf("the page holds a secret: %.2000s", w.Body)
	}
	if w.Code/100 == 3 {
		return
	}
	policy := h.Get("Content-Security-Policy")
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(policy, "frame-ancestors 'none'") ||
		!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || h.Get("X-Frame-Options") != "DENY" {
		t.Errorf("headers %v: want a page with a strict Content-Security-Policy that nobody frames (RFC 9700 section 4.16)", h)
	}
}

// readForms returns the forms of a page.
func readForms(t testing.TB, w *httptest.ResponseRecorder) (forms []shownForm) {
	t.Helper()
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		return nil
	}
	document, err := html.Parse(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range document.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if strings.HasPrefix(n.Data, "on") || n.Data == "script" && attribute(n, "src") == "" {
			t.Errorf("an inline script: %s", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") && a.Key != "value" {
				t.Errorf("an attribute that runs: %s=%q", a.Key, a.Val)
			}
		}
		switch {
		case n.Data == "form":
			forms = append(forms, shownForm{action: attribute(n, "action"), fields: make(url.Values)})
		case len(forms) == 0 || attribute(n, "name") == "":
		case n.Data == "input":
			forms[len(forms)-1].fields.Set(attribute(n, "name"), attribute(n, "value"))
		case n.Data == "button" && attribute(n, "name") == pages.FieldAction:
			forms[len(forms)-1].buttons = append(forms[len(forms)-1].buttons, attribute(n, "value"))
		}
	}
	return forms
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// form returns the form with that button.
func (p *shown) form(button string, fields ...string) shownForm {
	p.v.t.Helper()
	for _, form := range p.forms {
		if !slices.Contains(form.buttons, button) {
			continue
		}
		if len(fields) > 1 && form.fields.Has(fields[0]) && fields[0] == pages.FieldConnection && form.fields.Get(fields[0]) != fields[1] {
			continue
		}
		filled := shownForm{action: form.action, fields: url.Values{pages.FieldAction: {button}}}
		for name, values := range form.fields {
			filled.fields[name] = values
		}
		for n := 0; n+1 < len(fields); n += 2 {
			filled.fields.Set(fields[n], fields[n+1])
		}
		return filled
	}
	p.v.t.Fatalf("status %d, %q: no button %q on the page: %.3000s", p.Code, p.Header().Get("Location"), button, p.Body)
	return shownForm{}
}

// press fills in a form, by name and value, and presses its button.
func (p *shown) press(button string, fields ...string) *shown {
	p.v.t.Helper()
	form := p.form(button, fields...)
	return p.v.post(form.action, form.fields)
}

// has tells whether the page has that button.
func (p *shown) has(button string) bool {
	return slices.ContainsFunc(p.forms, func(form shownForm) bool { return slices.Contains(form.buttons, button) })
}

// follow goes on while redirects stay on the issuer's origin.
func (p *shown) follow() *shown {
	p.v.t.Helper()
	for range 10 {
		location := p.Header().Get("Location")
		if location == "" || !strings.HasPrefix(location, "/") {
			return p
		}
		p = p.v.get(location)
	}
	p.v.t.Fatal("redirects without end")
	return nil
}

// expectStatus fails unless the answer has that status.
func (p *shown) expectStatus(status int, must string) *shown {
	p.v.t.Helper()
	if p.Code != status {
		p.v.t.Errorf("status %d (Location %q), want %d: %s: %.1500s", p.Code, p.Header().Get("Location"), status, must, p.Body)
	}
	return p
}

// expectPage fails unless the page has that button: "which page is it".
func (p *shown) expectPage(button, must string) *shown {
	p.v.t.Helper()
	if !p.has(button) {
		p.v.t.Errorf("status %d (Location %q): no button %q: %s", p.Code, p.Header().Get("Location"), button, must)
	}
	return p
}

// answerTo returns the answer that went to a client, which must be at that
// redirect URI and name its issuer (RFC 9207 §2).
func (p *shown) answerTo(redirectURI string) url.Values {
	p.v.t.Helper()
	location := p.Header().Get("Location")
	before, query, _ := strings.Cut(location, "?")
	values, err := url.ParseQuery(query)
	if wantBefore, _, _ := strings.Cut(redirectURI, "?"); err != nil || before != wantBefore {
		p.v.t.Fatalf("status %d, Location %q: want an answer at %s: %.2000s", p.Code, location, redirectURI, p.Body)
	}
	if iss := values.Get("iss"); iss != p.v.f.URL() {
		p.v.t.Errorf("iss %q, want %q (RFC 9207 section 2)", iss, p.v.f.URL())
	}
	return values
}

// authorization makes an authorization request of web, changed by names and
// values; an empty value leaves the parameter out.
func authorization(changes ...string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"web"}, "redirect_uri": {"https://app.test/cb"}, "scope": {"openid read"},
		"state": {"state-of-the-client"}, "nonce": {"nonce-of-the-client"},
		"code_challenge": {fixtureChallenge}, "code_challenge_method": {"S256"},
	}
	for n := 0; n+1 < len(changes); n += 2 {
		if changes[n+1] == "" {
			q.Del(changes[n])
			continue
		}
		q.Set(changes[n], changes[n+1])
	}
	return q
}

// authorize sends an authorization request.
func (v *visitor) authorize(q url.Values) *shown {
	v.t.Helper()
	return v.get("/authorize?" + q.Encode())
}

// code gets a code for somebody who is signed in, consenting if asked.
func (v *visitor) code(changes ...string) string {
	v.t.Helper()
	q := authorization(changes...)
	p := v.authorize(q)
	if p.has(pages.ActionAllow) {
		p = p.press(pages.ActionAllow)
	}
	code := p.answerTo(q.Get("redirect_uri")).Get("code")
	if code == "" {
		v.t.Fatalf("no code: %s", p.Header().Get("Location"))
	}
	return code
}

// fixtureTokens is a token response.
type fixtureTokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	Scope        string `json:"scope"`
	ExpiresIn    int64  `json:"expires_in"`
}

// redeemForm is the token request for a code; changes as of authorization.
func redeemForm(code string, changes ...string) string {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {fixtureVerifier},
	}
	for n := 0; n+1 < len(changes); n += 2 {
		if changes[n+1] == "" {
			form.Del(changes[n])
			continue
		}
		form.Set(changes[n], changes[n+1])
	}
	return form.Encode()
}

func refreshForm(token string, changes ...string) string {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for n := 0; n+1 < len(changes); n += 2 {
		form.Set(changes[n], changes[n+1])
	}
	return form.Encode()
}

// tokens reads a successful token response.
func (f *fixture) tokens(w *httptest.ResponseRecorder) fixtureTokens {
	f.t.Helper()
	var tokens fixtureTokens
	if err := json.Unmarshal(w.Body.Bytes(), &tokens); err != nil || w.Code != http.StatusOK || tokens.AccessToken == "" {
		f.t.Fatalf("no tokens: %d %s %v", w.Code, w.Body, err)
	}
	checkNotStored(f.t, w)
	return tokens
}

// offline gets tokens with a refresh token for somebody who is signed in to web.
func (v *visitor) offline() fixtureTokens {
	v.t.Helper()
	code := v.code("scope", "openid read write offline_access")
	return v.f.tokens(v.f.post("/token", redeemForm(code), asWeb))
}

// redeemed and refreshed are tokens, or the failure of the test.
func (f *fixture) redeemed(code string, changes ...string) fixtureTokens {
	f.t.Helper()
	return f.tokens(f.post("/token", redeemForm(code, changes...), asWeb))
}

func (f *fixture) refreshed(token string, changes ...string) fixtureTokens {
	f.t.Helper()
	return f.tokens(f.post("/token", refreshForm(token, changes...), asWeb))
}

// countingStorage counts writes.
type countingStorage struct {
	storage.Storage
	updates atomic.Int64
}

func (s *countingStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	s.updates.Add(1)
	return s.Storage.Update(ctx, fn)
}

// countWrites returns how many transactions there have been since.
func (f *fixture) countWrites() func() int64 {
	counting := &countingStorage{Storage: f.store.Storage}
	f.store.Storage = counting
	return counting.updates.Load
}

// idTokenOf returns the claims of an ID token, unverified; TestIDToken and the
// flow over sockets verify it.
func idTokenOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
