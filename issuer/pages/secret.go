package pages

import (
	"net/http"
	"time"
)

// SecretReveal stands behind the one-time link of an approved application. Opening the link reveals nothing, since mail
// scanners and previews open links too: the secret is shown to a POST with ActionReveal.
type SecretReveal struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string // the secret of the link

	Client  string    // name of the application
	Expires time.Time // of the link; zero: not shown

	LanguageURL string // see Login.LanguageURL
}

// Secret shows the credentials of a client, once. It answers a POST and has no language switch: it cannot be shown again.
type Secret struct {
	Client       string
	ClientID     string
	ClientSecret string // empty for a public client, which has none
	TokenURL     string // of the token endpoint, for a first attempt; may be empty
	WelcomeURL   string // path of the welcome page; may be empty
}

// SecretReveal renders the button that reveals a secret.
func (p *Pages) SecretReveal(w http.ResponseWriter, r *http.Request, status int, d SecretReveal) {
	p.render(w, r, page{template: "secret_reveal.html", status: status, data: d, languageURL: d.LanguageURL})
}

// Secret renders the credentials of a client.
func (p *Pages) Secret(w http.ResponseWriter, r *http.Request, status int, d Secret) {
	p.render(w, r, page{template: "secret.html", status: status, data: d})
}
