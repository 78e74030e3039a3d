package pages

import "net/http"

// Logout asks whether to sign out (OpenID Connect RP-Initiated Logout §2: the server should ask). The form carries ActionLogout or
// ActionStay.
type Logout struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string

	User   string // who is signed in
	Client string // who asks; empty: the person themselves

	LanguageURL string   // see Login.LanguageURL
	FormTargets []string // the registered post_logout_redirect_uri of the request; see Login.FormTargets
}

// LoggedOut is shown once the session has ended.
type LoggedOut struct {
	Client   string // who asked; may be empty; the built-in template does not show it
	LoginURL string // path on this origin to sign in again; empty: not offered

	LanguageURL string // see Login.LanguageURL
}

// Logout renders the question whether to sign out.
func (p *Pages) Logout(w http.ResponseWriter, r *http.Request, status int, d Logout) {
	p.render(w, r, page{template: "logout.html", status: status, data: d, languageURL: d.LanguageURL, formTargets: d.FormTargets})
}

// LoggedOut renders the page after signing out.
func (p *Pages) LoggedOut(w http.ResponseWriter, r *http.Request, status int, d LoggedOut) {
	p.render(w, r, page{template: "logged_out.html", status: status, data: d, languageURL: d.LanguageURL})
}
