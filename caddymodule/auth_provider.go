package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

func init() { caddy.RegisterModule(new(AuthProvider)) }

// AuthProvider lets Caddy's own `authentication` handler accept access tokens,
// beside whatever else it accepts. It asks what oauth_protect asks.
//
// That handler can only answer 401: a token without the scope gets that status,
// with the challenge that says insufficient_scope, and so does a request that
// cannot be judged now. It sets no headers for the API and leaves the ones that
// clients send; where that matters, oauth_protect is the right handler.
//
// The user's id is the token's subject; its metadata are client_id, scope, issuer
// and token_id.
type AuthProvider struct {
	Policy
	gate gate
}

// CaddyModule returns the Caddy module information.
func (*AuthProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.oauth", New: func() caddy.Module { return new(AuthProvider) }}
}

// Provision finds the issuers.
func (a *AuthProvider) Provision(ctx caddy.Context) error {
	if err := a.provisionPolicy(ctx); err != nil {
		return fmt.Errorf("authentication provider oauth: %w", err)
	}
	a.gate = append(gate{{"the handshake", "", askHandshake}, {"the method", "", askMethod}, {"the target", "allow_target", a.askTarget}}, a.checks(false)...)
	return nil
}

// Cleanup gives back what Provision took.
func (a *AuthProvider) Cleanup() error { return a.cleanUpPolicy() }

// Authenticate implements caddyauth.Authenticator. Its error, for the log and
// {http.auth.oauth.error}, says that a request cannot be judged now.
func (a *AuthProvider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	v := newVisit(r)
	defer v.end()
	refused := a.gate.decide(v)
	switch {
	case refused != nil && refused.challenged:
		w.Header().Add("WWW-Authenticate", introspect.Challenge{
			Realm: a.Resource, Scope: refused.scope, Error: refused.code, ErrorDescription: refused.description,
		}.String())
		return caddyauth.User{}, false, nil
	case refused != nil:
		return caddyauth.User{}, false, refused
	}
	return caddyauth.User{ID: v.token.Subject, Metadata: map[string]string{
		"client_id": v.token.ClientID,
		"scope":     joinScope(v.token.Scope),
		"issuer":    v.token.Issuer,
		"token_id":  v.token.ID,
	}}, true, nil
}

var (
	_ caddy.Provisioner       = (*AuthProvider)(nil)
	_ caddy.CleanerUpper      = (*AuthProvider)(nil)
	_ caddyauth.Authenticator = (*AuthProvider)(nil)
)
