package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// maxQuery bounds an authorization request: it comes back in addresses.
const maxQuery = 16 << 10

// serveAuthorize is the authorization endpoint (RFC 6749 §3.1). It takes the
// request by GET or POST and goes as far as it can without the person. A POST is
// turned into a GET first: it comes from the client's site, so browsers send it
// without our cookies, and the person would look signed out.
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.RawQuery
	if r.Method == http.MethodPost {
		f, err := oauth.ReadForm(w, r)
		if err != nil {
			return err
		}
		query = url.Values(f).Encode()
	}
	if len(query) > maxQuery {
		return &pageError{status: http.StatusRequestURITooLong, kind: pages.ErrorRequest, code: oauth.InvalidRequest, detail: "The request is too long."}
	}
	if r.Method == http.MethodPost {
		redirect(w, i.path("/authorize")+"?"+query)
		return nil
	}
	t := i.newTransaction(forAuthorization, query, i.browser(w, r))
	return i.advance(w, r, t)
}

// advance takes an authorization request as far as it goes: to the sign-in page,
// to the consent page, or with an answer to the client. The request is checked
// anew each time, because client and person may have changed meanwhile.
func (i *Issuer) advance(w http.ResponseWriter, r *http.Request, t *transaction) error {
	q, err := i.parseAuthorizationRequest(r.Context(), t.Query)
	if err != nil {
		return i.answerError(w, r, err)
	}
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if q.needsSignIn(s, t.Started) {
		if q.promptNone {
			return i.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.LoginRequired, "nobody, or somebody else, is signed in, or not lately enough")})
		}
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	covered, err := i.consentCovers(r.Context(), q, s.Subject)
	if err != nil {
		return err
	}
	if !covered {
		if q.promptNone {
			return i.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.ConsentRequired, "the person has not agreed to this yet")})
		}
		return i.showConsent(w, r, t, q, s)
	}
	return i.giveCode(w, r, t, q, s, false)
}

// giveCode writes a code, and the consent it rests on if that is new, and sends
// the browser back to the client with it. A transaction gives one code: the same
// form sent twice gives an error page.
func (i *Issuer) giveCode(w http.ResponseWriter, r *http.Request, t *transaction, q *authorizationRequest, s *session, agreed bool) error {
	code := record.NewHandle()
	key, _ := record.HandleKey(i.config.URL, code)
	given := authorizationCode{
		Authorization: i.authorizationFor(q, s), RedirectURI: q.redirectURI, CodeChallenge: q.codeChallenge,
		Expiry: record.Now().Add(codeLifetime),
	}
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) error {
		if _, err := i.loadSession(tx, s.key); err != nil {
			return err // signed out in the meantime, or removed
		}
		if err := i.spend(tx, t); err != nil {
			return err
		}
		if agreed {
			if err := i.agree(tx, s.Subject, q); err != nil {
				return err
			}
		}
		return record.Put(tx, kindCode, key, given, given.Expiry)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	if err != nil {
		return err
	}
	i.trail.Record(r, "code_issued", slog.String("client_id", q.client.ID), slog.String("subject", s.Subject),
		slog.String("scope", q.scope.String()), slog.String("authorization_id", given.Authorization.ID))
	return i.answer(w, r, q, url.Values{"code": {code}})
}

// authorizationFor is what the code will stand for.
func (i *Issuer) authorizationFor(q *authorizationRequest, s *session) ledger.Authorization {
	offline := q.scope.Has(oauth.ScopeOfflineAccess)
	lifetime := i.config.AccessTokenLifetime
	if offline || q.client.RefreshTokenAlways {
		lifetime = max(lifetime, i.config.RefreshTokenLifetime)
	}
	return ledger.Authorization{
		ID: record.RandomText(16), ClientID: q.client.ID, Subject: s.Subject, Scope: q.scope, Audience: q.audience,
		AuthTime: s.AuthTime, AMR: s.AMR, ACR: s.ACR, Nonce: q.nonce, Session: s.key, Offline: offline,
		Created: record.Now(), Expiry: record.Now().Add(lifetime + codeLifetime),
	}
}

// spend marks a transaction as answered.
func (i *Issuer) spend(tx storage.Tx, t *transaction) error {
	key := i.config.URL + " " + t.ID
	switch _, err := tx.Get(kindSpent, key); {
	case err == nil:
		return &pageError{status: http.StatusBadRequest, kind: pages.ErrorUsed, detail: "This form was answered already. Go back to the application."}
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return tx.Put(kindSpent, key, nil, t.Started.Add(transactionLifetime+time.Minute))
}

// answerError sends a refusal to the client if it is proven, and shows a page
// otherwise.
func (i *Issuer) answerError(w http.ResponseWriter, r *http.Request, err error) error {
	var to *redirectError
	if !errors.As(err, &to) {
		return err
	}
	if c := to.request.client; c.Registration != nil && !c.Registration.UnusedUntil.IsZero() {
		// Nobody has agreed to this client yet, and anybody may have registered it:
		// to send people on would make the server a relay to anywhere (RFC 9700
		// §4.11.2).
		return &pageError{status: http.StatusBadRequest, kind: pages.ErrorRequest, code: to.err.Code, detail: to.err.Description, cause: to.err}
	}
	if to.err.Status() >= http.StatusInternalServerError {
		i.config.Logger.LogAttrs(r.Context(), slog.LevelError, "authorization failed", slog.Any("cause", to.err))
	}
	return i.answer(w, r, to.request, url.Values{
		"error": {string(to.err.Code)}, "error_description": {oauth.DescriptionText(to.err.Description)},
	})
}

// answer sends the browser to the client with an answer (RFC 6749 §4.1.2), always
// with the state it sent and with iss (RFC 9207), so that a client of several
// servers knows whose answer it is.
func (i *Issuer) answer(w http.ResponseWriter, r *http.Request, q *authorizationRequest, values url.Values) error {
	values.Set("iss", i.config.URL)
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
		i.pages.FormPost(w, r, form)
		return nil
	}
	location := q.redirectURI + "?" + values.Encode()
	if strings.Contains(q.redirectURI, "?") {
		location = q.redirectURI + "&" + values.Encode()
	}
	redirect(w, location)
	return nil
}

// redirect sends the browser on with 303, which makes a GET of whatever was
// posted: a 307 would post a password again, elsewhere (RFC 9700 §4.12).
func redirect(w http.ResponseWriter, location string) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusSeeOther)
}
