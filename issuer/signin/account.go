package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// ServeAccount is a person's own page: password, sessions, connected
// applications. A change is answered with a redirect, so that reloading the page
// does not repeat it.
func (h *Handler) ServeAccount(w http.ResponseWriter, r *http.Request) error {
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if s == nil {
		if r.Method == http.MethodPost {
			return ErrForged
		}
		return h.AskToSignIn(w, r, forAccount, "")
	}
	if r.Method != http.MethodPost {
		return h.showAccount(w, r, http.StatusOK, s, accountNotice(r.URL.Query().Get("done")), "")
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	if err := h.CheckForm(r, f, "account", s); err != nil {
		return err
	}
	return h.changeAccount(w, r, s, f)
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
func (h *Handler) changeAccount(w http.ResponseWriter, r *http.Request, s *Session, f oauth.Form) error {
	var notice pages.AccountNotice
	clientID := ""
	switch f.Get(pages.FieldAction) {
	case pages.ActionLogout:
		if err := h.people.endSession(r.Context(), s.Subject, s.Key); err != nil {
			return err
		}
		h.signedOut(w, r, s)
		h.config.Pages.LoggedOut(w, r, http.StatusOK, pages.LoggedOut{LoginURL: h.path("/account"), LanguageURL: h.path("/account")})
		return nil
	case pages.ActionChangePassword:
		return h.changePassword(w, r, s, f)
	case pages.ActionEndSession:
		notice = pages.NoticeSessionEnded
		if err := h.people.endSessionsOf(r.Context(), s, func(other *Session) bool { return sessionID(other) == f.Get(pages.FieldSession) }); err != nil {
			return err
		}
	case pages.ActionEndOtherSessions:
		notice = pages.NoticeSessionsEnded
		if err := h.people.endSessionsOf(r.Context(), s, func(other *Session) bool { return other.Key != s.Key }); err != nil {
			return err
		}
	case pages.ActionDisconnect:
		notice, clientID = pages.NoticeDisconnected, audit.Loggable(f.Get(pages.FieldConnection))
		if err := h.people.Disconnect(r.Context(), s.Subject, f.Get(pages.FieldConnection)); err != nil {
			return err
		}
	default:
		return oauth.Refuse(oauth.InvalidRequest, "the form asks for nothing")
	}
	h.config.Trail.Record(r, audit.AccountChanged, slog.String("subject", s.Subject), slog.String("change", string(notice)),
		slog.String("client_id", clientID))
	Redirect(w, h.path("/account")+"?done="+string(notice))
	return nil
}

// changePassword sets a new password, which ends every session and everything
// granted before; the browser that did it is signed in again.
func (h *Handler) changePassword(w http.ResponseWriter, r *http.Request, s *Session, f oauth.Form) error {
	proven, err := h.people.users.Authenticate(r.Context(), s.User.Username, f.Get(pages.FieldPassword), h.config.ClientIP(r))
	if err == nil {
		err = h.people.ChangePassword(r.Context(), proven, f.Get(pages.FieldNewPassword))
	}
	if problem := passwordProblem(err); problem != "" {
		return h.showAccount(w, r, http.StatusBadRequest, s, "", problem)
	}
	if err != nil {
		return err
	}
	user, err := h.people.users.Get(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	if _, _, err := h.SignIn(w, r, user, ByPassword()); err != nil {
		return err
	}
	h.config.Trail.Record(r, audit.PasswordChanged, slog.String("subject", s.Subject))
	Redirect(w, h.path("/account")+"?done="+string(pages.NoticePasswordChanged))
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
func (p *People) endSessionsOf(ctx context.Context, s *Session, match func(*Session) bool) error {
	all, err := p.sessionsOf(ctx, s.Subject)
	if err != nil {
		return err
	}
	for _, other := range all {
		if match(other) {
			err = errors.Join(err, p.endSession(ctx, other.Subject, other.Key))
		}
	}
	return err
}

// sessionID names a session on the page. It is neither the cookie nor the key.
func sessionID(s *Session) string {
	sum := sha256.Sum256([]byte("session id " + s.Key))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Disconnect takes everything back that a person granted to a client: the
// remembered consent, and all tokens at once.
func (p *People) Disconnect(ctx context.Context, subject, clientID string) error {
	return p.ledger.EndMatching(ctx, subject,
		func(a *ledger.Authorization) bool { return a.ClientID == clientID },
		func(tx storage.Tx) error { return tx.Delete(kindConsent, consentKey(p.issuer, subject, clientID)) })
}

// showAccount shows the page.
func (h *Handler) showAccount(w http.ResponseWriter, r *http.Request, status int, s *Session, notice pages.AccountNotice, problem pages.PasswordError) error {
	sessions, err := h.people.sessionsOf(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	connections, err := h.connections(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	page := pages.Account{
		Action: h.path("/account"), CSRF: h.CSRF("account", h.Browser(w, r), s),
		User: s.User.Username, Name: s.User.Name, Email: s.User.Email, Notice: notice, Error: problem,
		LocalPassword: s.User.Password != "", MinPassword: users.MinPassword,
		Connections: connections, LanguageURL: h.path("/account"),
		Operator: s.User.Operator && h.config.Applications, ApplicationsURL: h.ApplicationPath(""),
	}
	slices.SortFunc(sessions, func(a, b *Session) int { return b.Started.Compare(a.Started) })
	for _, other := range sessions {
		page.Sessions = append(page.Sessions, pages.Session{
			ID: sessionID(other), Current: other.Key == s.Key, Browser: browserName(other.Browser),
			Address: other.Address, Started: other.Started, LastSeen: other.Started,
		})
	}
	h.config.Pages.Account(w, r, status, page)
	return nil
}

// connectedTo returns what a person has agreed to: what is remembered, and what of it
// was forgotten while it goes on. Whatever still has tokens can be disconnected.
func (p *People) connectedTo(tx storage.Tx, subject string) (agreed []*consent, err error) {
	prefix := consentKey(p.issuer, subject, "")
	err = tx.List(kindConsent, prefix, func(key string, value []byte) error {
		c, err := record.Decode[consent](kindConsent, value)
		if err == nil {
			c.clientID = key[len(prefix):]
			agreed = append(agreed, c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	granted, err := p.ledger.Of(tx, subject)
	for _, a := range granted {
		if !slices.ContainsFunc(agreed, func(c *consent) bool { return c.clientID == a.ClientID }) {
			agreed = append(agreed, &consent{Scope: a.Scope, Since: a.Created, LastUsed: a.Created, clientID: a.ClientID})
		}
	}
	return agreed, err
}

// connections lists the clients that a person is connected to.
func (h *Handler) connections(ctx context.Context, subject string) ([]pages.Connection, error) {
	var agreed []*consent
	err := h.people.store.View(ctx, func(tx storage.Tx) (err error) {
		agreed, err = h.people.connectedTo(tx, subject)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]pages.Connection, 0, len(agreed))
	for _, c := range agreed {
		connection := pages.Connection{ID: c.clientID, Client: c.clientID, Since: c.Since, LastUsed: c.LastUsed}
		connection.Scopes, connection.Offline = h.describeScopes(c.Scope, notAdded), c.Scope.Has(oauth.ScopeOfflineAccess)
		if client, err := h.config.Client(ctx, c.clientID); err == nil {
			connection.Client, connection.Offline = client.DisplayName(), client.StaysConnected(c.Scope)
			if len(client.RedirectURIs) > 0 {
				connection.Host = clients.RedirectHost(client.RedirectURIs[0])
			}
		}
		all = append(all, connection)
	}
	slices.SortFunc(all, func(a, b pages.Connection) int { return cmp.Compare(a.Client, b.Client) })
	return all, nil
}
