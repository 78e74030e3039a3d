package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Client returns the client with that id, declared or stored. It returns an
// error that is storage.ErrNotFound if there is none.
func (i *Issuer) Client(ctx context.Context, id string) (*clients.Client, error) {
	return i.clients.Client(ctx, id)
}

// AddClient registers a client. An empty ID gets a random one; a confidential
// client gets a secret, which is returned this once and kept only as a hash.
func (i *Issuer) AddClient(ctx context.Context, metadata clients.Metadata) (client *clients.Client, secret string, err error) {
	if client, secret, err = i.clients.Add(ctx, metadata); err != nil {
		return nil, "", err
	}
	i.trail.RecordOperation(ctx, audit.ClientAdded, slog.String("client_id", client.ID), slog.String("client_name", client.Name),
		slog.String("client_type", client.Type), slog.Any("grant_types", client.GrantTypes), slog.String("scope", client.Scope.String()),
		slog.Any("resource", client.Resources))
	return client, secret, nil
}

// RotateSecret gives a client a new secret, which is returned this once. The
// ones before it go on working for the overlap, and no longer.
func (i *Issuer) RotateSecret(ctx context.Context, id string, overlap time.Duration) (secret string, err error) {
	if secret, err = i.clients.RotateSecret(ctx, id, overlap); err != nil {
		return "", err
	}
	i.trail.RecordOperation(ctx, audit.ClientSecretRotated, slog.String("client_id", id), slog.String("overlap", overlap.String()))
	return secret, nil
}

// RemoveClient forgets a client and ends every token it holds. The request of one
// that waits for approval goes with it.
func (i *Issuer) RemoveClient(ctx context.Context, id string) error {
	err := i.removeClient(ctx, id)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.ClientRemoved, slog.String("client_id", id))
	}
	return err
}

func (i *Issuer) removeClient(ctx context.Context, id string) error {
	if i.clients.IsDeclared(id) {
		return clients.ErrDeclared
	}
	return i.realm.ledger.EndClient(ctx, id, func(tx storage.Tx) (granted bool, err error) {
		client, err := clients.Get(tx, i.config.URL, id)
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			return false, err // a damaged record can still be removed
		}
		if err == nil && client.IsWaiting() {
			if err := i.withdrawApplication(tx, client); err != nil {
				return false, err
			}
		}
		// Anybody may register clients and remove them again, and nobody should wait
		// for that.
		unused := err == nil && client.IsUnused()
		return !unused, clients.Delete(tx, i.config.URL, id)
	})
}

// ErrUnknownToken: what is to be revoked is no access token with the signature of this
// issuer. It may be good elsewhere, or be another kind of token.
var ErrUnknownToken = errors.New("no access token of this issuer")

// RevokeToken ends an access token of this issuer. It returns an error that is
// introspect.ErrInactive if it is not one that is in force, and ErrUnknownToken as
// well if it never was one.
func (i *Issuer) RevokeToken(ctx context.Context, token string) (*introspect.Token, error) {
	facts, err := i.revokeToken(ctx, token)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.TokenRevoked, tokenAttrs(facts)...)
	}
	return facts, err
}

func (i *Issuer) revokeToken(ctx context.Context, token string) (*introspect.Token, error) {
	facts, err := i.Introspect(ctx, token)
	if errors.Is(err, introspect.ErrInactive) {
		if _, unknown := introspect.VerifyJWS(ctx, token, "at+jwt", ringKeys{i.realm.keys}); unknown != nil {
			err = fmt.Errorf("%w: %w", ErrUnknownToken, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return facts, i.realm.ledger.EndToken(ctx, facts)
}

// RevokeAuthorization ends an authorization and all its tokens. It returns an
// error that is storage.ErrNotFound if there is none with that id.
func (i *Issuer) RevokeAuthorization(ctx context.Context, id string) error {
	err := i.realm.ledger.EndByID(ctx, id)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.AuthorizationRevoked, slog.String("authorization_id", id))
	}
	return err
}

// AddUser adds a person who signs in here; see users.Users.Add.
func (i *Issuer) AddUser(ctx context.Context, user users.User, password string) (*users.User, error) {
	added, err := i.realm.users.Add(ctx, user, password)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.UserAdded, slog.String("subject", added.ID), slog.String("username", audit.Loggable(added.Username)),
			slog.Bool("operator", added.Operator))
	}
	return added, err
}

// User returns a person by username or, beginning with "u:", by subject. The
// error is storage.ErrNotFound if there is none.
func (i *Issuer) User(ctx context.Context, name string) (*users.User, error) {
	if user, err := i.realm.users.Get(ctx, name); !errors.Is(err, storage.ErrNotFound) {
		return user, err
	}
	return i.realm.users.Find(ctx, name)
}

// RemoveUser forgets a person, with their sessions, what they granted, and every
// token that speaks for them.
func (i *Issuer) RemoveUser(ctx context.Context, subject string) error {
	err := i.realm.people.Remove(ctx, subject)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.UserRemoved, slog.String("subject", subject))
	}
	return err
}

// SetPassword gives a person a new password. Every session of theirs ends, and
// everything they granted: whoever had the old password may have granted it.
func (i *Issuer) SetPassword(ctx context.Context, subject, password string) error {
	err := i.realm.people.SetPassword(ctx, subject, password)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.UserPasswordSet, slog.String("subject", subject))
	}
	return err
}

// Disconnect takes everything back that a person granted to a client: the
// remembered consent, and all tokens at once.
func (i *Issuer) Disconnect(ctx context.Context, subject, clientID string) error {
	err := i.realm.people.Disconnect(ctx, subject, clientID)
	if err == nil {
		i.trail.RecordOperation(ctx, audit.ClientDisconnected, slog.String("client_id", clientID), slog.String("subject", subject))
	}
	return err
}
