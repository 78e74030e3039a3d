package caddymodule

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
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
	return answerList(r, "users", r.issuer.ListUsers, itself[*users.User])
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

func disableUser(r *adminRequest) (any, error) { return switchUser(r, r.issuer.DisableUser) }

func enableUser(r *adminRequest) (any, error) { return switchUser(r, r.issuer.EnableUser) }

func switchUser(r *adminRequest, to func(context.Context, string) (*users.User, error)) (any, error) {
	if err := r.decode(new(struct{})); err != nil {
		return nil, err
	}
	user, err := r.issuer.User(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return to(r.Context(), user.ID)
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
	list := func(ctx context.Context, part record.Part) ([]*ledger.Authorization, string, error) {
		return r.issuer.ListAuthorizations(ctx, subject, part)
	}
	return answerList(r, "authorizations", list, func(a *ledger.Authorization) *ledger.Authorization {
		a.Session = "" // means nothing outside of the storage
		return a
	})
}

func revokeAuthorization(r *adminRequest) (any, error) {
	return map[string]string{"revoked": r.args[0]}, r.issuer.RevokeAuthorization(r.Context(), r.args[0])
}
