package issuer

import (
	"errors"
	"net/http"
	"slices"

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

func (i *Issuer) upstream(id string) *upstream.Provider {
	n := slices.IndexFunc(i.upstreams, func(p *upstream.Provider) bool { return p.ID() == id })
	if n < 0 {
		return nil
	}
	return i.upstreams[n]
}

// beginUpstream sends the browser to the provider.
func (i *Issuer) beginUpstream(w http.ResponseWriter, r *http.Request, t *transaction, id string) error {
	provider := i.upstream(id)
	if provider == nil {
		return oauth.Refuse(oauth.InvalidRequest, "there is no such identity provider")
	}
	loginHint, force := "", false
	if t.Purpose == forAuthorization {
		q, err := i.parseAuthorizationRequest(r.Context(), t.Query)
		if err != nil {
			return i.answerError(w, r, err)
		}
		loginHint, force = q.loginHint, q.promptLogin || q.maxAge >= 0
	}
	location, pending, err := provider.Begin(r.Context(), i.config.URL+callbackPath(provider), loginHint, i.pages.Language(r), force)
	if err != nil {
		return i.upstreamProblem(w, r, t, err)
	}
	sealed, err := i.realm.seal.Seal("upstream", pendingUpstream{Provider: id, Pending: pending, Transaction: *t})
	if err != nil {
		return err
	}
	if len(sealed) > maxCookie {
		return &pageError{status: http.StatusRequestURITooLong, kind: pages.ErrorRequest, code: oauth.InvalidRequest,
			detail: "The request of the application is too long to go on with it after signing in elsewhere; its state is the usual reason."}
	}
	i.setCookie(w, "upstream", sealed)
	redirect(w, location)
	return nil
}

// maxCookie is what browsers keep of a cookie's value (RFC 6265bis §5.5: 4096
// octets with the name).
const maxCookie = 4000

func callbackPath(provider *upstream.Provider) string { return "/login/callback/" + provider.ID() }

// serveCallback takes a provider's answer.
func (i *Issuer) serveCallback(provider *upstream.Provider) page {
	return func(w http.ResponseWriter, r *http.Request) error { return i.finishUpstream(w, r, provider) }
}

func (i *Issuer) finishUpstream(w http.ResponseWriter, r *http.Request, provider *upstream.Provider) error {
	var p pendingUpstream
	if err := i.realm.seal.Unseal("upstream", i.cookie(r, "upstream"), &p); err != nil {
		return &pageError{status: http.StatusBadRequest, kind: pages.ErrorExpired, cause: err,
			detail: "This browser has no unfinished sign-in. Start again at the application."}
	}
	i.setCookie(w, "upstream", "")
	t, err := i.resume(r, i.sealed(&p.Transaction))
	if err != nil {
		return err
	}
	if p.Provider != provider.ID() {
		return &pageError{status: http.StatusBadRequest, kind: pages.ErrorUpstream, detail: "The sign-in was begun with another identity provider."}
	}
	identity, err := provider.Finish(r.Context(), p.Pending, r.URL.Query())
	if err != nil {
		return i.upstreamProblem(w, r, t, err)
	}
	user, err := i.realm.users.Link(r.Context(), identity.Issuer, identity.Subject, users.User{
		Username: identity.Username, Name: identity.Name, GivenName: identity.GivenName, FamilyName: identity.FamilyName,
		Email: identity.Email, EmailVerified: identity.EmailVerified, Locale: identity.Locale, Picture: identity.Picture,
	})
	if errors.Is(err, users.ErrDisabled) {
		return &pageError{status: http.StatusForbidden, kind: pages.ErrorForbidden, detail: "The account is disabled.", cause: err}
	}
	if err != nil {
		return err
	}
	return i.signedIn(w, r, t, user, identity.AMR, identity.ACR)
}

// upstreamProblem tells the person that the provider could not sign them in: the
// sign-in page again, with another way to choose.
func (i *Issuer) upstreamProblem(w http.ResponseWriter, r *http.Request, t *transaction, err error) error {
	i.auditLogin(r, "", err.Error())
	status := http.StatusBadRequest
	if errors.Is(err, upstream.ErrUnavailable) {
		status = http.StatusServiceUnavailable
		i.config.Logger.Warn("the identity provider did not answer", "error", err)
	}
	return i.showLogin(w, r, status, t, loginProblem{problem: pages.LoginUpstream})
}
