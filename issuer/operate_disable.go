package issuer

import (
	"context"
	"log/slog"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// DisableClient takes every right from a client without forgetting it. Its tokens
// end at once, with everything that people granted to it, also what is granted and
// not redeemed yet; it gets no new ones. The error is clients.ErrDeclared,
// clients.ErrWaiting, storage.ErrNotFound, or another of the storage's.
func (i *Issuer) DisableClient(ctx context.Context, id string) (client *clients.Client, err error) {
	err = i.realm.ledger.EndClient(ctx, id, func(tx storage.Tx) (granted bool, err error) {
		client, err = i.clients.SetDisabled(tx, id, true)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	i.trail.RecordOperation(ctx, audit.ClientDisabled, slog.String("client_id", id))
	return client, nil
}

// EnableClient gives a disabled client its rights back. What was ended stays so:
// it asks for new tokens, and people sign in anew. A token that it asks for in the
// very second in which it was disabled is refused, too; where nodes share a storage,
// whose clocks may differ, in the minute after it. The error is as that of
// DisableClient.
func (i *Issuer) EnableClient(ctx context.Context, id string) (client *clients.Client, err error) {
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) (err error) {
		client, err = i.clients.SetDisabled(tx, id, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	i.trail.RecordOperation(ctx, audit.ClientEnabled, slog.String("client_id", id))
	return client, nil
}

// DisableUser takes every right from a person without forgetting them: they cannot
// sign in, and their sessions, what they granted, and every token that speaks for
// them end at once. The error is storage.ErrNotFound, or another of the storage's.
func (i *Issuer) DisableUser(ctx context.Context, subject string) (*users.User, error) {
	user, err := i.realm.people.SetDisabled(ctx, subject, true)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.UserDisabled, slog.String("subject", subject))
	}
	return user, err
}

// EnableUser lets a disabled person sign in again. What was ended stays so. The
// error is as that of DisableUser.
func (i *Issuer) EnableUser(ctx context.Context, subject string) (*users.User, error) {
	user, err := i.realm.people.SetDisabled(ctx, subject, false)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.UserEnabled, slog.String("subject", subject))
	}
	return user, err
}
