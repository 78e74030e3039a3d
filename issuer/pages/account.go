package pages

import (
	"net/http"
	"time"
)

// Account is a person's own page: password, sessions, connected applications. Its forms are posted to Action with
// ActionChangePassword, ActionEndSession, ActionEndOtherSessions, ActionDisconnect or ActionLogout.
type Account struct {
	Action string // path that the forms are posted to
	CSRF   string

	User  string // the name that the person signs in with
	Name  string // what the person is called; may be empty
	Email string // may be empty

	Notice AccountNotice // what the last action did; empty: nothing
	Error  PasswordError // why the password was not changed; empty: nothing

	LocalPassword bool // the form to change the password is shown: FieldPassword, FieldNewPassword
	MinPassword   int  // shortest password, in characters

	Operator        bool   // the person may answer applications: a link to ApplicationsURL is shown
	ApplicationsURL string // path of the list of applications

	Sessions    []Session
	Connections []Connection

	LanguageURL string // see Login.LanguageURL
}

// Session is a browser that is signed in.
type Session struct {
	ID       string // value of FieldSession; must not be the secret of the cookie
	Current  bool   // the browser that asks
	Browser  string // such as "Firefox, Linux"; may be empty
	Address  string // last seen from; may be empty
	Started  time.Time
	LastSeen time.Time
}

// Connection is a client that may act for the person.
type Connection struct {
	ID       string // value of FieldConnection
	Client   string
	Host     string // see Consent.ClientHost
	Scopes   []Scope
	Since    time.Time
	LastUsed time.Time // zero: never
	Offline  bool      // connected while the person is away
}

// AccountNotice says what the last action did.
type AccountNotice string

// What can have been done on the account.
const (
	NoticePasswordChanged AccountNotice = "password-changed"
	NoticeSessionEnded    AccountNotice = "session-ended"
	NoticeSessionsEnded   AccountNotice = "sessions-ended"
	NoticeDisconnected    AccountNotice = "disconnected"
)

// PasswordError is why the password was not changed.
type PasswordError string

// What can be wrong with a password.
const (
	PasswordWrong     PasswordError = "wrong"     // the current password is not that
	PasswordShort     PasswordError = "short"     // fewer than MinPassword characters
	PasswordLong      PasswordError = "long"      // longer than is accepted
	PasswordCommon    PasswordError = "common"    // among the first that are guessed
	PasswordThrottled PasswordError = "throttled" // too many attempts
)

// Account renders the account page.
func (p *Pages) Account(w http.ResponseWriter, r *http.Request, status int, d Account) {
	p.render(w, r, page{template: "account.html", status: status, data: d, languageURL: d.LanguageURL})
}
