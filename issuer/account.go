package issuer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// serveAccount is a person's own page: password, sessions, connected
// applications. A change is answered with a redirect, so that reloading the page
// does not repeat it.
func (i *Issuer) serveAccount(w http.ResponseWriter, r *http.Request) error {
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if s == nil {
		if r.Method == http.MethodPost {
			return errForged
		}
		return i.showLogin(w, r, http.StatusOK, i.newTransaction(forAccount, "", i.browser(w, r)), loginProblem{})
	}
	if r.Method != http.MethodPost {
		return i.showAccount(w, r, http.StatusOK, s, accountNotice(r.URL.Query().Get("done")), "")
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f, "account", s); err != nil {
		return err
	}
	return i.changeAccount(w, r, s, f)
}

// accountNotice lets only known notices into the page.
func accountNotice(done string) pages.AccountNotice {
	switch notice := pages.AccountNotice(done); notice {
	case pages.NoticePasswordChanged, pages.NoticeSessionEnded, pages.NoticeSessionsEnded, pages.NoticeDisconnected:
		return notice
	}
	return ""
}

// changeAccount does what a button of the page asks for.
func (i *Issuer) changeAccount(w http.ResponseWriter, r *http.Request, s *session, f oauth.Form) error {
	var notice pages.AccountNotice
	switch f.Get(pages.FieldAction) {
	case pages.ActionLogout:
		if err := i.endSession(r.Context(), s.Subject, s.key); err != nil {
			return err
		}
		i.signedOut(w, r, s)
		i.pages.LoggedOut(w, r, http.StatusOK, pages.LoggedOut{LoginURL: i.path("/account"), LanguageURL: i.path("/account")})
		return nil
	case pages.ActionChangePassword:
		return i.changePassword(w, r, s, f)
	case pages.ActionEndSession:
		notice = pages.NoticeSessionEnded
		if err := i.endSessionsOf(r.Context(), s, func(other *session) bool { return sessionID(other) == f.Get(pages.FieldSession) }); err != nil {
			return err
		}
	case pages.ActionEndOtherSessions:
		notice = pages.NoticeSessionsEnded
		if err := i.endSessionsOf(r.Context(), s, func(other *session) bool { return other.key != s.key }); err != nil {
			return err
		}
	case pages.ActionDisconnect:
		notice = pages.NoticeDisconnected
		if err := i.Disconnect(r.Context(), s.Subject, f.Get(pages.FieldConnection)); err != nil {
			return err
		}
	default:
		return oauth.Refuse(oauth.InvalidRequest, "the form asks for nothing")
	}
	i.trail.Record(r, "account_changed", slog.String("subject", s.Subject), slog.String("change", string(notice)))
	redirect(w, i.path("/account")+"?done="+string(notice))
	return nil
}

