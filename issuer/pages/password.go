package pages

import "net/http"

// SetPassword lets a person choose a password: behind the one-time link that comes with a new account, or one that replaces a
// forgotten password. The form carries FieldNewPassword.
type SetPassword struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string // the secret of the link; it moves from the URL into the form

	User        string // the name that the person will sign in with
	NewAccount  bool   // the account has had no password so far
	MinPassword int    // shortest password, in characters
	Error       PasswordError

	LanguageURL string // see Login.LanguageURL
}

// PasswordError is why a password was not set.
type PasswordError string

const (
	PasswordWrong     PasswordError = "wrong"     // the current password is not that
	PasswordShort     PasswordError = "short"     // fewer than MinPassword characters
	PasswordLong      PasswordError = "long"      // longer than is accepted
	PasswordCommon    PasswordError = "common"    // among the first that are guessed
	PasswordThrottled PasswordError = "throttled" // too many attempts
)

// SetPassword renders the form for a new password.
func (p *Pages) SetPassword(w http.ResponseWriter, r *http.Request, status int, d SetPassword) {
	p.render(w, r, page{template: "set_password.html", status: status, data: d, languageURL: d.LanguageURL})
}
