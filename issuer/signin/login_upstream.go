package signin

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// pendingUpstream is a sign-in that another provider has to finish. It is sealed
// into a cookie of the browser that began it, so that no other browser can bring
// the answer; and it names the transaction, so that the answer to one sign-in
// cannot finish another.
type pendingUpstream struct {
	Provider    string           `json:"provider"`
	Pending     upstream.Pending `json:"pending"`
	Transaction transaction      `json:"transaction"`
}

func (h *Handler) upstream(id string) *upstream.Provider {
	n := slices.IndexFunc(h.config.Upstreams, func(p *upstream.Provider) bool { return p.ID() == id })
	if n < 0 {
		return nil
	}
	return h.config.Upstreams[n]
}

// beginUpstream sends the browser to the provider.
func (h *Handler) beginUpstream(w http.ResponseWriter, r *http.Request, t *transaction, id string) error {
	provider := h.upstream(id)
	if provider == nil {
		return oauth.Refuse(oauth.InvalidRequest, "there is no such identity provider")
	}
	loginHint, force := "", false
	if t.Purpose == forAuthorization {
		q, err := h.parseAuthorizationRequest(r.Context(), t.Query)
		if err != nil {
			return h.answerError(w, r, err)
		}
		loginHint, force = q.loginHint, q.promptLogin || q.maxAge >= 0
	}
	location, pending, err := provider.Begin(r.Context(), h.config.URL+CallbackPath(provider), loginHint, h.config.Pages.Language(r), force)
	if err != nil {
		return h.upstreamProblem(w, r, t, err)
	}
	sealed, err := h.config.Sealer.Seal("upstream", pendingUpstream{Provider: id, Pending: pending, Transaction: *t})
	if err != nil {
		return err
	}
	if len(sealed) > maxCookie {
		return &PageError{Status: http.StatusRequestURITooLong, Kind: pages.ErrorRequest, Code: oauth.InvalidRequest,
			Detail: "The request of the application is too long to go on with it after signing in elsewhere; its state is the usual reason."}
	}
	h.setCookie(w, "upstream", sealed)
	Redirect(w, location)
	return nil
}

// maxCookie is what browsers keep of a cookie's value (RFC 6265bis §5.5: 4096
// octets with the name).
const maxCookie = 4000

// CallbackPath is where a provider sends people back to, below the issuer's URL.
func CallbackPath(provider *upstream.Provider) string { return "/login/callback/" + provider.ID() }

// ServeCallback takes a provider's answer.
func (h *Handler) ServeCallback(provider *upstream.Provider) Page {
	return func(w http.ResponseWriter, r *http.Request) error { return h.finishUpstream(w, r, provider) }
}

func (h *Handler) finishUpstream(w http.ResponseWriter, r *http.Request, provider *upstream.Provider) error {
	var p pendingUpstream
	if err := h.config.Sealer.Unseal("upstream", h.cookie(r, "upstream"), &p); err != nil {
		return &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorExpired, Cause: err,
			Detail: "This browser has no unfinished sign-in. Start again at the application."}
	}
	h.setCookie(w, "upstream", "")
	t, err := h.resume(r, h.sealed(&p.Transaction))
	if err != nil {
		return err
	}
	if p.Provider != provider.ID() {
		return &PageError{Status: http.StatusBadRequest, Kind: pages.ErrorUpstream, Detail: "The sign-in was begun with another identity provider."}
	}
	identity, err := provider.Finish(r.Context(), p.Pending, r.URL.Query())
	if err != nil {
		return h.upstreamProblem(w, r, t, err)
	}
	user, err := h.people.users.Link(r.Context(), identity.Issuer, identity.Subject, users.User{
		Username: identity.Username, Name: identity.Name, GivenName: identity.GivenName, FamilyName: identity.FamilyName,
		Email: identity.Email, EmailVerified: identity.EmailVerified, Locale: identity.Locale, Picture: identity.Picture,
	})
	if errors.Is(err, users.ErrDisabled) {
		return &PageError{Status: http.StatusForbidden, Kind: pages.ErrorForbidden, Detail: "The account is disabled.", Cause: err}
	}
	if err != nil {
		return err
	}
	return h.signedIn(w, r, t, user, Authentication{sinceThen(identity.AuthTime), identity.AMR, identity.ACR})
}

// sinceThen is when a provider says that a person authenticated there: perhaps long
// before it sent them here, and never later, though its clock may be ahead.
func sinceThen(stated time.Time) time.Time {
	if now := time.Now(); stated.After(now) {
		stated = now
	}
	return stated.UTC()
}

// upstreamProblem tells the person that the provider could not sign them in: the
// sign-in page again, with another way to choose.
func (h *Handler) upstreamProblem(w http.ResponseWriter, r *http.Request, t *transaction, err error) error {
	h.loginFailed(r, "upstream", "", audit.Loggable(err.Error()))
	status := http.StatusBadRequest
	if errors.Is(err, upstream.ErrUnavailable) {
		status = http.StatusServiceUnavailable
		h.config.Logger.Warn("the identity provider did not answer", "error", err)
	}
	return h.showLogin(w, r, status, t, loginProblem{problem: pages.LoginUpstream})
}
