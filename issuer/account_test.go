package issuer

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

func (p *shown) expectLocation(want string) *shown {
	p.v.t.Helper()
	if got := p.Header().Get("Location"); got != want {
		p.v.t.Errorf("status %d, Location %q, want %q", p.Code, got, want)
	}
	return p
}

// A new password ends every other session and all that was granted.
func TestAccountPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice := f.personWithPassword(fixtureProfile, alicePassword)
		v, other := f.signedIn(alice), f.signedIn(alice)
		tokens := v.offline()
		time.Sleep(2 * time.Second)
		change := func(password, next string) *shown {
			return v.get("/account").press(pages.ActionChangePassword, "password", password, "new_password", next)
		}
		change("canary wrong", bobPassword).expectStatus(http.StatusBadRequest, "the old password is needed")
		time.Sleep(time.Minute)
		change(alicePassword, "short").expectStatus(http.StatusBadRequest, "too short")
		change(alicePassword, strings.Repeat("p", 2000)).expectStatus(http.StatusBadRequest, "too long")
		change(alicePassword, "password1").expectStatus(http.StatusBadRequest, "among the first that are guessed")
		f.judge(tokens.AccessToken, true, "nothing has changed yet")
		change(alicePassword, bobPassword).expectLocation("/account?done=password-changed")
		v.get("/account?done=password-changed").expectPage(pages.ActionLogout, "the browser that did it is signed in")
		other.get("/account").expectPage(pages.ActionLogin, "the other is not")
		f.judge(tokens.AccessToken, false, "an access token of before")
		f.refuseRefresh(tokens.RefreshToken, "a refresh token of before")
		time.Sleep(2 * time.Second)
		f.judge(v.offline().AccessToken, true, "a token of after")
	})
}

func TestAccountSessions(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	one, two, three, bob := f.signedIn(alice), f.signedIn(alice), f.signedIn(alice), f.signedIn(f.person(users.User{Username: "bob"}))
	signedIn := func(v *visitor, want bool, who string) {
		t.Helper()
		if v.get("/account").has(pages.ActionLogout) != want {
			t.Errorf("%s: signed in %v, want %v", who, !want, want)
		}
	}
	twos := two.offline()
	kept := f.redeemed(two.code())
	page := one.get("/account")
	if got := strings.Count(page.Body.String(), `value="`+pages.ActionEndSession+`"`); got != 2 {
		t.Errorf("%d sessions can be ended, want the two others", got)
	}
	for _, key := range []string{two.cookies["__Host-oauth_session"]} {
		if strings.Contains(page.Body.String(), key) {
			t.Error("the page tells a session's cookie")
		}
	}
	bobs := bob.get("/account").form(pages.ActionLogout)
	id := page.form(pages.ActionEndSession).fields.Get(pages.FieldSession)
	bobs.fields.Set(pages.FieldAction, pages.ActionEndSession)
	bobs.fields.Set(pages.FieldSession, id)
	bob.post("/account", bobs.fields)
	signedIn(two, true, "bob cannot end a session of alice")
	page.press(pages.ActionEndSession).expectLocation("/account?done=session-ended")
	if two.get("/account").has(pages.ActionLogout) && three.get("/account").has(pages.ActionLogout) {
		t.Error("no session was ended")
	}
	one.signIn(alice) // one of one's own again
	one.get("/account").press(pages.ActionEndOtherSessions).expectLocation("/account?done=sessions-ended")
	signedIn(one, true, "the current one")
	signedIn(two, false, "the second")
	signedIn(three, false, "the third")
	signedIn(bob, true, "another person's")
	f.judge(kept.AccessToken, false, "what was granted in a session that ended")
	f.judge(twos.AccessToken, true, "offline access goes on")
	f.refreshed(twos.RefreshToken)
	one.get("/account").press(pages.ActionLogout).expectStatus(http.StatusOK, "signed out")
	signedIn(one, false, "after signing out")
}

// To disconnect an application takes everything back, at once.
func TestAccountDisconnect(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	v := f.signedIn(alice)
	tokens, online := v.offline(), f.redeemed(v.code())
	second := v.code("client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1")
	others := f.tokens(f.post("/token", redeemForm(second, "redirect_uri", "https://app2.test/cb?tenant=1"), asWeb2))
	page := v.get("/account")
	for _, text := range []string{"Client web", "app.test", "Client web2"} {
		if !strings.Contains(page.Body.String(), text) {
			t.Errorf("the page does not name %s", text)
		}
	}
	page.press(pages.ActionDisconnect, pages.FieldConnection, "web").expectLocation("/account?done=disconnected")
	f.judge(tokens.AccessToken, false, "its access token")
	f.judge(online.AccessToken, false, "its other access token")
	f.refuseRefresh(tokens.RefreshToken, "its refresh token")
	f.judge(others.AccessToken, true, "another application's")
	v.authorize(authorization()).expectPage(pages.ActionAllow, "consent is asked anew")
	all, err := f.Authorizations(t.Context(), alice.ID)
	if err != nil || slices.ContainsFunc(all, func(a *ledger.Authorization) bool { return a.ClientID == "web" }) {
		t.Errorf("authorizations %v, %v", all, err)
	}
}

// Only notices that the page has are shown, whatever a link says.
func TestAccountNotices(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	plain := whatVaries.ReplaceAllString(v.get("/account").Body.String(), "")
	without := func(s string) string { before, _, _ := strings.Cut(s, "<footer"); return before }
	for _, done := range []string{"x", "<b>you won</b>", "password-changed<", "throttled"} {
		page := v.do(v.request(http.MethodGet, "/account", ""), func(r *http.Request) { r.URL.RawQuery = "done=" + strings.ReplaceAll(done, "<", "%3C") })
		if without(whatVaries.ReplaceAllString(page.Body.String(), "")) != without(plain) {
			t.Errorf("done=%s changes the page", done)
		}
	}
	form := v.get("/account").form(pages.ActionLogout)
	form.fields.Set(pages.FieldAction, "nonsense")
	v.post("/account", form.fields).expectStatus(http.StatusBadRequest, "the form asks for nothing")
}
