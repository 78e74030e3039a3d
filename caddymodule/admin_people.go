package caddymodule

import (
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// newUser is the body that adds a person.
type newUser struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`
	Operator      bool   `json:"operator,omitempty"`
}

func listUsers(r *adminRequest) (any, error) {
	all, err := r.issuer.Users(r.Context())
	if all == nil {
		all = []*users.User{}
	}
	return all, err
}

func addUser(r *adminRequest) (any, error) {
	var body newUser
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	return r.issuer.AddUser(r.Context(), users.User{
		Username: body.Username, Name: body.Name, Email: body.Email, EmailVerified: body.EmailVerified, Operator: body.Operator,
	}, body.Password)
}

func showUser(r *adminRequest) (any, error) { return r.issuer.User(r.Context(), r.args[0]) }

func removeUser(r *adminRequest) (any, error) {
	user, err := r.issuer.User(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return map[string]string{"removed": user.ID}, r.issuer.RemoveUser(r.Context(), user.ID)
}

func setPassword(r *adminRequest) (any, error) {
	body := struct {
		Password string `json:"password"`
	}{}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	user, err := r.issuer.User(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return map[string]string{"sub": user.ID}, r.issuer.SetPassword(r.Context(), user.ID, body.Password)
}

func listAuthorizationsOf(r *adminRequest) (any, error) {
	user, err := r.issuer.User(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return authorizations(r, user.ID)
}

func listAuthorizations(r *adminRequest) (any, error) { return authorizations(r, "") }

func authorizations(r *adminRequest, subject string) (any, error) {
	all, err := r.issuer.Authorizations(r.Context(), subject)
	if all == nil {
		all = []*ledger.Authorization{}
	}
	for _, a := range all {
		a.Session = "" // means nothing outside of the storage
	}
	return all, err
}

func revokeAuthorization(r *adminRequest) (any, error) {
	return map[string]string{"revoked": r.args[0]}, r.issuer.RevokeAuthorization(r.Context(), r.args[0])
}
