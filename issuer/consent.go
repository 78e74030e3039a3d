package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindConsent is the storage kind of consents: issuer, subject, client id.
const kindConsent = "consent"

// consentLifetime is how long an agreement is remembered without being renewed.
const consentLifetime = 365 * 24 * time.Hour

// consent is what a person has agreed to for a client, over all sign-ins.
type consent struct {
	Scope    oauth.Scope `json:"scope"`
	Audience []string    `json:"audience"`
	Since    time.Time   `json:"since"`
	LastUsed time.Time   `json:"last_used"`

	clientID string // part of the key
}

func consentKey(issuer, subject, clientID string) string {
	return issuer + " " + subject + " " + clientID
}

func putConsent(tx storage.Tx, issuer, subject, clientID string, c *consent) error {
	return errors.Join(
		record.Put(tx, kindConsent, consentKey(issuer, subject, clientID), c, record.Now().Add(consentLifetime)),
		clients.Keep(tx, issuer, clientID),
	)
}

// remembered returns what the person agreed to for the client; the zero consent
// if nothing. An agreement with an earlier client of the same id is none.
func (i *Issuer) remembered(ctx context.Context, subject string, client *clients.Client) (c *consent, err error) {
	err = i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		c, err = i.rememberedIn(tx, subject, client)
		return err
	})
	return c, err
}

// rememberedIn is remembered, inside a transaction.
func (i *Issuer) rememberedIn(tx storage.Tx, subject string, client *clients.Client) (*consent, error) {
	c, err := record.Get[consent](tx, kindConsent, consentKey(i.config.URL, subject, client.ID))
	if errors.Is(err, storage.ErrNotFound) || (err == nil && c.Since.Before(client.Created)) {
		return new(consent), nil
	}
	return c, err
}

// agree adds what is asked for to what is remembered as it is now, so that what
// was taken back a moment ago does not come back with it.
func (i *Issuer) agree(tx storage.Tx, subject string, q *authorizationRequest) error {
	c, err := i.rememberedIn(tx, subject, q.client)
	if err != nil {
		return err
	}
	c.add(q)
	return putConsent(tx, i.config.URL, subject, q.client.ID, c)
}

// covers tells whether nothing is asked for that was not agreed to.
func (c *consent) covers(q *authorizationRequest) bool {
	for _, resource := range q.audience {
		if !slices.Contains(c.Audience, resource) {
			return false
		}
	}
	return !c.Since.IsZero() && c.Scope.Contains(q.scope)
}

// consentCovers tells whether the person need not be asked. They are asked again
// where any program on their machine could pose as the client: a public client
// that is answered on a loopback port or a private-use scheme (RFC 8252 §8.6).
// And they are asked again when the client has changed what it says about itself.
func (i *Issuer) consentCovers(ctx context.Context, q *authorizationRequest, subject string) (bool, error) {
	if q.promptConsent || (q.client.Type == clients.Public && clients.LoopbackOrPrivate(q.redirectURI)) {
		return false, nil
	}
	c, err := i.remembered(ctx, subject, q.client)
	return err == nil && c.covers(q) && !q.client.ChangedSince(c.LastUsed), err
}

// showConsent asks the person.
func (i *Issuer) showConsent(w http.ResponseWriter, r *http.Request, t *transaction, q *authorizationRequest, s *session) error {
	before, err := i.remembered(r.Context(), s.Subject, q.client)
	if err != nil {
		return err
	}
	asked := *t
	asked.Shown = q.digest()
	sealed := i.sealed(&asked)
	page := pages.Consent{
		Action: i.path("/consent"), CSRF: i.csrf("consent "+t.ID, t.Browser, s), Transaction: sealed,
		Client: q.client.DisplayName(), ClientHost: clients.RedirectHost(q.redirectURI), User: s.user.Username,
		Lifetime: i.config.AccessTokenLifetime, AlreadyGranted: !before.Since.IsZero(),
		LanguageURL: i.path("/consent") + "?transaction=" + url.QueryEscape(sealed),
		FormTargets: []string{q.redirectURI},
	}
	page.Scopes = i.describeScopes(q.scope, func(name string) bool { return page.AlreadyGranted && !before.Scope.Has(name) })
	page.Resources = i.otherResources(q.audience)
	if page.Offline = q.scope.Has(oauth.ScopeOfflineAccess); page.Offline {
		page.OfflineFor = i.config.RefreshTokenIdleLifetime
	}
	i.pages.Consent(w, r, http.StatusOK, page)
	return nil
}

