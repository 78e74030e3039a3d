package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// introspectionResponse is that of RFC 7662 §2.2. Of a token that is not active
// it has nothing but that.
type introspectionResponse struct {
	Active    bool              `json:"active"`
	Scope     oauth.Scope       `json:"scope,omitempty"`
	ClientID  string            `json:"client_id,omitempty"`
	TokenType string            `json:"token_type,omitempty"`
	Expiry    int64             `json:"exp,omitempty"`
	IssuedAt  int64             `json:"iat,omitempty"`
	Subject   string            `json:"sub,omitempty"`
	Audience  audience          `json:"aud,omitempty"`
	Issuer    string            `json:"iss,omitempty"`
	ID        string            `json:"jti,omitempty"`
	Actor     *introspect.Actor `json:"act,omitempty"`
}

// serveIntrospection is the introspection endpoint (RFC 7662).
func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	response, err := i.introspection(w, r)
	if err != nil {
		i.refusals.Write(w, r, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, response)
}

func (i *Issuer) introspection(w http.ResponseWriter, r *http.Request) (*introspectionResponse, error) {
	client, token, err := i.presentedToken(w, r)
	if err != nil {
		return nil, err
	}
	if client.Type == clients.Public {
		// RFC 7662 §2.1: the caller must be authorized, or the endpoint could be
		// used to try tokens out. A public client proves nothing.
		refused := badCredentials("a public client asked for introspection")
		i.trail.Record(r, audit.IntrospectionRefused, slog.String("client_id", client.ID), slog.String("reason", refused.Error()))
		return nil, errInvalidClient(refused)
	}
	facts, err := i.Introspect(r.Context(), token)
	switch {
	case errors.Is(err, introspect.ErrInactive):
		return &introspectionResponse{}, nil
	case err != nil:
		return nil, oauth.Refuse(oauth.TemporarilyUnavailable, "the token cannot be judged now").Because(err)
	case !mayIntrospect(client, facts):
		i.trail.Record(r, audit.IntrospectionRefused, slog.String("client_id", client.ID), slog.String("owner", facts.ClientID), slog.String("token_id", facts.ID))
		return &introspectionResponse{}, nil
	}
	return &introspectionResponse{
		Active: true, Scope: facts.Scope, ClientID: facts.ClientID, TokenType: "Bearer",
		Expiry: facts.Expiry.Unix(), IssuedAt: facts.IssuedAt.Unix(), Subject: facts.Subject,
		Audience: facts.Audience, Issuer: facts.Issuer, ID: facts.ID, Actor: facts.Actor,
	}, nil
}

// mayIntrospect: a client may ask about its own tokens, and a resource server
// about tokens that are meant for it, that is for a resource it is registered
// with by an operator. To everybody else a token looks inactive (RFC 7662 §2.2, §4), or any
// client could look into any token it found.
func mayIntrospect(client *clients.Client, token *introspect.Token) bool {
	return token.ClientID == client.ID ||
		(client.Registration == nil && slices.ContainsFunc(client.Resources, token.HasAudience))
}

// presentedToken reads a request that names a token, to introspect or to revoke
// it.
func (i *Issuer) presentedToken(w http.ResponseWriter, r *http.Request) (*clients.Client, string, error) {
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return nil, "", err
	}
	client, err := i.authenticate(r.Context(), r, f)
	if err != nil {
		return nil, "", err
	}
	token := f.Get("token")
	if token == "" {
		return nil, "", oauth.Refuse(oauth.InvalidRequest, "token is missing")
	}
	return client, token, nil
}
