package signin

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Authentication methods (RFC 8176) and context classes of ID tokens.
const (
	amrPassword = "pwd"
	ACRPassword = "1" // one factor, checked here
)

// loginProblem says why the sign-in page is shown again.
type loginProblem struct {
	problem  pages.LoginError
	wait     time.Duration
	username string
}

// AskToSignIn shows the sign-in page for something that begins with it.
func (h *Handler) AskToSignIn(w http.ResponseWriter, r *http.Request, purpose, query string) error {
	return h.showLogin(w, r, http.StatusOK, h.newTransaction(purpose, query, h.Browser(w, r)), loginProblem{})
}

// showLogin shows the sign-in page for a transaction.
func (h *Handler) showLogin(w http.ResponseWriter, r *http.Request, status int, t *transaction, problem loginProblem) error {
	sealed := h.sealed(t)
	page := pages.Login{
		Action: h.path("/login"), CSRF: h.CSRF("login "+t.ID, t.Browser, nil), Transaction: sealed,
		Error: problem.problem, Wait: problem.wait, Username: problem.username,
		Local: h.config.LocalLogin, LanguageURL: h.path("/login") + "?transaction=" + url.QueryEscape(sealed),
	}
	if h.config.CaddyUser != nil {
		page.CaddyUser = h.config.CaddyUser(r)
	}
	for _, provider := range h.config.Upstreams {
		page.Upstreams = append(page.Upstreams, pages.Upstream{ID: provider.ID(), Name: provider.Name()})
		page.FormTargets = append(page.FormTargets, provider.Issuer())
	}
	if t.Purpose == forAuthorization {
		q, err := h.parseAuthorizationRequest(r.Context(), t.Query)
		if err != nil {
			return h.answerError(w, r, err)
		}
		page.Client = q.client.DisplayName()
		page.FormTargets = append(page.FormTargets, q.redirectURI)
		if page.Username == "" {
			page.Username = audit.Loggable(q.loginHint)
		}
	}
	h.config.Pages.Login(w, r, status, page)
	return nil
}

// ServeLogin shows the sign-in page (GET) and signs people in (POST).
func (h *Handler) ServeLogin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		sealed := r.URL.Query().Get("transaction")
		if sealed == "" {
			return h.AskToSignIn(w, r, forAccount, "")
		}
		t, err := h.resume(r, sealed)
		if err != nil {
			return err
		}
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	t, err := h.resume(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	if err := h.CheckForm(r, f, "login "+t.ID, nil); err != nil {
		return err
	}
	switch f.Get(pages.FieldAction) {
	case pages.ActionUpstream:
		return h.beginUpstream(w, r, t, f.Get(pages.FieldUpstream))
	case pages.ActionCaddy:
		return h.loginCaddy(w, r, t)
	}
	return h.loginLocal(w, r, t, f)
}

// loginLocal signs in with a name and a password that are kept here.
func (h *Handler) loginLocal(w http.ResponseWriter, r *http.Request, t *transaction, f oauth.Form) error {
	if !h.config.LocalLogin {
		return oauth.Refuse(oauth.InvalidRequest, "this server has no passwords of its own")
	}
	username := f.Get(pages.FieldUsername)
	user, err := h.people.users.Authenticate(r.Context(), username, f.Get(pages.FieldPassword), h.config.ClientIP(r))
	var throttled *users.ThrottledError
	switch {
	case errors.As(err, &throttled):
		h.loginFailed(r, "throttled", username, "throttled")
		w.Header().Set("Retry-After", oauth.RetryAfter(throttled.Wait))
		return h.showLogin(w, r, http.StatusTooManyRequests, t, loginProblem{pages.LoginThrottled, throttled.Wait, audit.Loggable(username)})
	case errors.Is(err, users.ErrWrongPassword):
		h.loginFailed(r, "password", username, "wrong name or password")
		return h.showLogin(w, r, http.StatusUnauthorized, t, loginProblem{problem: pages.LoginCredentials, username: audit.Loggable(username)})
	case errors.Is(err, users.ErrTooBusy):
		return oauth.Refuse(oauth.TemporarilyUnavailable, "too many people are signing in; try again later").Because(err)
	case err != nil:
		return err
	}
	return h.signedIn(w, r, t, user, ByPassword())
}

// loginCaddy signs in as the user whom an authentication handler of Caddy's has
// established.
func (h *Handler) loginCaddy(w http.ResponseWriter, r *http.Request, t *transaction) error {
	name := ""
	if h.config.CaddyUser != nil {
		name = h.config.CaddyUser(r)
	}
	if name == "" {
		return oauth.Refuse(oauth.InvalidRequest, "no authentication handler of Caddy has established a user on this request")
	}
	user, err := h.people.users.Link(r.Context(), caddyProvider, name, users.User{Username: name})
	if errors.Is(err, users.ErrDisabled) {
		return &PageError{Status: http.StatusForbidden, Kind: pages.ErrorForbidden, Detail: "The account is disabled.", Cause: err}
	}
	if err != nil {
		return err
	}
	return h.signedIn(w, r, t, user, Authentication{Time: time.Now().UTC()})
}

// signedIn begins the session and goes on with what the sign-in was for.
func (h *Handler) signedIn(w http.ResponseWriter, r *http.Request, t *transaction, user *users.User, by Authentication) error {
	s, browser, err := h.SignIn(w, r, user, by)
	if errors.Is(err, users.ErrWrongPassword) || errors.Is(err, storage.ErrNotFound) {
		return h.showLogin(w, r, http.StatusUnauthorized, t, loginProblem{problem: pages.LoginCredentials})
	}
	if err != nil {
		return err
	}
	h.config.Trail.Record(r, audit.Login, slog.String("subject", user.ID), slog.Any("amr", by.AMR))
	t.Browser, t.SignedIn = browser, s.Key
	Redirect(w, h.continuation(t))
	return nil
}

// continuation is where a transaction goes on after the sign-in.
func (h *Handler) continuation(t *transaction) string {
	switch t.Purpose {
	case forAuthorization:
		return h.path("/consent") + "?transaction=" + url.QueryEscape(h.sealed(t))
	case forDevice:
		return h.path("/device") + "?transaction=" + url.QueryEscape(h.sealed(t))
	case ForApplications:
		return h.ApplicationPath(t.Query)
	}
	return h.path("/account")
}

// loginFailed notes a failed sign-in, of one of few kinds. The name is noted only
// if somebody has it: people type their password there, too.
func (h *Handler) loginFailed(r *http.Request, kind, username, reason string) {
	h.config.LoginFailed(kind)
	attrs := []slog.Attr{slog.String("reason", reason)}
	if user, err := h.people.users.Find(r.Context(), username); err == nil {
		attrs = append(attrs, slog.String("username", user.Username), slog.String("subject", user.ID))
	}
	h.config.Trail.Record(r, audit.LoginFailed, attrs...)
}
