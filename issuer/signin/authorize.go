package signin

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// maxQuery bounds an authorization request: it comes back in addresses.
const maxQuery = 16 << 10

// ServeAuthorize is the authorization endpoint (RFC 6749 §3.1). It takes the
// request by GET or POST and goes as far as it can without the person.
func (h *Handler) ServeAuthorize(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		f, err := oauth.ReadForm(w, r)
		if err != nil {
			return err
		}
		return redirectToGet(w, h.path("/authorize"), f)
	}
	if len(r.URL.RawQuery) > maxQuery {
		return errLongQuery
	}
	t := h.newTransaction(forAuthorization, r.URL.RawQuery, h.Browser(w, r))
	return h.advance(w, r, t)
}

var errLongQuery = &PageError{Status: http.StatusRequestURITooLong, Kind: pages.ErrorRequest, Code: oauth.InvalidRequest, Detail: "The request is too long."}

// redirectToGet turns a POST into a GET of the same. What a client posts comes from
// its own site, so browsers send it without our cookies, and the person would look
// signed out.
func redirectToGet(w http.ResponseWriter, path string, f oauth.Form) error {
	query := url.Values(f).Encode()
	if len(query) > maxQuery {
		return errLongQuery
	}
	Redirect(w, path+"?"+query)
	return nil
}

// advance takes an authorization request as far as it goes: to the sign-in page,
// to the consent page, or with an answer to the client. The request is checked
// anew each time, because client and person may have changed meanwhile.
func (h *Handler) advance(w http.ResponseWriter, r *http.Request, t *transaction) error {
	q, err := h.parseAuthorizationRequest(r.Context(), t.Query)
	if err != nil {
		return h.answerError(w, r, err)
	}
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if q.needsSignIn(s, t) {
		if q.promptNone {
			return h.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.LoginRequired, "nobody, or somebody else, is signed in, or not lately enough")})
		}
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	covered, err := h.consentCovers(r.Context(), q, s.Subject)
	if err != nil {
		return err
	}
	if !covered {
		if q.promptNone {
			return h.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.ConsentRequired, "the person has not agreed to this yet")})
		}
		return h.showConsent(w, r, t, q, s)
	}
	return h.giveCode(w, r, t, q, s, false)
}

// giveCode writes a code, and the consent it rests on if that is new, and sends
// the browser back to the client with it. A transaction gives one code: the same
// form sent twice gives an error page.
func (h *Handler) giveCode(w http.ResponseWriter, r *http.Request, t *transaction, q *authorizationRequest, s *Session, agreed bool) error {
	code := record.NewHandle()
	key, _ := record.HandleKey(h.config.URL, code)
	given := Code{RedirectURI: q.redirectURI, CodeChallenge: q.codeChallenge, Expiry: record.Now().Add(codeLifetime)}
	given.Authorization = h.authorizationFor(q.client, q.scope, q.audience, q.nonce, s, given.Expiry)
	err := h.people.store.Update(r.Context(), func(tx storage.Tx) (err error) {
		if _, err := h.people.LoadSession(tx, s.Key); err != nil {
			return err // signed out in the meantime, or removed
		}
		if err := h.spend(tx, t); err != nil {
			return err
		}
		if agreed {
			given.Agreement, err = h.people.agree(tx, s.Subject, q.client, q.scope, q.audience)
		} else {
			given.Agreement, err = h.people.agreed(tx, s.Subject, q.client)
		}
		if err != nil {
			return err
		}
		return PutCode(tx, key, &given, given.Expiry)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	if errors.Is(err, errOtherQuestion) {
		return h.advance(w, r, t)
	}
	if err != nil {
		return err
	}
	h.config.Trail.Record(r, audit.CodeIssued, slog.String("client_id", q.client.ID), slog.String("subject", s.Subject),
		slog.String("scope", q.scope.String()), slog.Any("resource", q.audience), slog.String("authorization_id", given.Authorization.ID))
	return h.answer(w, r, q, url.Values{"code": {code}})
}

// authorizationFor is what a code, or the decision about a device, will stand for. It
// lasts as long as a token that is given for it at the last moment.
func (h *Handler) authorizationFor(client *clients.Client, scope oauth.Scope, audience []string, nonce string, s *Session, redeemable time.Time) ledger.Authorization {
	offline := scope.Has(oauth.ScopeOfflineAccess)
	lifetime := h.config.AccessTokenLifetime
	if offline || client.RefreshTokenAlways {
		lifetime = max(lifetime, h.config.RefreshTokenLifetime)
	}
	return ledger.Authorization{
		ID: record.NewID(), ClientID: client.ID, Subject: s.Subject, Scope: scope, Audience: audience,
		AuthTime: s.AuthTime, AMR: s.AMR, ACR: s.ACR, Nonce: nonce, Session: s.Key, Offline: offline,
		Created: record.Now(), Expiry: redeemable.Add(lifetime),
	}
}

// spend marks a transaction as answered.
func (h *Handler) spend(tx storage.Tx, t *transaction) error {
	key := h.config.URL + " " + t.ID
	switch _, err := tx.Get(kindSpent, key); {
	case err == nil:
		return &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorUsed, Detail: "This form was answered already. Go back to the application."}
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return tx.Put(kindSpent, key, nil, t.Started.Add(transactionLifetime+time.Minute))
}

// answerError sends a refusal to the client if it is proven, and shows a page
// otherwise.
func (h *Handler) answerError(w http.ResponseWriter, r *http.Request, err error) error {
	var to *redirectError
	if !errors.As(err, &to) {
		return err
	}
	if to.request.client.IsUnused() {
		return &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorRequest, Code: to.err.Code, Detail: to.err.Description, Cause: to.err}
	}
	if to.err.Status() >= http.StatusInternalServerError {
		h.config.Logger.LogAttrs(r.Context(), slog.LevelError, "authorization failed", slog.Any("cause", to.err))
	}
	return h.answer(w, r, to.request, url.Values{
		"error": {string(to.err.Code)}, "error_description": {oauth.DescriptionText(to.err.Description)},
	})
}

// answer sends the browser to the client with an answer (RFC 6749 §4.1.2), always
// with the state it sent and with iss (RFC 9207), so that a client of several
// servers knows whose answer it is.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, q *authorizationRequest, values url.Values) error {
	values.Set("iss", h.config.URL)
	if q.state != "" {
		values.Set("state", q.state)
	}
	if q.formPost && !strings.HasPrefix(q.redirectURI, "http") {
		q.formPost = false // a private-use scheme cannot take a form
	}
	if q.formPost {
		form := pages.FormPost{Client: q.client.DisplayName(), RedirectURI: q.redirectURI}
		for _, name := range []string{"code", "error", "error_description", "state", "iss"} {
			if value := values.Get(name); value != "" {
				form.Fields = append(form.Fields, pages.FormField{Name: name, Value: value})
			}
		}
		h.config.Pages.FormPost(w, r, form)
		return nil
	}
	location := q.redirectURI + "?" + values.Encode()
	if strings.Contains(q.redirectURI, "?") {
		location = q.redirectURI + "&" + values.Encode()
	}
	Redirect(w, location)
	return nil
}

// Redirect sends the browser on with 303, which makes a GET of whatever was
// posted: a 307 would post a password again, elsewhere (RFC 9700 §4.12).
func Redirect(w http.ResponseWriter, location string) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusSeeOther)
}
