package browsertest

import (
	"strings"
	"testing"
)

// RFC 6749 §4.1.2.1: access_denied.
func TestDeny(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword)
	b.action("deny").await("#answer")
	app.refused("access_denied")
	b.visit(app.request()).await(`form[action="/consent"]`) // a refusal is not remembered
}

// OpenID Connect Core §3.1.2.4: what was agreed to is not asked again, what is more is.
func TestRememberedConsent(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword)
	page := b.text("main")
	for _, want := range []string{clientName, "127.0.0.1", "Read the meters of your home", "https://api.example.com/meters", "ada"} {
		if !strings.Contains(page, want) {
			t.Errorf("the consent page does not say %q: %s", want, page)
		}
	}
	if b.has(".tag") {
		t.Error("the first time, every scope is new; the page marks them as added")
	}
	b.action("allow").await("#answer")
	app.redeem()

	b.visit(app.request()).await("#answer")
	app.redeem()

	app.oauth.Scopes = append(app.oauth.Scopes, "write")
	b.visit(app.request()).await(`form[action="/consent"]`)
	if got := b.text(".scopes li:has(.tag)"); !strings.Contains(got, "Change when your heating runs") {
		t.Errorf("the page shows as new: %q", got)
	}
	b.action("allow").await("#answer")
	app.redeem()

	b.visit(app.request("prompt", "consent")).await(`form[action="/consent"]`)
}

// A form that was answered gives no second code, though the browser goes back to it.
func TestBackToConsent(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword)
	b.action("allow").await("#answer")
	app.redeem()
	b.back().answered(400).heading("Already used")
	app.unanswered()
}

// "Not you?" lets somebody else sign in.
func TestSwitchUser(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword)
	b.action("switch-user").heading("Sign in")
	b.login(ada, adaPassword).action("allow").await("#answer")
	app.redeem()
}

// Browsers hold form-action against every redirect that follows a form. Applications send people on from their callback, often
// to another origin: that must not be blocked.
func TestApplicationSendsPeopleOn(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	elsewhere := newApplication(t, server)
	app.next = elsewhere.URL + "/home"
	b := open(t).visit(app.request()).login(ada, adaPassword)
	b.action("allow").await("#answer")
	app.redeem()
	if got := evaluate[string](b, "location.href"); got != elsewhere.URL+"/home" {
		t.Errorf("the browser is at %s", got)
	}
}
