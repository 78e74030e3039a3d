package issuer

import (
	"log/slog"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// proveAuthorizationCode is the authorization code grant (RFC 6749 §4.1.3): a
// person has granted something to the client, and the code proves it, once.
func (i *Issuer) proveAuthorizationCode(r *tokenRequest) (*approval, error) {
	if r.Get("code") == "" {
		return nil, oauth.Refuse(oauth.InvalidRequest, "code is missing")
	}
	var (
		granted      *ledger.Authorization
		audience     []string
		refreshToken string
		replayed     *ledger.Revocation
		refused      error
	)
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) (err error) {
		var code *signin.Code
		code, replayed, refused, err = i.redeemCode(tx, r)
		if refused != nil || err != nil {
			return err
		}
		granted = &code.Authorization
		if audience, err = i.stillOpen(r, granted); err != nil {
			return err
		}
		if refreshToken = ""; i.givesRefreshToken(r.client, granted) {
			refreshToken = record.NewHandle()
			return i.putRefreshToken(tx, refreshToken, granted)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if replayed != nil {
		i.realm.ledger.Enforce(*replayed)
		i.trail.Record(r.Request, audit.CodeReplayed, slog.String("client_id", r.client.ID), slog.String("authorization_id", replayed.ID))
	}
	if refused != nil {
		return nil, refused
	}
	return &approval{
		subject: granted.Subject, scope: granted.Scope.Intersect(r.client.Scope), audience: audience, authorizationID: granted.ID,
		refreshToken: refreshToken, authenticated: granted, nonce: granted.Nonce,
	}, nil
}

// givesRefreshToken: only where a person consented to offline_access, or the
// client is registered to get one in any case (OpenID Connect Core §11).
func (i *Issuer) givesRefreshToken(client *clients.Client, a *ledger.Authorization) bool {
	return client.MayUse(oauth.GrantRefreshToken) && (a.Offline || client.RefreshTokenAlways)
}
