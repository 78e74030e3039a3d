package issuer

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Each list comes in parts: a method returns one, and the After of the next, which
// is empty where nothing is left. However long a list is, no more of it is kept in
// memory than the part. What is added or removed between two parts may be missed;
// nothing else is, and nothing comes twice.

// ListClients returns clients by id: the declared ones and those of the storage.
func (i *Issuer) ListClients(ctx context.Context, part record.Part) ([]*clients.Client, string, error) {
	return i.clients.Part(ctx, part)
}

// ListUsers returns those whom the issuer knows, by subject.
func (i *Issuer) ListUsers(ctx context.Context, part record.Part) ([]*users.User, string, error) {
	return i.realm.users.Part(ctx, part)
}

// ListAuthorizations returns authorizations in force by their ids, of one person
// or, with an empty subject, of all.
func (i *Issuer) ListAuthorizations(ctx context.Context, subject string, part record.Part) ([]*ledger.Authorization, string, error) {
	return i.realm.ledger.Part(ctx, subject, part)
}
