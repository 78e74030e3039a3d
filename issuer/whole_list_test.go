package issuer

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// Tests look at whole lists, of which operators get parts: a real one may be as long
// as it likes.

func whole[T any](ctx context.Context, list func(context.Context, record.Part) ([]T, string, error)) (all []T, err error) {
	for part := (record.Part{Limit: 100}); ; {
		found, next, err := list(ctx, part)
		all = append(all, found...)
		if err != nil || next == "" {
			return all, err
		}
		part.After = next
	}
}

func (f *fixture) Clients(ctx context.Context) ([]*clients.Client, error) {
	return whole(ctx, f.ListClients)
}

func (f *fixture) RegistrationTokens(ctx context.Context) ([]*RegistrationToken, error) {
	return whole(ctx, f.ListRegistrationTokens)
}

func (f *fixture) Authorizations(ctx context.Context, subject string) ([]*ledger.Authorization, error) {
	return whole(ctx, func(ctx context.Context, part record.Part) ([]*ledger.Authorization, string, error) {
		return f.ListAuthorizations(ctx, subject, part)
	})
}
