package pages

import (
	"net/http"
	"time"
)

// Login is the sign-in page. It offers what it is given: the form of local users, identity providers, the user that Caddy has
// already authenticated, or several of them. Each is a form of its own, posted to Action.
type Login struct {
	Action      string // path that the forms are posted to
	CSRF        string
	Transaction string // what the sign-in is for; opaque

	Client   string // name of the client that asked; empty where a person signs in to this server itself
	Error    LoginError
	Wait     time.Duration // with LoginThrottled: how long until the next attempt is answered
	Username string        // filled in beforehand: login_hint, or what was typed before

	Local     bool // people may sign in with a name and a password: ActionLogin, FieldUsername, FieldPassword
	Upstreams []Upstream
	CaddyUser string // the user Caddy has authenticated, offered as "continue as"; empty: none

	// LanguageURL is the path that shows this page again by GET; the language switch of an answer to POST leads there. Empty: no
	// switch on such an answer.
	LanguageURL string

	// FormTargets are where the browser may be led once a form has been answered: the redirect URI of the request, and the
	// issuers of the Upstreams. Forms may then be answered with redirects to any URL of those schemes.
	FormTargets []string
}

// Upstream is an identity provider that people may sign in with.
type Upstream struct {
	ID   string // value of FieldUpstream
	Name string
}

// LoginError is why the page is shown again. It never tells whether the name or the password was wrong.
type LoginError string

const (
	LoginCredentials LoginError = "credentials" // name or password wrong
	LoginThrottled   LoginError = "throttled"   // too many attempts: Wait
	LoginUpstream    LoginError = "upstream"    // the identity provider refused, or gave no answer
)

// Login renders the sign-in page.
func (p *Pages) Login(w http.ResponseWriter, r *http.Request, status int, d Login) {
	p.render(w, r, page{template: "login.html", status: status, data: d, languageURL: d.LanguageURL, formTargets: d.FormTargets})
}
