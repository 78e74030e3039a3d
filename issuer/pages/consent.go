package pages

import (
	"net/http"
	"time"
)

// Consent asks a person whether a client may act for them. The form carries ActionAllow, ActionDeny or ActionSwitchUser.
type Consent struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string

	Client     string // name of the client
	ClientHost string // host of the client's home page or redirect URI: the part of its identity that it did not make up

	User           string        // who is signed in
	Scopes         []Scope       // what is asked for
	Resources      []string      // the APIs it is asked for (RFC 8707); empty: not shown
	Lifetime       time.Duration // of an access token; zero: not shown
	Offline        bool          // the client gets a refresh token: it stays connected while the person is away
	OfflineFor     time.Duration // how long it stays connected unused; zero: until the person ends it
	AlreadyGranted bool          // the person has consented before; scopes with New set are the ones to be added

	LanguageURL string   // see Login.LanguageURL
	FormTargets []string // the redirect URI of the request; see Login.FormTargets
}

// Scope is a scope with what it means to a person. The scopes of OpenID Connect need no Description.
type Scope struct {
	Name        string
	Description Text
	New         bool // not granted before; only where Consent.AlreadyGranted
}

// describe returns a scope in words: the operator's, else ours where the scope is a standard one, else "".
func describe(messages catalog, s Scope) string {
	if text := s.Description.in(messages.lang); text != "" {
		return text
	}
	return messages.texts["scope."+s.Name]
}

// Consent renders the consent page.
func (p *Pages) Consent(w http.ResponseWriter, r *http.Request, status int, d Consent) {
	p.render(w, r, page{template: "consent.html", status: status, data: d, languageURL: d.LanguageURL, formTargets: d.FormTargets})
}
