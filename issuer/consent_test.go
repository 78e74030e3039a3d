package issuer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// When a person is asked, and when what they agreed to is remembered.
func TestConsent(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	const cb = "https://app.test/cb"
	asked := func(want bool, why string, changes ...string) *shown {
		t.Helper()
		p := v.authorize(authorization(changes...))
		if p.has(pages.ActionAllow) != want {
			t.Errorf("asked %v, want %v: %s", !want, want, why)
		}
		return p
	}
	denied := asked(true, "the first time").press(pages.ActionDeny).answerTo(cb)
	if denied.Get("error") != string(oauth.AccessDenied) || denied.Has("code") {
		t.Errorf("denied: %v", denied)
	}
	asked(true, "a denial is not remembered as an agreement").press(pages.ActionAllow)
	asked(false, "remembered")
	asked(false, "less than was agreed to", "scope", "openid")
	asked(true, "prompt=consent (OpenID Connect Core 3.1.2.1)", "prompt", "consent")
	asked(true, "another resource", "resource", fixtureFiles)
	more := asked(true, "another scope", "scope", "openid read write")
	if !strings.Contains(more.Body.String(), "write") {
		t.Error("the page does not name the scope that is new")
	}
	more.press(pages.ActionAllow)
	asked(false, "both", "scope", "openid read write")
	asked(true, "another client", "client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1")
	f.restart()
	asked(false, "remembered over a restart")
	v = f.signedIn(f.person(users.User{Username: "bob"}))
	asked(true, "another person")
}

// Any program on a person's machine can pose as a client that is answered there,
// so its consent is not taken from memory (RFC 8252 §8.6, RFC 6749 §10.2).
func TestConsentOfNativeClients(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for _, uri := range []string{"http://127.0.0.1:5000/cb", "com.example.app:/cb"} {
		native := []string{"client_id", "native", "redirect_uri", uri}
		v.code(native...)
		v.authorize(authorization(native...)).expectPage(pages.ActionAllow, "asked again: "+uri)
		p := v.authorize(authorization(append(native, "prompt", "none")...))
		if got := p.answerTo(uri).Get("error"); got != string(oauth.ConsentRequired) {
			t.Errorf("prompt=none: error %q, want consent_required", got)
		}
	}
	v.code("client_id", "spa", "redirect_uri", "https://spa.test/cb")
	if v.authorize(authorization("client_id", "spa", "redirect_uri", "https://spa.test/cb")).has(pages.ActionAllow) {
		t.Error("a public client on https is known by its origin")
	}
}

// Another person can sign in from the consent page; the one before is signed out.
func TestConsentSwitchUser(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	bob := f.personWithPassword(users.User{Username: "bob"}, bobPassword)
	v := f.signedIn(alice)
	before := v.cookies["__Host-oauth_session"]
	p := v.authorize(authorization()).press(pages.ActionSwitchUser).expectPage(pages.ActionLogin, "sign in as someone else")
	p = p.press(pages.ActionLogin, "username", "bob", "password", bobPassword).follow()
	tokens := f.redeemed(p.press(pages.ActionAllow).answerTo("https://app.test/cb").Get("code"))
	if got := f.facts(tokens.AccessToken).Subject; got != bob.ID {
		t.Errorf("sub %q, want bob's", got)
	}
	thief := f.visitor()
	thief.cookies["__Host-oauth_session"] = before
	thief.get("/account").expectPage(pages.ActionLogin, "the session of before has ended")
}

// Request and client are looked at again when the person decides.
func TestConsentAfterAChange(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	p := v.authorize(authorization())
	form := p.form(pages.ActionAllow)
	form.fields.Set(pages.FieldAction, "nonsense")
	v.post("/consent", form.fields).expectStatus(http.StatusBadRequest, "no decision")
	f.reconfigure(func(c *clients.Client) { c.RedirectURIs = []string{"https://app.test/cb2"} })
	p.press(pages.ActionAllow).expectStatus(http.StatusBadRequest, "the redirect URI was removed")
	f.reconfigure(func(c *clients.Client) { c.Disabled = true })
	p.press(pages.ActionDeny).expectStatus(http.StatusBadRequest, "the client was disabled")
}

// A client that was removed and made anew is a stranger, though it has the id.
func TestConsentOfAnEarlierClient(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	v.code("scope", "openid read write")
	f.reconfigure(func(c *clients.Client) { c.Created = record.Now().Add(2e9) })
	v.authorize(authorization()).expectPage(pages.ActionAllow, "consent was for the client of before")
}
