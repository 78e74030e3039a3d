package issuer

import (
	"net/http"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
)

// serveWelcome tells developers how to use this server, and the operator of a
// fresh one what to do next. All of it follows from the configuration in force.
func (i *Issuer) serveWelcome(w http.ResponseWriter, r *http.Request) error {
	s, err := i.signin.Session(r)
	if err != nil {
		return err
	}
	fresh, err := i.clients.IsEmpty(r.Context())
	if err != nil {
		return err
	}
	page := pages.Welcome{
		Issuer: i.config.URL, Endpoints: i.publicEndpoints(), Fresh: fresh, LanguageURL: i.path("/"),
		ClientCredentials: hasGrant(oauth.GrantClientCredentials),
		TokenExchange:     hasGrant(oauth.GrantTokenExchange),
		Resource:          i.exampleResource(),
	}
	if i.peopleSignIn() {
		page.AuthorizationCode = hasGrant(oauth.GrantAuthorizationCode)
		page.DeviceCode = hasGrant(oauth.GrantDeviceCode)
		page.RefreshToken = hasGrant(oauth.GrantRefreshToken)
		page.AccountURL = i.path("/account")
	}
	for _, name := range i.config.scopeNames() {
		page.Scopes = append(page.Scopes, i.signin.DescribeScope(name, false))
	}
	if i.config.Applications {
		page.RequestURL = i.path("/applications/new")
	}
	if s != nil {
		page.SignedInAs = s.User.Username
	}
	i.pages.Welcome(w, r, http.StatusOK, page)
	return nil
}

// hasGrant tells whether the issuer has the grant type at all.
func hasGrant(grantType string) bool {
	_, ok := grants[grantType]
	return ok
}

// peopleSignIn tells whether anybody can sign in here.
func (i *Issuer) peopleSignIn() bool {
	return i.config.LocalLogin || len(i.upstreams) > 0 || i.config.CaddyUser != nil
}

// publicEndpoints are the URLs of the endpoints that are on.
func (i *Issuer) publicEndpoints() pages.Endpoints {
	var endpoints pages.Endpoints
	for name, url := range map[string]*string{
		"authorize":            &endpoints.Authorization,
		"token":                &endpoints.Token,
		"device_authorization": &endpoints.DeviceAuthorization,
		"device":               &endpoints.DeviceVerification,
		"userinfo":             &endpoints.UserInfo,
		"introspect":           &endpoints.Introspection,
		"revoke":               &endpoints.Revocation,
		"register":             &endpoints.Registration,
		"end_session":          &endpoints.EndSession,
		"jwks":                 &endpoints.JWKS,
		"openid_configuration": &endpoints.OpenIDConfiguration,
	} {
		if _, on := i.routes[i.path(endpointPaths[name])]; on {
			*url = i.config.URL + endpointPaths[name]
		}
	}
	// Where the issuer has a path, the metadata's URL is not below it (RFC 8414
	// §3.1).
	endpoints.ServerMetadata = strings.TrimSuffix(i.config.URL, i.basePath()) + endpointPaths["server_metadata"] + i.basePath()
	return endpoints
}

// exampleResource is an API that the examples ask for: the default one, or the
// first that is protected; empty if there is none.
func (i *Issuer) exampleResource() string {
	if fallback := i.resources.Fallback(); fallback != "" {
		return fallback
	}
	if all := i.config.Resources(); len(all) > 0 {
		return all[0]
	}
	return ""
}
