package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Errors of the operations on clients. Their text is for operators.
var (
	ErrClientExists   = errors.New("there is a client with this id already")
	ErrClientDeclared = errors.New("this client is declared in the configuration; change it there")
	ErrClientPublic   = errors.New("a public client has no secret")
)

// Client returns the client with that id, declared or stored. It returns an
// error that is storage.ErrNotFound if there is none.
func (i *Issuer) Client(ctx context.Context, id string) (*clients.Client, error) {
	if client, ok := i.declared[id]; ok {
		return client, nil
	}
	if clients.ValidateID(id) != nil {
		return nil, storage.ErrNotFound
	}
	var client *clients.Client
	err := i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		client, err = clients.Get(tx, i.config.URL, id)
		return err
	})
	return client, err
}

// Clients returns all clients by id.
func (i *Issuer) Clients(ctx context.Context) ([]*clients.Client, error) {
	var all []*clients.Client
	err := i.state.Storage.View(ctx, func(tx storage.Tx) error {
		all = all[:0]
		return clients.Each(tx, i.config.URL, func(client *clients.Client) {
			if i.declared[client.ID] == nil {
				all = append(all, client)
			}
		})
	})
	for _, client := range i.declared {
		all = append(all, client)
	}
	slices.SortFunc(all, func(a, b *clients.Client) int { return strings.Compare(a.ID, b.ID) })
	return all, err
}

// AddClient registers a client. An empty ID gets a random one; a confidential
// client gets a secret, which is returned this once and kept only as a hash.
func (i *Issuer) AddClient(ctx context.Context, metadata clients.Metadata) (client *clients.Client, secret string, err error) {
	if client, err = i.newClient(metadata); err != nil {
		return nil, "", err
	}
	if client.Type == clients.Confidential {
		secret = client.ReplaceSecrets()
	}
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error { return i.insertClient(tx, client) })
	if err != nil {
		return nil, "", err
	}
	return client, secret, nil
}

// newClient makes a client of metadata that this issuer can serve, without a
// secret, and stores nothing.
func (i *Issuer) newClient(metadata clients.Metadata) (*clients.Client, error) {
	if metadata.ID == "" {
		metadata.ID = record.RandomText(16)
	}
	if metadata.Type == "" {
		metadata.Type = clients.Confidential
	}
	metadata.GrantTypes = slices.Clone(metadata.GrantTypes) // validate writes to it
	if err := metadata.Validate(i.config.scopeNames()); err != nil {
		return nil, err
	}
	return &clients.Client{Metadata: metadata, Created: record.Now()}, nil
}

// insertClient writes a new client, or returns ErrClientExists.
func (i *Issuer) insertClient(tx storage.Tx, client *clients.Client) error {
	if i.declared[client.ID] != nil {
		return ErrClientExists
	}
	switch _, err := clients.Get(tx, i.config.URL, client.ID); {
	case err == nil:
		return ErrClientExists
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return clients.Put(tx, i.config.URL, client)
}

// RemoveClient forgets a client and ends every token it holds. The request of one
// that waits for approval goes with it.
func (i *Issuer) RemoveClient(ctx context.Context, id string) error {
	if i.declared[id] != nil {
		return ErrClientDeclared
	}
	return i.realm.ledger.EndClient(ctx, id, func(tx storage.Tx) error {
		client, err := clients.Get(tx, i.config.URL, id)
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			return err // a damaged record can still be removed
		}
		if err == nil && client.IsWaiting() {
			if err := i.withdrawApplication(tx, client); err != nil {
				return err
			}
		}
		return clients.Delete(tx, i.config.URL, id)
	})
}

// RotateSecret gives a client a new secret, which is returned this once. The
// ones before it go on working for the overlap, and no longer.
func (i *Issuer) RotateSecret(ctx context.Context, id string, overlap time.Duration) (secret string, err error) {
	if overlap < 0 {
		return "", fmt.Errorf("an overlap of %s: want zero or more", overlap)
	}
	if i.declared[id] != nil {
		return "", ErrClientDeclared
	}
	secret = clients.NewSecret()
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		client, err := clients.Get(tx, i.config.URL, id)
		if err != nil {
			return err
		}
		if client.Type == clients.Public {
			return ErrClientPublic
		}
		now := time.Now().UTC().Truncate(time.Second)
		until := now.Add(overlap)
		kept := client.Secrets[:0]
		for _, s := range client.Secrets {
			if s.Expires.IsZero() || s.Expires.After(until) {
				s.Expires = until
			}
			if s.Expires.After(now) {
				kept = append(kept, s)
			}
		}
		client.Secrets = append(kept, clients.Secret{Hash: clients.HashSecret(secret), Created: now})
		return clients.Put(tx, i.config.URL, client)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}
