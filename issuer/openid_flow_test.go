package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// onSocket serves an issuer at a loopback address, which is its URL.
func onSocket(t *testing.T, changes ...func(*Config)) (*fixture, *httptest.Server) {
	t.Helper()
	var f *fixture
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	f = newFixture(t, append([]func(*Config){withPeople, func(c *Config) { c.URL = server.URL }}, changes...)...)
	return f, server
}

// surfer is a browser over sockets. It follows redirects until one leaves for a
// host that ends in .test, which is the answer to a client.
type surfer struct {
	t      *testing.T
	client *http.Client
}

func newSurfer(t *testing.T) *surfer {
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &surfer{t, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Hostname(), ".test") {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// surf sends a request and returns the forms of the page it ends at, or where it
// left for.
func (s *surfer) surf(r *http.Request) (page []shownForm, at *url.URL, left string) {
	s.t.Helper()
	response, err := s.client.Do(r)
	must(s.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(s.t, err)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	_, _ = w.Write(body)
	return readForms(s.t, w), response.Request.URL, response.Header.Get("Location")
}

func (s *surfer) get(target string) ([]shownForm, *url.URL, string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, target, nil)
	must(s.t, err)
	return s.surf(r)
}

// press presses the button of that value on a page.
func (s *surfer) press(page []shownForm, at *url.URL, button string, fields ...string) ([]shownForm, *url.URL, string) {
	s.t.Helper()
	shown := &shown{v: &visitor{t: s.t}, forms: page, ResponseRecorder: httptest.NewRecorder()}
	form := shown.form(button, fields...)
	r, err := http.NewRequest(http.MethodPost, at.ResolveReference(&url.URL{Path: form.action}).String(), strings.NewReader(form.fields.Encode()))
	must(s.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.surf(r)
}

// An OpenID client that other people wrote (golang.org/x/oauth2, go-oidc):
// discovery, code with PKCE, ID token, userinfo, refresh, revocation.
func TestOpenIDClient(t *testing.T) {
	f, server := onSocket(t)
	alice := f.personWithPassword(fixtureProfile, alicePassword)
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, server.URL)
	must(t, err)
	for name, style := range map[string]oauth2.AuthStyle{"client_secret_basic": oauth2.AuthStyleInHeader, "client_secret_post": oauth2.AuthStyleInParams} {
		endpoint := provider.Endpoint()
		endpoint.AuthStyle = style
		client := oauth2.Config{ClientID: "web", ClientSecret: webSecret, Endpoint: endpoint, RedirectURL: "https://app.test/cb",
			Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess, "read"}}
		verifier := oauth2.GenerateVerifier()
		s := newSurfer(t)
		page, at, _ := s.get(client.AuthCodeURL("the state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("the nonce"), oauth2.SetAuthURLParam("prompt", "consent")))
		page, at, _ = s.press(page, at, pages.ActionLogin, "username", "alice", "password", alicePassword)
		_, _, left := s.press(page, at, pages.ActionAllow)
		answer, err := url.Parse(left)
		must(t, err)
		if q := answer.Query(); q.Get("state") != "the state" || q.Get("iss") != server.URL {
			t.Fatalf("%s: answer %s", name, left)
		}
		tokens, err := client.Exchange(ctx, answer.Query().Get("code"), oauth2.VerifierOption(verifier))
		must(t, err)
		raw, _ := tokens.Extra("id_token").(string)
		idToken, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(ctx, raw)
		must(t, err)
		must(t, idToken.VerifyAccessToken(tokens.AccessToken)) // at_hash
		if idToken.Nonce != "the nonce" || idToken.Subject != alice.ID {
			t.Errorf("%s: nonce %q, sub %q", name, idToken.Nonce, idToken.Subject)
		}
		info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		must(t, err)
		if info.Subject != alice.ID || info.Email != "alice@example.test" || !info.EmailVerified {
			t.Errorf("%s: userinfo %+v", name, info)
		}
		next, err := client.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
		must(t, err)
		if next.RefreshToken == tokens.RefreshToken {
			t.Errorf("%s: no rotation", name)
		}
		response, err := http.PostForm(server.URL+"/revoke", url.Values{"token": {next.RefreshToken}, "client_id": {"web"}, "client_secret": {webSecret}})
		must(t, err)
		must(t, response.Body.Close())
		f.judge(next.AccessToken, false, name+": after the revocation")
		if _, err := client.TokenSource(ctx, &oauth2.Token{RefreshToken: next.RefreshToken}).Token(); err == nil {
			t.Errorf("%s: a revoked refresh token is good", name)
		}
	}
}

// behindProvider is an issuer, first, where people sign in at another one, idp, and
// the address of each.
func behindProvider(t *testing.T) (first, idp *fixture, here, there string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { first.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	// Beside each other on 127.0.0.1 the two would share cookies, which have no
	// port: the first is known by another name.
	here = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	idp, idpServer := onSocket(t, func(c *Config) {
		c.Clients = append(c.Clients, clients.Client{
			Metadata: clients.Metadata{ID: "gate", Type: clients.Confidential, GrantTypes: []string{oauth.GrantAuthorizationCode},
				RedirectURIs: []string{here + "/login/callback/idp"}, Scope: oauth.Scope{"openid", "profile", "email"}},
			Secrets: []clients.Secret{{Hash: clients.HashSecret("canary-gate")}},
		})
	})
	provider := upstream.Config{ID: "idp", Issuer: idpServer.URL, ClientID: "gate", ClientSecret: "canary-gate"}
	second := provider
	second.ID = "second"
	first = newFixture(t, withPeople, func(c *Config) {
		c.URL, c.LocalLogin, c.Upstreams = here, false, []upstream.Config{provider, second}
	})
	return first, idp, here, idpServer.URL
}

// A second issuer is the identity provider of the first: the whole sign-in, and
// answers that come from elsewhere, twice, or as a refusal.
func TestUpstreamSignIn(t *testing.T) {
	first, idp, here, there := behindProvider(t)
	alice := idp.personWithPassword(fixtureProfile, alicePassword)
	begin := func(s *surfer) ([]shownForm, *url.URL) {
		t.Helper()
		page, at, _ := s.get(here + "/authorize?" + authorization().Encode())
		page, at, _ = s.press(page, at, pages.ActionUpstream)
		if at.Host != strings.TrimPrefix(there, "http://") {
			t.Fatalf("at %s, want the identity provider", at)
		}
		return page, at
	}
	login := func(s *surfer) ([]shownForm, *url.URL) {
		t.Helper()
		page, at := begin(s)
		page, at, _ = s.press(page, at, pages.ActionLogin, "username", "alice", "password", alicePassword)
		return page, at
	}

	// The person declines at the provider.
	denied := newSurfer(t)
	page, at := login(denied)
	if page, at, _ = denied.press(page, at, pages.ActionDeny); at.Path != "/login/callback/idp" || len(page) == 0 {
		t.Errorf("declined: at %s with %d forms, want the sign-in page", at, len(page))
	}

	s := newSurfer(t)
	page, at = login(s)
	page, at, _ = s.press(page, at, pages.ActionAllow)
	_, _, left := s.press(page, at, pages.ActionAllow) // our own consent: RFC 9700 section 4.16 of a proxy
	answer, err := url.Parse(left)
	must(t, err)
	tokens := first.redeemed(answer.Query().Get("code"))
	user, err := first.User(t.Context(), first.facts(tokens.AccessToken).Subject)
	must(t, err)
	if user.Provider != there || user.ProviderSubject != alice.ID || user.ID == alice.ID || user.Email != "alice@example.test" {
		t.Errorf("user %+v", user)
	}

	// The answer in another browser, at another provider's address, and twice.
	stopped := newSurfer(t)
	var callback string
	stopped.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/login/callback/") {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	login(stopped) // who has agreed at the provider already
	if callback == "" {
		t.Fatal("no answer from the provider")
	}
	status := func(s *surfer, target string) int {
		t.Helper()
		response, err := s.client.Get(target)
		must(t, err)
		must(t, response.Body.Close())
		return response.StatusCode
	}
	if got := status(newSurfer(t), callback); got != 400 {
		t.Errorf("in another browser: %d (RFC 9700 section 4.7: MUST be bound)", got)
	}
	victim := newSurfer(t)
	begin(victim)
	if got := status(victim, callback); got != 400 {
		t.Errorf("in a browser with a sign-in of its own: %d (RFC 9700 section 4.7)", got)
	}
	elsewhere := strings.Replace(callback, "/callback/idp", "/callback/second", 1)
	if got := status(stopped, elsewhere); got != 400 {
		t.Errorf("at another provider's address: %d (RFC 9700 section 4.4)", got)
	}
	if got := status(stopped, callback); got != 400 {
		t.Errorf("a second use: %d", got)
	}
}

// A sign-in at another provider is as old as the provider says (OpenID Connect Core
// §2, §3.1.2.1): whoever comes from there without being asked for anything has not
// authenticated a moment ago.
func TestUpstreamAuthTime(t *testing.T) {
	first, idp, here, there := behindProvider(t)
	alice := idp.personWithPassword(fixtureProfile, alicePassword)
	s := newSurfer(t)
	page, at, _ := s.get(here + "/authorize?" + authorization().Encode())
	page, at, _ = s.press(page, at, pages.ActionUpstream)
	page, at, _ = s.press(page, at, pages.ActionLogin, "username", "alice", "password", alicePassword)
	page, at, _ = s.press(page, at, pages.ActionAllow)
	s.press(page, at, pages.ActionAllow)
	page, at, _ = s.get(here + "/account")
	s.press(page, at, pages.ActionLogout)

	long := idp.signedInSince(alice, time.Hour)
	page, at, _ = s.get(here + "/authorize?" + authorization().Encode())
	_, _, left := s.press(page, at, pages.ActionUpstream) // who asks for nothing any more, nor does the issuer
	answer, err := url.Parse(left)
	must(t, err)
	claims := idTokenOf(t, first.redeemed(answer.Query().Get("code")).IDToken)
	if stated, _ := claims["auth_time"].(float64); int64(stated) != long.Unix() {
		t.Errorf("auth_time %v, want that of the provider, %d", claims["auth_time"], long.Unix())
	}
	page, at, left = s.get(here + "/authorize?" + authorization("max_age", "600").Encode())
	if left != "" {
		t.Fatalf("max_age=600, and an hour after the person authenticated the answer is %s", left)
	}
	if _, at, _ = s.press(page, at, pages.ActionUpstream); !strings.HasPrefix(at.String(), there+"/authorize") {
		t.Errorf("at %s, want the provider's sign-in page", at)
	}
}

// signedInSince makes all sign-ins of a person older than they are, and returns when
// they were.
func (f *fixture) signedInSince(user *users.User, ago time.Duration) (since time.Time) {
	f.t.Helper()
	must(f.t, f.store.Update(f.t.Context(), func(tx storage.Tx) error {
		var account map[string]any
		value, err := tx.Get("user", f.URL()+" "+user.ID)
		if err == nil {
			err = json.Unmarshal(value, &account)
		}
		if err != nil {
			return err
		}
		delete(account, "password_changed") // it would be later than the sign-in
		if err := record.Put(tx, "user", f.URL()+" "+user.ID, account, time.Time{}); err != nil {
			return err
		}
		sessions := make(map[string]*signin.Session)
		err = tx.List("session", f.URL()+" ", func(key string, value []byte) (err error) {
			sessions[key], err = record.Decode[signin.Session]("session", value)
			return err
		})
		for key, s := range sessions {
			s.AuthTime = s.AuthTime.Add(-ago)
			since = s.AuthTime
			err = errors.Join(err, record.Put(tx, "session", key, s, s.Expiry))
		}
		return err
	}))
	return since
}

// Of a provider that does not say when the person authenticated nobody knows it: the
// sign-in is older than any max_age, and the ID token states no time.
func TestUnknownAuthTime(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.visitor()
	w := httptest.NewRecorder()
	_, _, err := f.signin.SignIn(w, v.request(http.MethodGet, "/account", ""), f.person(fixtureProfile), signin.Authentication{AMR: []string{"mfa"}})
	must(t, err)
	v.keep(w)
	claims := idTokenOf(t, f.redeemed(v.code()).IDToken)
	if stated, ok := claims["auth_time"]; ok {
		t.Errorf("auth_time %v", stated)
	}
	v.authorize(authorization("max_age", "1000000")).expectPage(pages.ActionLogin, "nobody knows how old the sign-in is")
	none := v.authorize(authorization("max_age", "1000000", "prompt", "none")).answerTo("https://app.test/cb")
	if none.Get("error") != string(oauth.LoginRequired) {
		t.Errorf("prompt=none: %v", none)
	}
	if !strings.Contains(v.get("/account").Body.String(), strconv.Itoa(time.Now().UTC().Year())) {
		t.Error("the account does not say when the session began")
	}
}
