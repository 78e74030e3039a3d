package browsertest

import (
	"html/template"
	"net/http"
	"strings"
	"testing"
)

// evilPage is a page of somebody else's that posts a form to us, with whatever its author could get hold of.
var evilPage = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Prize</title><link rel="icon" href="data:,">
<main><h1>You have won</h1><form method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}<button>Collect</button></form></main></html>`))

// evilSite serves one page.
func evilSite(t testing.TB, host, action string, fields map[string]string) *site {
	s := newSite(t, host)
	s.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := evilPage.Execute(w, struct {
			Action string
			Fields map[string]string
		}{action, fields}); err != nil {
			t.Error(err)
		}
	}))
	return s
}

// hidden are the hidden fields of a form.
func (b *tab) hidden(form string) map[string]string {
	b.t.Helper()
	return evaluate[map[string]string](b, "Object.fromEntries(Array.from(document.querySelectorAll("+quote(form+" input[type=hidden]")+"), i => [i.name, i.value]))")
}

// evilHosts: one of another site, to which SameSite applies; and one of our own site on another port, which gets our cookies.
var evilHosts = []string{"127.0.0.1", "localhost"}

// Another site cannot sign a person in as somebody of its own, though it knows every field of the form (RFC 9700 §4.7; login
// CSRF).
func TestLoginFromAnotherSite(t *testing.T) {
	t.Parallel()
	for _, host := range evilHosts {
		t.Run(host, func(t *testing.T) {
			server, app := newIssuer(t)
			b := open(t).visit(app.request())
			fields := b.hidden(`form[action="/login"]`)
			fields["username"], fields["password"], fields["action"] = ada, adaPassword, "login"
			evil := evilSite(t, host, server.URL()+"/login", fields)
			b.visit(evil.URL).press("button")
			if b.status != http.StatusForbidden && b.status != http.StatusBadRequest {
				t.Errorf("status %d", b.status)
			}
			b.heading("We could not verify this form")
			b.visit(server.URL() + "/account").heading("Sign in")
			app.unanswered()
		})
	}
}

// Another site cannot agree in the person's place.
func TestConsentFromAnotherSite(t *testing.T) {
	t.Parallel()
	for _, host := range evilHosts {
		t.Run(host, func(t *testing.T) {
			server, app := newIssuer(t)
			b := open(t).visit(app.request()).login(ada, adaPassword)
			fields := b.hidden(`form[action="/consent"]`)
			fields["action"] = "allow"
			evil := evilSite(t, host, server.URL()+"/consent", fields)
			b.visit(evil.URL).press("button")
			if b.status != http.StatusForbidden && b.status != http.StatusBadRequest {
				t.Errorf("status %d", b.status)
			}
			b.heading("We could not verify this form")
			b.visit(app.request()).await(`form[action="/consent"]`)
			app.unanswered()
		})
	}
}

// RFC 9700 §4.16: no page of ours can be put into a frame, under which another site could draw its own buttons.
func TestFraming(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	for _, host := range evilHosts {
		b := open(t) // one browser: cookies change nothing
		for _, address := range []string{app.request(), server.URL() + "/account", server.URL() + "/authorize"} {
			evil := newSite(t, host)
			evil.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_ = framePage.Execute(w, address)
			}))
			b.foreign = evil.URL // axe would look into the frame
			b.visit(evil.URL)
			b.expectReport(`frame-ancestors 'none'`)
			b.expectReport(`^policy: frame-ancestors`)
			if text := b.text("body"); strings.Contains(text, "Sign in") {
				t.Errorf("%s is shown in a frame: %s", address, text)
			}
		}
	}
}

var framePage = template.Must(template.New("").Parse(
	`<!doctype html><html lang="en"><title>Prize</title><link rel="icon" href="data:,"><h1>Prize</h1><iframe title="Prize" src="{{.}}"></iframe></html>`))