// changePassword sets a new password, which ends every session and everything
// granted before; the browser that did it is signed in again.
func (i *Issuer) changePassword(w http.ResponseWriter, r *http.Request, s *session, f oauth.Form) error {
	proven, err := i.realm.users.Authenticate(r.Context(), s.user.Username, f.Get(pages.FieldPassword), i.config.ClientIP(r))
	if err == nil {
		err = i.changeOwnPassword(r.Context(), proven, f.Get(pages.FieldNewPassword))
	}
	if problem := passwordProblem(err); problem != "" {
		return i.showAccount(w, r, http.StatusBadRequest, s, "", problem)
	}
	if err != nil {
		return err
	}
	user, err := i.realm.users.Get(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	if _, _, err := i.signIn(w, r, user, []string{amrPassword}, acrPassword); err != nil {
		return err
	}
	i.trail.Record(r, "password_changed", slog.String("subject", s.Subject))
	redirect(w, i.path("/account")+"?done="+string(pages.NoticePasswordChanged))
	return nil
}

// passwordProblem is what the page says of an error; empty for those that are
// not about the password.
func passwordProblem(err error) pages.PasswordError {
	var throttled *users.ThrottledError
	switch {
	case errors.As(err, &throttled):
		return pages.PasswordThrottled
	case errors.Is(err, users.ErrWrongPassword):
		return pages.PasswordWrong
	case errors.Is(err, users.ErrPasswordShort):
		return pages.PasswordShort
	case errors.Is(err, users.ErrPasswordLong):
		return pages.PasswordLong
	case errors.Is(err, users.ErrWeakPassword):
		return pages.PasswordCommon
	}
	return ""
}

// endSessionsOf ends those of a person's sessions that match.
func (i *Issuer) endSessionsOf(ctx context.Context, s *session, match func(*session) bool) error {
	all, err := i.sessionsOf(ctx, s.Subject)
	if err != nil {
		return err
	}
	for _, other := range all {
		if match(other) {
			err = errors.Join(err, i.endSession(ctx, other.Subject, other.key))
		}
	}
	return err
}

// sessionID names a session on the page. It is neither the cookie nor the key.
func sessionID(s *session) string {
	sum := sha256.Sum256([]byte("session id " + s.key))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Disconnect takes everything back that a person granted to a client: the
// remembered consent, and all tokens at once.
func (i *Issuer) Disconnect(ctx context.Context, subject, clientID string) error {
	return i.realm.ledger.EndMatching(ctx, subject,
		func(a *ledger.Authorization) bool { return a.ClientID == clientID },
		func(tx storage.Tx) error { return tx.Delete(kindConsent, consentKey(i.config.URL, subject, clientID)) })
}

// showAccount shows the page.
func (i *Issuer) showAccount(w http.ResponseWriter, r *http.Request, status int, s *session, notice pages.AccountNotice, problem pages.PasswordError) error {
	sessions, err := i.sessionsOf(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	connections, err := i.connections(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	page := pages.Account{
		Action: i.path("/account"), CSRF: i.csrf("account", i.browser(w, r), s),
		User: s.user.Username, Name: s.user.Name, Email: s.user.Email, Notice: notice, Error: problem,
		LocalPassword: s.user.Password != "", MinPassword: users.MinPassword,
		Connections: connections, LanguageURL: i.path("/account"),
		Operator: s.user.Operator && i.config.Applications, ApplicationsURL: i.applicationPath(""),
	}
	slices.SortFunc(sessions, func(a, b *session) int { return b.AuthTime.Compare(a.AuthTime) })
	for _, other := range sessions {
		page.Sessions = append(page.Sessions, pages.Session{
			ID: sessionID(other), Current: other.key == s.key, Browser: browserName(other.Browser),
			Address: other.Address, Started: other.AuthTime, LastSeen: other.AuthTime,
		})
	}
	i.pages.Account(w, r, status, page)
	return nil
}

// connections lists the clients that a person has agreed to.
func (i *Issuer) connections(ctx context.Context, subject string) ([]pages.Connection, error) {
	var agreed []*consent
	err := i.state.Storage.View(ctx, func(tx storage.Tx) error {
		agreed = agreed[:0]
		prefix := consentKey(i.config.URL, subject, "")
		return tx.List(kindConsent, prefix, func(key string, value []byte) error {
			c, err := record.Decode[consent](kindConsent, value)
			if err == nil {
				c.clientID = key[len(prefix):]
				agreed = append(agreed, c)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	all := make([]pages.Connection, 0, len(agreed))
	for _, c := range agreed {
		connection := pages.Connection{ID: c.clientID, Client: c.clientID, Since: c.Since, LastUsed: c.LastUsed}
		if client, err := i.Client(ctx, c.clientID); err == nil {
			connection.Client = client.DisplayName()
			if len(client.RedirectURIs) > 0 {
				connection.Host = clients.RedirectHost(client.RedirectURIs[0])
			}
		}
		connection.Scopes, connection.Offline = i.describeScopes(c.Scope, notAdded), c.Scope.Has(oauth.ScopeOfflineAccess)
		all = append(all, connection)
	}
	slices.SortFunc(all, func(a, b pages.Connection) int { return cmp.Compare(a.Client, b.Client) })
	return all, nil
}
