package browsertest

import (
	"strings"
	"testing"
)

// A person signs in and agrees; the client gets a code and redeems it.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		noScript bool
	}{{"with scripts", false}, {"without scripts", true}} {
		t.Run(test.name, func(t *testing.T) {
			_, app := newIssuer(t)
			b := open(t)
			if test.noScript {
				b.withoutScript()
			}
			b.visit(app.request()).answered(200).heading("Sign in")
			if got := b.text(".lead"); !strings.Contains(got, clientName) {
				t.Errorf("the page says %q, not for which client", got)
			}
			b.login(ada, adaPassword).answered(200).await(`form[action="/consent"]`)
			b.action("allow").await("#answer")
			token := app.redeem()
			if body, status := app.userinfo(token); status != 200 || !strings.Contains(body, "Ada Lovelace") {
				t.Errorf("userinfo %d %s", status, body)
			}
			if test.noScript && evaluate[bool](b, "document.scripts.length > 0") {
				t.Error("a page has a script")
			}
		})
	}
}

// The keyboard is enough: the first field has the focus, Enter sends the form.
func TestLoginByKeyboard(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request())
	if got := b.focused(); got != "username" {
		t.Fatalf("the focus is on %q, want the first field", got)
	}
	b.typed(ada + "\t" + adaPassword).enter().await(`form[action="/consent"]`)
}

// The password manager of a browser finds its fields, and pasting is allowed.
func TestLoginFields(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request("login_hint", "ada"))
	for selector, want := range map[string]string{"#username": "username", "#password": "current-password"} {
		if got := evaluate[string](b, "document.querySelector("+quote(selector)+").autocomplete"); got != want {
			t.Errorf("%s has autocomplete=%q, want %q", selector, got, want)
		}
		if !evaluate[bool](b, "document.querySelector("+quote(selector)+").dispatchEvent(new ClipboardEvent('paste', {cancelable: true}))") {
			t.Errorf("%s does not let people paste", selector)
		}
	}
	if got := evaluate[string](b, "document.querySelector('#username').value"); got != "ada" {
		t.Errorf("the name is %q, want that of login_hint", got)
	}
	if got := b.focused(); got != "password" {
		t.Errorf("the focus is on %q, want the first field that is empty", got)
	}
}

// A wrong password is announced, does not tell which was wrong, and leaves the person where they can try again.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request())
	b.login(ada, "not the password").answered(401).heading("Sign in")
	alert := b.text("[role=alert]")
	if alert == "" || strings.Contains(strings.ToLower(alert), "no such") {
		t.Errorf("the announcement is %q", alert)
	}
	if got := b.focused(); got != "password" {
		t.Errorf("the focus is on %q, want the password", got)
	}
	for _, field := range []string{"username", "password"} {
		if !b.has("#" + field + "[aria-invalid=true][aria-describedby=error]") {
			t.Errorf("the field %s is not marked as wrong and described by the error", field)
		}
	}
	if evaluate[string](b, "document.querySelector('#username').value") != ada || evaluate[string](b, "document.querySelector('#password').value") != "" {
		t.Error("the name should be kept, and the password not")
	}
	b.login("nobody", "not the password").answered(401)
	if got := b.text("[role=alert]"); got != alert {
		t.Errorf("a name that does not exist gives %q, one that does %q", got, alert)
	}
	b.login(ada, adaPassword).action("allow").await("#answer")
	app.redeem()
}

// Who is signed in already is not asked again by another client.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword).action("allow").await("#answer")
	app.redeem()
	other := newApplication(t, server)
	b.visit(other.request()).await(`form[action="/consent"]`).action("allow").await("#answer")
	other.redeem()
	b.visit(other.request("prompt", "login")).heading("Sign in")
}
