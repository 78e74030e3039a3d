package issuer

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// serveRevocation is the revocation endpoint (RFC 7009). It answers 200 with an
// empty JSON object, because libraries parse the answer as JSON. An unknown or
// expired token, or one of another client, is as good as revoked (§2.2); but
// when the revocation could not be written the answer is 503, never 200.
func (i *Issuer) serveRevocation(w http.ResponseWriter, r *http.Request) {
	if err := i.revocation(w, r); err != nil {
		i.refusals.Write(w, r, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, struct{}{})
}

func (i *Issuer) revocation(w http.ResponseWriter, r *http.Request) error {
	client, token, err := i.presentedToken(w, r)
	if err != nil {
		return err
	}
	facts, err := i.Introspect(r.Context(), token)
	switch {
	case errors.Is(err, introspect.ErrInactive):
		return i.revokeRefreshToken(r, client, token)
	case err != nil:
		return oauth.Refuse(oauth.TemporarilyUnavailable, "the token cannot be judged now").Because(err)
	case facts.ClientID != client.ID:
		// RFC 7009 §2.1: only the client that a token was issued to revokes it.
		// That it exists is not said.
		i.trail.Record(r, audit.RevocationRefused, slog.String("client_id", client.ID), slog.String("owner", facts.ClientID), slog.String("token_id", facts.ID))
		return nil
	}
	if err := i.realm.ledger.EndToken(r.Context(), facts); err != nil {
		return err
	}
	i.trail.Record(r, audit.TokenRevoked, tokenAttrs(facts)...)
	return nil
}

// tokenAttrs says which token an event is about.
func tokenAttrs(token *introspect.Token) []slog.Attr {
	return []slog.Attr{
		slog.String("client_id", token.ClientID), slog.String("subject", token.Subject),
		slog.String("authorization_id", token.AuthorizationID), slog.String("token_id", token.ID),
	}
}

// revokeRefreshToken ends the authorization that a refresh token belongs to, and
// with it the whole chain and its access tokens (RFC 7009 §2.1). What is not a
// refresh token of the client is as good as revoked.
func (i *Issuer) revokeRefreshToken(r *http.Request, client *clients.Client, token string) error {
	key, ok := record.HandleKey(i.config.URL, token)
	if !ok {
		return nil
	}
	var a *ledger.Authorization
	var ended ledger.Revocation
	err := i.state.Storage.Update(r.Context(), func(tx storage.Tx) (err error) {
		var refused error
		if _, a, refused, err = i.findRefreshToken(tx, key, client); refused != nil || err != nil {
			return err
		}
		ended, err = i.realm.ledger.End(tx, a)
		return err
	})
	if err != nil || a == nil {
		return err
	}
	i.realm.ledger.Enforce(ended)
	i.trail.Record(r, audit.RefreshTokenRevoked, slog.String("client_id", client.ID), slog.String("subject", a.Subject), slog.String("authorization_id", a.ID))
	return nil
}
