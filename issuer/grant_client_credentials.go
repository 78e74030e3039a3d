package issuer

import (
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// proveClientCredentials is the client credentials grant (RFC 6749 §4.4): the
// client asks for itself, and that it is the client is proven already. Nothing
// is stored, so nothing but the signature costs time; and no refresh token is
// given (§4.4.3), since the client can ask again.
func (i *Issuer) proveClientCredentials(r *tokenRequest) (*approval, error) {
	scope, err := oauth.RequestedScope(r.Get("scope"), r.client.Scope.Without(oauth.PersonalScopes))
	if err != nil {
		return nil, err
	}
	audience, err := i.resources.Requested(r.All("resource"), r.client)
	if err != nil {
		return nil, err
	}
	return &approval{subject: clientSubject(r.client), scope: scope, audience: audience}, nil
}

// clientSubject is the sub of a token that a client has for itself: its id
// (RFC 9068 §2.2). Subjects of people are made so that they cannot be an id of
// a client (RFC 9068 §5).
func clientSubject(client *clients.Client) string { return client.ID }
