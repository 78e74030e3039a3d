package clients

import (
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// maxResources bounds how many resources one token may be for.
const maxResources = 8

// ValidateResource: an absolute URI without a fragment (RFC 8707 §2).
func ValidateResource(resource string) error {
	u, err := url.Parse(resource)
	if err != nil || !u.IsAbs() || strings.Contains(resource, "#") || (u.Host == "" && u.Opaque == "") || u.User != nil {
		// err quotes all of the resource, which is anybody's text.
		return oauth.Refuse(oauth.InvalidTarget, "a resource must be an absolute URI without fragment (RFC 8707 section 2)")
	}
	return nil
}

// Resources are what an issuer's tokens can be for.
type Resources struct {
	// Issuer is the issuer itself, whose userinfo is one with the scope openid.
	Issuer string
	// Default is for requests and clients that name none; it may be empty.
	Default string
	// Protected returns what the gateways of this process protect.
	Protected func() []string
}

// Requested decides for whom a token will be: the resources asked for
// (RFC 8707), else those the client is registered with, else the issuer's
// default. A token for nobody in particular would be good everywhere, so there
// always is one.
func (x *Resources) Requested(asked []string, client *Client) ([]string, error) {
	if len(asked) > maxResources {
		return nil, oauth.Refuse(oauth.InvalidTarget, "at most %d resources can be asked for at once", maxResources)
	}
	var audience []string
	for _, resource := range asked {
		if err := ValidateResource(resource); err != nil {
			return nil, err
		}
		if !x.admits(client, resource) {
			return nil, oauth.Refuse(oauth.InvalidTarget, "a resource asked for is not known here, or not open to this client")
		}
		if !slices.Contains(audience, resource) {
			audience = append(audience, resource)
		}
	}
	switch {
	case len(audience) > 0:
		return audience, nil
	case len(client.Resources) > 0:
		return client.Resources, nil
	}
	if fallback := x.Fallback(); fallback != "" {
		return []string{fallback}, nil
	}
	return nil, oauth.Refuse(oauth.InvalidTarget, "name the API that the token is for with the resource parameter (RFC 8707); this issuer has no default")
}

// admits: a client that is registered with resources is held to them; the
// others may ask for whatever this issuer protects.
func (x *Resources) admits(client *Client, resource string) bool {
	if len(client.Resources) > 0 {
		return slices.Contains(client.Resources, resource)
	}
	return resource == x.Default || slices.Contains(x.Protected(), resource)
}

// Fallback is the configured one, or the only one there is.
func (x *Resources) Fallback() string {
	if x.Default != "" {
		return x.Default
	}
	if all := x.Protected(); len(all) == 1 {
		return all[0]
	}
	return ""
}

// StillOpen returns what the client may have of an authorization's audience: it
// may have lost resources since.
func (x *Resources) StillOpen(client *Client, granted []string) ([]string, error) {
	var open []string
	for _, resource := range granted {
		if resource == x.Issuer || x.admits(client, resource) {
			open = append(open, resource)
		}
	}
	if len(open) == 0 {
		return nil, oauth.Refuse(oauth.InvalidTarget, "the client may no longer have tokens for what was granted")
	}
	return open, nil
}

// Personal is the audience of tokens that speak for a person: the APIs
// that were asked for and, with openid, this issuer's own userinfo.
func (x *Resources) Personal(asked []string, client *Client, scope oauth.Scope) ([]string, error) {
	audience, err := x.Requested(asked, client)
	if !scope.Has(oauth.ScopeOpenID) {
		return audience, err
	}
	if err != nil && len(asked) == 0 {
		return []string{x.Issuer}, nil // signing in is all it is for
	}
	if err != nil || slices.Contains(audience, x.Issuer) {
		return audience, err
	}
	return append(slices.Clone(audience), x.Issuer), nil
}