// describeScopes is a scope as people see it. offline_access is not in it: pages
// say it in their own words.
func (i *Issuer) describeScopes(scope oauth.Scope, added func(name string) bool) []pages.Scope {
	var all []pages.Scope
	for _, name := range scope {
		if name != oauth.ScopeOfflineAccess {
			all = append(all, i.describeScope(name, added(name)))
		}
	}
	return all
}

// notAdded is for pages that do not tell what is new.
func notAdded(string) bool { return false }

// otherResources is an audience as people see it: without this issuer itself.
func (i *Issuer) otherResources(audience []string) []string {
	return slices.DeleteFunc(slices.Clone(audience), func(resource string) bool { return resource == i.config.URL })
}

func (i *Issuer) describeScope(name string, added bool) pages.Scope {
	scope := pages.Scope{Name: name, New: added}
	for _, s := range i.config.Scopes {
		if s.Name == name && s.Description != "" {
			scope.Description = pages.Text{"": s.Description}
		}
	}
	return scope
}

// serveConsent goes on with an authorization request after the sign-in (GET),
// and takes the person's decision (POST).
func (i *Issuer) serveConsent(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		t, err := i.resumeAuthorization(r, r.URL.Query().Get("transaction"))
		if err != nil {
			return err
		}
		return i.advance(w, r, t)
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	t, err := i.resumeAuthorization(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	s, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f, "consent "+t.ID, s); err != nil {
		return err
	}
	return i.decide(w, r, t, s, f.Get(pages.FieldAction))
}

// digest stands for what a person sees of a request when they are asked.
func (q *authorizationRequest) digest() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", q.client.ID, q.client.DisplayName(), q.redirectURI, q.scope, q.audience))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// resumeAuthorization resumes a transaction of that kind and no other.
func (i *Issuer) resumeAuthorization(r *http.Request, sealed string) (*transaction, error) {
	t, err := i.resume(r, sealed)
	if err == nil && t.Purpose != forAuthorization {
		err = errForged
	}
	return t, err
}

// decide carries out what the person decided.
func (i *Issuer) decide(w http.ResponseWriter, r *http.Request, t *transaction, s *session, action string) error {
	q, err := i.parseAuthorizationRequest(r.Context(), t.Query)
	if err != nil {
		return i.answerError(w, r, err)
	}
	if q.needsSignIn(s, t.Started) {
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	switch action {
	case pages.ActionAllow:
		if t.Shown != q.digest() {
			return i.showConsent(w, r, t, q, s) // it is another question now
		}
		i.trail.Record(r, "consent_given", slog.String("client_id", q.client.ID), slog.String("subject", s.Subject), slog.String("scope", q.scope.String()))
		return i.giveCode(w, r, t, q, s, true)
	case pages.ActionDeny:
		err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) error { return i.spend(tx, t) })
		if err != nil {
			return err
		}
		i.trail.Record(r, "consent_denied", slog.String("client_id", q.client.ID), slog.String("subject", s.Subject))
		return i.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.AccessDenied, "the person did not agree")})
	case pages.ActionSwitchUser:
		if err := i.endSession(r.Context(), s.Subject, s.key); err != nil {
			return err
		}
		i.setCookie(w, "session", "")
		return i.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	return oauth.Refuse(oauth.InvalidRequest, "the form has no decision")
}

// add makes a new agreement part of what is remembered.
func (c *consent) add(q *authorizationRequest) {
	for _, name := range q.scope {
		if !c.Scope.Has(name) {
			c.Scope = append(c.Scope, name)
		}
	}
	for _, resource := range q.audience {
		if !slices.Contains(c.Audience, resource) {
			c.Audience = append(c.Audience, resource)
		}
	}
	if c.Since.IsZero() {
		c.Since = record.Now()
	}
	c.LastUsed = record.Now()
}
