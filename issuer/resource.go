package issuer

import (
	"net/url"
	"slices"
	"strings"
)

// maxResources bounds how many resources one token may be for.
const maxResources = 8

// validateResource: an absolute URI without a fragment (RFC 8707 §2).
func validateResource(resource string) error {
	u, err := url.Parse(resource)
	if err != nil || !u.IsAbs() || strings.Contains(resource, "#") || (u.Host == "" && u.Opaque == "") || u.User != nil {
		// err quotes all of the resource, which is anybody's text.
		return refuse(InvalidTarget, "a resource must be an absolute URI without fragment (RFC 8707 section 2)")
	}
	return nil
}

// requestedAudience decides for whom a token will be: the resources asked for
// (RFC 8707), else those the client is registered with, else the issuer's
// default. A token for nobody in particular would be good everywhere, so there
// always is one.
func (i *Issuer) requestedAudience(asked []string, client *Client) ([]string, error) {
	if len(asked) > maxResources {
		return nil, refuse(InvalidTarget, "at most %d resources can be asked for at once", maxResources)
	}
	var audience []string
	for _, resource := range asked {
		if err := validateResource(resource); err != nil {
			return nil, err
		}
		if !i.mayTarget(client, resource) {
			return nil, refuse(InvalidTarget, "a resource asked for is not known here, or not open to this client")
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
	if fallback := i.defaultResource(); fallback != "" {
		return []string{fallback}, nil
	}
	return nil, refuse(InvalidTarget, "name the API that the token is for with the resource parameter (RFC 8707); this issuer has no default")
}

// mayTarget: a client that is registered with resources is held to them; the
// others may ask for whatever this issuer protects.
func (i *Issuer) mayTarget(client *Client, resource string) bool {
	if len(client.Resources) > 0 {
		return slices.Contains(client.Resources, resource)
	}
	return resource == i.config.DefaultResource || slices.Contains(i.config.Resources(), resource)
}

// defaultResource is the configured one, or the only one there is.
func (i *Issuer) defaultResource() string {
	if i.config.DefaultResource != "" {
		return i.config.DefaultResource
	}
	if all := i.config.Resources(); len(all) == 1 {
		return all[0]
	}
	return ""
}

// stillOpen returns what the client may have of an authorization's audience: it
// may have lost resources since.
func (i *Issuer) stillOpen(client *Client, granted []string) ([]string, error) {
	var open []string
	for _, resource := range granted {
		if resource == i.config.URL || i.mayTarget(client, resource) {
			open = append(open, resource)
		}
	}
	if len(open) == 0 {
		return nil, refuse(InvalidTarget, "the client may no longer have tokens for what was granted")
	}
	return open, nil
}
