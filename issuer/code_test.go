package issuer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// A code is bound to client and redirect URI (RFC 6749 §4.1.3), and a refusal
// does not spend it.
func TestCodeIsBound(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	code := v.code("resource", fixtureAPI)
	for _, test := range []struct {
		must string
		form string
		as   fixtureRequest
		want oauth.ErrorCode
	}{
		{"MUST have been issued to the client", redeemForm(code), asWeb2, oauth.InvalidGrant},
		{"MUST have been issued to the client, whose redirect URI alone does not tell", redeemForm(code), asTwin, oauth.InvalidGrant},
		{"MUST have been issued to the client, a public one", redeemForm(code, "client_id", "spa"), func(*http.Request) {}, oauth.InvalidGrant},
		{"a confidential client MUST authenticate", redeemForm(code, "client_id", "web"), func(*http.Request) {}, oauth.InvalidClient},
		{"redirect_uri MUST be identical, not only registered", redeemForm(code, "redirect_uri", "https://app.test/cb2"), asWeb, oauth.InvalidGrant},
		{"redirect_uri MUST be identical", redeemForm(code, "redirect_uri", "https://app.test/cb/"), asWeb, oauth.InvalidGrant},
		{"redirect_uri is required of a client with several", redeemForm(code, "redirect_uri", ""), asWeb, oauth.InvalidGrant},
		{"code is required", redeemForm(""), asWeb, oauth.InvalidRequest},
		{"code once", redeemForm(code) + "&code=" + code, asWeb, oauth.InvalidRequest},
		{"redirect_uri once", redeemForm(code) + "&redirect_uri=https://evil.test", asWeb, oauth.InvalidRequest},
		{"RFC 8707 section 2.2: only what the authorization is for", redeemForm(code, "resource", fixtureFiles), asWeb, oauth.InvalidTarget},
		{"client without the grant", redeemForm(code), asSvc, oauth.UnauthorizedClient},
	} {
		t.Run(test.must, func(t *testing.T) {
			if got := errorOf(t, f.post("/token", test.form, test.as)); got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
	f.judge(f.redeemed(code).AccessToken, true, "the code after all those refusals")
}

// redirect_uri may be left out where only one can be meant.
func TestCodeWithoutRedirectURI(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	code := v.code("client_id", "always", "redirect_uri", "https://always.test/cb")
	expect(t, f.post("/token", redeemForm(code, "redirect_uri", ""), asAlways), http.StatusOK, "")
}

// A second use is refused and ends what the first gave (RFC 6749 §4.1.2: MUST
// deny, SHOULD revoke).
func TestCodeReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		v := f.signedIn(f.person(fixtureProfile))
		for _, later := range []time.Duration{0, 30 * time.Second, 50 * time.Minute} {
			code := v.code("scope", "openid offline_access")
			tokens := f.redeemed(code)
			f.judge(tokens.AccessToken, true, "the token before the replay")
			time.Sleep(later)
			expect(t, f.post("/token", redeemForm(code), asWeb2), http.StatusBadRequest, oauth.InvalidGrant)
			f.judge(tokens.AccessToken, true, "a stranger's replay ends nothing")
			expect(t, f.post("/token", redeemForm(code), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
			f.judge(tokens.AccessToken, false, "the token after the replay")
			expect(t, f.post("/token", refreshForm(tokens.RefreshToken), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
			f.restart()
			f.judge(tokens.AccessToken, false, "the token after a restart")
		}
		if n := len(f.log.event("code_replayed")); n != 3 {
			t.Errorf("%d events code_replayed, want 3", n)
		}
	})
}

// A code lives for sixty seconds (RFC 6749 §4.1.2: MUST expire shortly).
func TestCodeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		v := f.signedIn(f.person(fixtureProfile))
		inTime, late := v.code(), v.code()
		time.Sleep(59 * time.Second)
		f.redeemed(inTime)
		time.Sleep(time.Second)
		expect(t, f.post("/token", redeemForm(late), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
	})
}

// A code survives a reload and a restart, and is still for one use.
func TestCodeSurvivesRestart(t *testing.T) {
	f := newFixture(t, withPeople)
	code := f.signedIn(f.person(fixtureProfile)).code()
	f.restart()
	f.redeemed(code)
	f.restart()
	expect(t, f.post("/token", redeemForm(code), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
}

// mutations are spellings near a handle that must not be taken for it.
func mutations(handle string) map[string]string {
	last := byte('A')
	if handle[len(handle)-1] == 'A' {
		last = 'B'
	}
	return map[string]string{
		"last cut": handle[:len(handle)-1], "first cut": handle[1:], "appended": handle + "A", "padded": handle + "=", "space before": " " + handle,
		"space after": handle + " ", "zero byte": handle + "\x00", "line end": handle + "\n", "line end within": handle[:10] + "\n" + handle[10:],
		"last changed": handle[:len(handle)-1] + string(last), "upper case": strings.ToUpper(handle), "lower case": strings.ToLower(handle),
		"other alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(handle) + "-", "doubled": handle + handle, "encoded": url.QueryEscape(handle + "%"),
		"another issuer": "https://other.test " + handle,
	}
}

func TestCodeMutations(t *testing.T) {
	f := newFixture(t, withPeople)
	code := f.signedIn(f.person(fixtureProfile)).code()
	for name, mutated := range mutations(code) {
		if mutated == code {
			continue
		}
		w := f.post("/token", redeemForm(mutated), asWeb)
		if got := errorOf(t, w); got != oauth.InvalidGrant {
			t.Errorf("%s: error %q, want invalid_grant", name, got)
		}
	}
	f.redeemed(code)
}

// Whatever the issuer gives out is good for one thing: each record has a kind of
// its own.
func TestTypeConfusion(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	tokens := v.offline()
	code := v.code()
	transaction := v.authorize(authorization("prompt", "consent")).form(pages.ActionAllow)
	values := map[string]string{
		"code": code, "refresh token": tokens.RefreshToken, "access token": tokens.AccessToken, "ID token": tokens.IDToken,
		"session": v.cookies["__Host-oauth_session"], "browser": v.cookies["__Host-oauth_browser"],
		"transaction": transaction.fields.Get(pages.FieldTransaction), "CSRF token": transaction.fields.Get(pages.FieldCSRF),
		"secret": clients.NewSecret(), "handle": record.NewHandle(), "authorization": f.facts(tokens.AccessToken).AuthorizationID,
	}
	for name, value := range values {
		if value == "" {
			t.Fatalf("no %s", name)
		}
		if name != "code" {
			expect(t, f.post("/token", redeemForm(value), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
		}
		if name != "refresh token" {
			expect(t, f.post("/token", refreshForm(value), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
		}
		if name != "access token" {
			f.judge(value, false, name+" as an access token")
		}
		if name != "session" {
			thief := f.visitor()
			thief.cookies["__Host-oauth_session"] = value
			thief.get("/account").expectPage(pages.ActionLogin, name+" as a session")
		}
		if name != "transaction" {
			v.get("/consent?transaction="+url.QueryEscape(value)).expectStatus(http.StatusBadRequest, name+" as a transaction")
		}
		if name != "ID token" {
			p := v.authorize(authorization("id_token_hint", value))
			if got := p.answerTo("https://app.test/cb").Get("error"); got != string(oauth.InvalidRequest) {
				t.Errorf("%s as id_token_hint: error %q", name, got)
			}
		}
	}
	f.redeemed(code) // untouched
	f.refreshed(tokens.RefreshToken)
}

// What ends between the authorization request and the token request ends the
// code.
func TestCodeAfterAChange(t *testing.T) {
	for _, test := range []struct {
		must   string
		change func(*fixture, *visitor, *users.User)
	}{
		{"the person signed out", func(f *fixture, v *visitor, _ *users.User) { v.get("/account").press(pages.ActionLogout) }},
		{"the person was removed", func(f *fixture, _ *visitor, u *users.User) { must(f.t, f.RemoveUser(f.t.Context(), u.ID)) }},
		{"the person was disabled", func(f *fixture, _ *visitor, u *users.User) {
			f.change(u, func(u *users.User) { u.Disabled = true })
		}},
		{"the password was changed", func(f *fixture, _ *visitor, u *users.User) {
			must(f.t, f.SetPassword(f.t.Context(), u.ID, bobPassword))
		}},
		{"the redirect URI was removed", func(f *fixture, _ *visitor, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.RedirectURIs = []string{"https://app.test/cb2"} })
		}},
		{"the client was disabled", func(f *fixture, _ *visitor, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.Disabled = true })
		}},
		{"the client lost the grant", func(f *fixture, _ *visitor, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.GrantTypes = []string{"refresh_token"} })
		}},
		{"the client was made anew", func(f *fixture, _ *visitor, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.Created = time.Now().Add(time.Second) })
		}},
	} {
		t.Run(test.must, func(t *testing.T) {
			f := newFixture(t, withPeople)
			alice := f.person(fixtureProfile)
			v := f.signedIn(alice)
			code := v.code()
			test.change(f, v, alice)
			w := f.post("/token", redeemForm(code), asWeb)
			if w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized {
				t.Errorf("status %d: %s, and the code is good: %s", w.Code, test.must, w.Body)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reconfigure reloads with the declared client web changed; the State stays.
func (f *fixture) reconfigure(change func(*clients.Client)) {
	f.t.Helper()
	clients := slices.Clone(f.config.Clients)
	for n := range clients {
		if clients[n].ID == "web" {
			change(&clients[n])
		}
	}
	config := f.config
	config.Clients = clients
	reloaded, err := New(f.t.Context(), config, f.state)
	must(f.t, err)
	f.Issuer = reloaded
}

// together sends n requests whose writes begin at once.
func (f *fixture) together(n int, send func(k int) *httptest.ResponseRecorder) []*httptest.ResponseRecorder {
	f.store.hold(int32(n))
	answers := make([]*httptest.ResponseRecorder, n)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() { answers[k] = send(k) })
	}
	wg.Wait()
	return answers
}

// Fifty clients redeem one code at once: one wins (RFC 6749 §4.1.2: MUST NOT be
// used more than once), and since it was replayed nothing is left alive.
func TestCodeRace(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for range 5 {
		code := v.code("scope", "openid offline_access")
		var won []fixtureTokens
		for _, w := range f.together(50, func(int) *httptest.ResponseRecorder { return f.post("/token", redeemForm(code), asWeb) }) {
			switch {
			case w.Code == http.StatusOK:
				won = append(won, f.tokens(w))
			case w.Code != http.StatusBadRequest || errorOf(t, w) != oauth.InvalidGrant:
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d of 50 redemptions won", len(won))
		}
		f.judge(won[0].AccessToken, false, "the token of a code that was replayed")
		expect(t, f.post("/token", refreshForm(won[0].RefreshToken), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
	}
}
