package issuer

import (
	"log/slog"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// proveRefreshToken is the refresh token grant (RFC 6749 §6), with rotation: each
// refresh token is used once, and a second use ends the whole chain (RFC 9700
// §4.14.2).
func (i *Issuer) proveRefreshToken(r *tokenRequest) (*approval, error) {
	if r.Get("refresh_token") == "" {
		return nil, oauth.Refuse(oauth.InvalidRequest, "refresh_token is missing")
	}
	var (
		granted   *ledger.Authorization
		approved  *approval
		successor string
		stolen    *ledger.Revocation
		refused   error
	)
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) (err error) {
		granted, successor, stolen, refused, err = i.rotate(tx, r)
		if refused != nil || err != nil {
			return err
		}
		approved, err = i.refreshed(granted, r) // its refusal undoes the rotation
		return err
	})
	if err != nil {
		return nil, err
	}
	if stolen != nil {
		i.realm.ledger.Enforce(*stolen)
		i.trail.Record(r.Request, audit.RefreshTokenReplayed, slog.String("client_id", r.client.ID), slog.String("authorization_id", stolen.ID))
		i.config.Observer.RefreshTokenReused(r.client.ID, stolen.ID)
	}
	if refused != nil {
		return nil, refused
	}
	approved.refreshToken = successor
	return approved, nil
}

// refreshed is what a refresh is good for: what was granted, or less if the
// request asks for less; never more, and nothing that the client has lost since.
func (i *Issuer) refreshed(granted *ledger.Authorization, r *tokenRequest) (*approval, error) {
	scope, err := oauth.RequestedScope(r.Get("scope"), granted.Scope.Intersect(r.client.Scope))
	if err != nil {
		return nil, err
	}
	audience, err := i.stillOpen(r, granted)
	if err != nil {
		return nil, err
	}
	return &approval{
		subject: granted.Subject, scope: scope, audience: audience, authorizationID: granted.ID, authenticated: granted,
	}, nil
}
