package signin

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

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
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
	// ID tells the agreement from a later one, after it was taken back. One that is
	// remembered from before there were ids has none.
	ID string `json:"id,omitempty"`

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
func (p *People) remembered(ctx context.Context, subject string, client *clients.Client) (c *consent, err error) {
	err = p.store.View(ctx, func(tx storage.Tx) (err error) {
		c, err = p.rememberedIn(tx, subject, client)
		return err
	})
	return c, err
}

// rememberedIn is remembered, inside a transaction.
func (p *People) rememberedIn(tx storage.Tx, subject string, client *clients.Client) (*consent, error) {
	c, err := record.Get[consent](tx, kindConsent, consentKey(p.issuer, subject, client.ID))
	if errors.Is(err, storage.ErrNotFound) || (err == nil && c.Since.Before(client.Created)) {
		return new(consent), nil
	}
	return c, err
}

// errOtherQuestion: the client was changed, or taken away, after the person had
// pressed the button and before that was written down.
var errOtherQuestion = errors.New("the client is not the one any more that the person was shown")

// agree adds what is asked for to what is remembered as it is now, so that what
// was taken back a moment ago does not come back with it. It returns the agreement's
// id. The error is errOtherQuestion if the client is not the one any more that the
// person was shown.
func (p *People) agree(tx storage.Tx, subject string, client *clients.Client, scope oauth.Scope, audience []string) (agreement string, err error) {
	switch same, err := client.IsUnchanged(tx, p.issuer); {
	case err != nil:
		return "", err
	case !same:
		return "", errOtherQuestion
	}
	c, err := p.rememberedIn(tx, subject, client)
	if err != nil {
		return "", err
	}
	c.add(scope, audience)
	return c.ID, putConsent(tx, p.issuer, subject, client.ID, c)
}

// agreed returns the id of what the person agreed to before.
func (p *People) agreed(tx storage.Tx, subject string, client *clients.Client) (agreement string, err error) {
	c, err := p.rememberedIn(tx, subject, client)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// covers tells whether nothing is asked for that was not agreed to.
func (c *consent) covers(scope oauth.Scope, audience []string) bool {
	for _, resource := range audience {
		if !slices.Contains(c.Audience, resource) {
			return false
		}
	}
	return !c.Since.IsZero() && c.Scope.Contains(scope)
}

// consentCovers tells whether the person need not be asked. They are asked again
// where any program on their machine could pose as the client: a public client
// that is answered on a loopback port or a private-use scheme (RFC 8252 §8.6).
// And they are asked again when the client has changed what it says about itself.
func (h *Handler) consentCovers(ctx context.Context, q *authorizationRequest, subject string) (bool, error) {
	if q.promptConsent || (q.client.Type == clients.Public && clients.LoopbackOrPrivate(q.redirectURI)) {
		return false, nil
	}
	c, err := h.people.remembered(ctx, subject, q.client)
	return err == nil && c.covers(q.scope, q.audience) && !q.client.ChangedSince(c.LastUsed), err
}

// showConsent asks the person.
func (h *Handler) showConsent(w http.ResponseWriter, r *http.Request, t *transaction, q *authorizationRequest, s *Session) error {
	before, err := h.people.remembered(r.Context(), s.Subject, q.client)
	if err != nil {
		return err
	}
	asked := *t
	asked.Shown = shownOf(q.client, q.redirectURI, q.scope, q.audience)
	sealed := h.sealed(&asked)
	page := pages.Consent{
		Action: h.path("/consent"), CSRF: h.CSRF("consent "+t.ID, t.Browser, s), Transaction: sealed,
		Client: q.client.DisplayName(), ClientHost: clients.RedirectHost(q.redirectURI), User: s.User.Username,
		Lifetime: h.config.AccessTokenLifetime, AlreadyGranted: !before.Since.IsZero(),
		LanguageURL: h.path("/consent") + "?transaction=" + url.QueryEscape(sealed),
		FormTargets: []string{q.redirectURI},
	}
	page.Scopes = h.describeScopes(q.scope, func(name string) bool { return page.AlreadyGranted && !before.Scope.Has(name) })
	page.Resources = h.otherResources(q.audience)
	if page.Offline = q.client.StaysConnected(q.scope); page.Offline {
		page.OfflineFor = h.config.RefreshTokenIdleLifetime
	}
	h.config.Pages.Consent(w, r, http.StatusOK, page)
	return nil
}

// describeScopes is a scope as people see it. offline_access is not in it: pages
// say it in their own words.
func (h *Handler) describeScopes(scope oauth.Scope, added func(name string) bool) []pages.Scope {
	var all []pages.Scope
	for _, name := range scope {
		if name != oauth.ScopeOfflineAccess {
			all = append(all, h.DescribeScope(name, added(name)))
		}
	}
	return all
}

// notAdded is for pages that do not tell what is new.
func notAdded(string) bool { return false }

// otherResources is an audience as people see it: without this issuer itself.
func (h *Handler) otherResources(audience []string) []string {
	return slices.DeleteFunc(slices.Clone(audience), func(resource string) bool { return resource == h.config.URL })
}

// DescribeScope is one scope as people see it.
func (h *Handler) DescribeScope(name string, added bool) pages.Scope {
	scope := pages.Scope{Name: name, New: added}
	if text := h.config.ScopeTexts[name]; text != "" {
		scope.Description = pages.Text{"": text}
	}
	return scope
}

// ServeConsent goes on with an authorization request after the sign-in (GET),
// and takes the person's decision (POST).
func (h *Handler) ServeConsent(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		t, err := h.resumeAuthorization(r, r.URL.Query().Get("transaction"))
		if err != nil {
			return err
		}
		return h.advance(w, r, t)
	}
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return err
	}
	t, err := h.resumeAuthorization(r, f.Get(pages.FieldTransaction))
	if err != nil {
		return err
	}
	s, err := h.Session(r)
	if err != nil {
		return err
	}
	if err := h.CheckForm(r, f, "consent "+t.ID, s); err != nil {
		return err
	}
	return h.decide(w, r, t, s, f.Get(pages.FieldAction))
}

