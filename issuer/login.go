package issuer

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
	acrPassword = "1" // one factor, checked here
)

// loginProblem says why the sign-in page is shown again.
type loginProblem struct {
	problem  pages.LoginError
	wait     time.Duration
	username string
}

// showLogin shows the sign-in page for a transaction.
func (i *Issuer) showLogin(w http.ResponseWriter, r *http.Request, status int, t *transaction, problem loginProblem) error {
	sealed := i.sealed(t)
	page := pages.Login{
		Action: i.path("/login"), CSRF: i.csrf("login "+t.ID, t.Browser, nil), Transaction: sealed,
		Error: problem.problem, Wait: problem.wait, Username: problem.username,
		Local: i.config.LocalLogin, LanguageURL: i.path("/login") + "?transaction=" + url.QueryEscape(sealed),
	}
	if i.config.CaddyUser != nil {
		page.CaddyUser = i.config.CaddyUser(r)
	}
	for _, provider := range i.upstreams {
		page.Upstreams = append(page.Upstreams, pages.Upstream{ID: provider.ID(), Name: provider.Name()})
		page.FormTargets = append(page.FormTargets, provider.Issuer())
	}
	if t.Purpose == forAuthorization {
		q, err := i.parseAuthorizationRequest(r.Context(), t.Query)
		if err != nil {
			return i.answerError(w, r, err)
		}
		page.Client = q.client.DisplayName()
		page.FormTargets = append(page.FormTargets, q.redirectURI)
		if page.Username == "" {
			page.Username = audit.Loggable(q.loginHint)
		}
	}
	i.pages.Login(w, r, status, page)
	return nil
}

// serveLogin shows the sign-in page (GET) and signs people in (POST).
func (i *Issuer) serveLogin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		sealed := r.URL.Query().Get("transaction")
		if sealed == "" {
			return i.showLogin(w, r, http.StatusOK, i.newTransaction(forAccount, "", i.browser(w, r)), loginProblem{})
		}
		t, err := i.resume(r, sealed)
		if err != nil {
			return err
		}
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	t, err := i.resume(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f, "login "+t.ID, nil); err != nil {
		return err
	}
	switch f.Get(pages.FieldAction) {
	case pages.ActionUpstream:
		return i.beginUpstream(w, r, t, f.Get(pages.FieldUpstream))
	case pages.ActionCaddy:
		return i.loginCaddy(w, r, t)
	}
	return i.loginLocal(w, r, t, f)
}

// loginLocal signs in with a name and a password that are kept here.
func (i *Issuer) loginLocal(w http.ResponseWriter, r *http.Request, t *transaction, f oauth.Form) error {
	if !i.config.LocalLogin {
		return oauth.Refuse(oauth.InvalidRequest, "this server has no passwords of its own")
	}
	username := f.Get(pages.FieldUsername)
	user, err := i.realm.users.Authenticate(r.Context(), username, f.Get(pages.FieldPassword), i.config.ClientIP(r))
	var throttled *users.ThrottledError
	switch {
	case errors.As(err, &throttled):
		i.auditLogin(r, username, "throttled")
		w.Header().Set("Retry-After", oauth.RetryAfter(throttled.Wait))
		return i.showLogin(w, r, http.StatusTooManyRequests, t, loginProblem{pages.LoginThrottled, throttled.Wait, audit.Loggable(username)})
	case errors.Is(err, users.ErrWrongPassword):
		i.auditLogin(r, username, "wrong name or password")
		return i.showLogin(w, r, http.StatusUnauthorized, t, loginProblem{problem: pages.LoginCredentials, username: audit.Loggable(username)})
	case errors.Is(err, users.ErrTooBusy):
		return oauth.Refuse(oauth.TemporarilyUnavailable, "too many people are signing in; try again later").Because(err)
	case err != nil:
		return err
	}
	return i.signedIn(w, r, t, user, []string{amrPassword}, acrPassword)
}

// loginCaddy signs in as the user whom an authentication handler of Caddy's has
// established.
func (i *Issuer) loginCaddy(w http.ResponseWriter, r *http.Request, t *transaction) error {
	name := ""
	if i.config.CaddyUser != nil {
		name = i.config.CaddyUser(r)
	}
	if name == "" {
		return oauth.Refuse(oauth.InvalidRequest, "no authentication handler of Caddy has established a user on this request")
	}
	user, err := i.realm.users.Link(r.Context(), "caddy", name, users.User{Username: name})
	if errors.Is(err, users.ErrDisabled) {
		return &pageError{status: http.StatusForbidden, kind: pages.ErrorForbidden, detail: "The account is disabled.", cause: err}
	}
	if err != nil {
		return err
	}
	return i.signedIn(w, r, t, user, nil, "")
}

// signedIn begins the session and goes on with what the sign-in was for.
func (i *Issuer) signedIn(w http.ResponseWriter, r *http.Request, t *transaction, user *users.User, amr []string, acr string) error {
	_, browser, err := i.signIn(w, r, user, amr, acr)
	if errors.Is(err, users.ErrWrongPassword) || errors.Is(err, storage.ErrNotFound) {
		return i.showLogin(w, r, http.StatusUnauthorized, t, loginProblem{problem: pages.LoginCredentials})
	}
	if err != nil {
		return err
	}
	i.trail.Record(r, "login", slog.String("subject", user.ID), slog.Any("amr", amr))
	t.Browser = browser
	redirect(w, i.continuation(t))
	return nil
}

// continuation is where a transaction goes on after the sign-in.
func (i *Issuer) continuation(t *transaction) string {
	switch t.Purpose {
	case forAuthorization:
		return i.path("/consent") + "?transaction=" + url.QueryEscape(i.sealed(t))
	case forDevice:
		return i.path("/device") + "?transaction=" + url.QueryEscape(i.sealed(t))
	case forApplications:
		return i.applicationPath(t.Query)
	}
	return i.path("/account")
}

// auditLogin notes a failed sign-in. The name is noted only if somebody has it:
// people type their password there, too.
func (i *Issuer) auditLogin(r *http.Request, username, reason string) {
	attrs := []slog.Attr{slog.String("reason", reason)}
	if user, err := i.realm.users.Find(r.Context(), username); err == nil {
		attrs = append(attrs, slog.String("username", user.Username), slog.String("subject", user.ID))
	}
	i.trail.Record(r, "login_failed", attrs...)
}

// path is the path of one of our own pages.
func (i *Issuer) path(endpoint string) string { return i.basePath() + endpoint }
