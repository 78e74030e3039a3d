package caddymodule

import (
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// registrationTokenAnswer is an initial access token; the token itself is there
// only when it was just made.
type registrationTokenAnswer struct {
	*issuer.RegistrationToken
	Token string `json:"token,omitempty"`
}

func createRegistrationToken(r *adminRequest) (any, error) {
	body := struct {
		Uses           int   `json:"uses"`
		ExpiresSeconds int64 `json:"expires_seconds"`
	}{Uses: 1, ExpiresSeconds: int64(registrationTokenLifetime / time.Second)}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	token, made, err := r.issuer.CreateRegistrationToken(r.Context(), body.Uses, time.Duration(body.ExpiresSeconds)*time.Second)
	if err != nil {
		return nil, err
	}
	return registrationTokenAnswer{made, token}, nil
}

func listRegistrationTokens(r *adminRequest) (any, error) {
	return answerList(r, "registration_tokens", r.issuer.ListRegistrationTokens, itself[*issuer.RegistrationToken])
}

func removeRegistrationToken(r *adminRequest) (any, error) {
	return map[string]string{"removed": r.args[0]}, r.issuer.RemoveRegistrationToken(r.Context(), r.args[0])
}