// shownOf stands for what a person sees of a request when they are asked; of a
// device's there is no redirect URI.
func shownOf(client *clients.Client, redirectURI string, scope oauth.Scope, audience []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %t", client.ID, client.DisplayName(), redirectURI, scope, audience, client.StaysConnected(scope)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// resumeAuthorization resumes a transaction of that kind and no other.
func (h *Handler) resumeAuthorization(r *http.Request, sealed string) (*transaction, error) {
	t, err := h.resume(r, sealed)
	if err == nil && t.Purpose != forAuthorization {
		err = ErrForged
	}
	return t, err
}

// decide carries out what the person decided.
func (h *Handler) decide(w http.ResponseWriter, r *http.Request, t *transaction, s *Session, action string) error {
	q, err := h.parseAuthorizationRequest(r.Context(), t.Query)
	if err != nil {
		return h.answerError(w, r, err)
	}
	if q.needsSignIn(s, t) {
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	switch action {
	case pages.ActionAllow:
		if t.Shown != shownOf(q.client, q.redirectURI, q.scope, q.audience) {
			return h.showConsent(w, r, t, q, s) // it is another question now
		}
		h.config.Trail.Record(r, audit.ConsentGiven, slog.String("client_id", q.client.ID), slog.String("subject", s.Subject),
			slog.String("scope", q.scope.String()), slog.Any("resource", q.audience))
		return h.giveCode(w, r, t, q, s, true)
	case pages.ActionDeny:
		err := h.people.store.Update(r.Context(), func(tx storage.Tx) error { return h.spend(tx, t) })
		if err != nil {
			return err
		}
		h.config.Trail.Record(r, audit.ConsentDenied, slog.String("client_id", q.client.ID), slog.String("subject", s.Subject))
		return h.answerError(w, r, &redirectError{q, oauth.Refuse(oauth.AccessDenied, "the person did not agree")})
	case pages.ActionSwitchUser:
		if err := h.people.endSession(r.Context(), s.Subject, s.Key); err != nil {
			return err
		}
		h.setCookie(w, "session", "")
		return h.showLogin(w, r, http.StatusOK, t, loginProblem{})
	}
	return oauth.Refuse(oauth.InvalidRequest, "the form has no decision")
}

// add makes a new agreement part of what is remembered.
func (c *consent) add(scope oauth.Scope, audience []string) {
	for _, name := range scope {
		if !c.Scope.Has(name) {
			c.Scope = append(c.Scope, name)
		}
	}
	for _, resource := range audience {
		if !slices.Contains(c.Audience, resource) {
			c.Audience = append(c.Audience, resource)
		}
	}
	if c.Since.IsZero() {
		c.ID, c.Since = record.NewID(), record.Now()
	}
	c.LastUsed = record.Now()
}
