package caddymodule

import (
	"errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

func revokeToken(r *adminRequest) (any, error) {
	body := struct {
		Token string `json:"token"`
	}{}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	if body.Token == "" {
		return nil, errors.New("token is missing")
	}
	token, err := r.issuer.RevokeToken(r.Context(), body.Token)
	var inactive *introspect.InactiveError
	switch {
	case errors.Is(err, issuer.ErrUnknownToken) && errors.As(err, &inactive):
		return map[string]string{"status": "unknown", "reason": inactive.Reason}, nil
	case errors.As(err, &inactive):
		// As at the revocation endpoint: there is nothing left to revoke.
		return map[string]string{"status": "not active", "reason": inactive.Reason}, nil
	case err != nil:
		return nil, err
	}
	return map[string]string{"status": "revoked", "jti": token.ID, "client_id": token.ClientID, "sub": token.Subject}, nil
}
