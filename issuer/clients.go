package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
func (i *Issuer) Client(ctx context.Context, id string) (*Client, error) {
	if client, ok := i.declared[id]; ok {
		return client, nil
	}
	if validateClientID(id) != nil {
		return nil, storage.ErrNotFound
	}
	var client *Client
	err := i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		client, err = getClient(tx, i.config.URL, id)
		return err
	})
	return client, err
}

// Clients returns all clients by id.
func (i *Issuer) Clients(ctx context.Context) ([]*Client, error) {
	var clients []*Client
	err := i.state.Storage.View(ctx, func(tx storage.Tx) error {
		clients = clients[:0]
		return tx.List(kindClient, clientKey(i.config.URL, ""), func(_ string, value []byte) error {
			client, err := decodeClient(value)
			if err == nil && i.declared[client.ID] == nil {
				clients = append(clients, client)
			}
			return err
		})
	})
	for _, client := range i.declared {
		clients = append(clients, client)
	}
	slices.SortFunc(clients, func(a, b *Client) int { return strings.Compare(a.ID, b.ID) })
	return clients, err
}

// AddClient registers a client. An empty ID gets a random one; a confidential
// client gets a secret, which is returned this once and kept only as a hash.
func (i *Issuer) AddClient(ctx context.Context, metadata ClientMetadata) (client *Client, secret string, err error) {
	if client, err = i.newClient(metadata); err != nil {
		return nil, "", err
	}
	if client.Type == Confidential {
		secret = client.replaceSecrets()
	}
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error { return i.insertClient(tx, client) })
	if err != nil {
		return nil, "", err
	}
	return client, secret, nil
}

// newClient makes a client of metadata that this issuer can serve, without a
// secret, and stores nothing.
func (i *Issuer) newClient(metadata ClientMetadata) (*Client, error) {
	if metadata.ID == "" {
		metadata.ID = record.RandomText(16)
	}
	if metadata.Type == "" {
		metadata.Type = Confidential
	}
	metadata.GrantTypes = slices.Clone(metadata.GrantTypes) // validate writes to it
	if err := metadata.validate(&i.config); err != nil {
		return nil, err
	}
	return &Client{ClientMetadata: metadata, Created: record.Now()}, nil
}

// insertClient writes a new client, or returns ErrClientExists.
func (i *Issuer) insertClient(tx storage.Tx, client *Client) error {
	if i.declared[client.ID] != nil {
		return ErrClientExists
	}
	switch _, err := getClient(tx, i.config.URL, client.ID); {
	case err == nil:
		return ErrClientExists
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return putClient(tx, i.config.URL, client)
}

// replaceSecrets gives the client one secret in place of all it has.
func (c *Client) replaceSecrets() (secret string) {
	secret = NewSecret()
	c.Secrets = []ClientSecret{{Hash: HashSecret(secret), Created: record.Now()}}
	return secret
}

// fillScope: a client that people sign in for and that names no scope can tell
// who they are, and stay connected if it may refresh.
func (m *ClientMetadata) fillScope() {
	if len(m.Scope) > 0 || !(m.mayUse(grantTypeAuthorizationCode) || m.mayUse(grantTypeDeviceCode)) {
		return
	}
	m.Scope = Scope{scopeOpenID, scopeProfile, scopeEmail}
	if m.mayUse(grantTypeRefreshToken) {
		m.Scope = append(m.Scope, scopeOfflineAccess)
	}
}

// RemoveClient forgets a client and ends every token it holds. The request of one
// that waits for approval goes with it.
func (i *Issuer) RemoveClient(ctx context.Context, id string) error {
	if i.declared[id] != nil {
		return ErrClientDeclared
	}
	var ended []revocation
	err := i.revoke(ctx, i.revokeClient(id), func(tx storage.Tx) error {
		client, err := getClient(tx, i.config.URL, id)
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			return err // a damaged record can still be removed
		}
		if err == nil && client.isWaiting() {
			if err := i.withdrawApplication(tx, client); err != nil {
				return err
			}
		}
		var failed error
		ended, failed = i.endAuthorizationsOfClient(tx, id)
		return errors.Join(failed, i.deleteClient(tx, id))
	})
	if err == nil {
		i.enforce(ended...)
	}
	return err
}

// deleteClient deletes the records of a client.
func (i *Issuer) deleteClient(tx storage.Tx, id string) error {
	key := clientKey(i.config.URL, id)
	return errors.Join(tx.Delete(kindClient, key), tx.Delete(kindUnused, key))
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
	secret = NewSecret()
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		client, err := getClient(tx, i.config.URL, id)
		if err != nil {
			return err
		}
		if client.Type == Public {
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
		client.Secrets = append(kept, ClientSecret{Hash: HashSecret(secret), Created: now})
		return putClient(tx, i.config.URL, client)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// SecretsInForce counts the secrets that work at now.
func (c *Client) SecretsInForce(now time.Time) int {
	n := 0
	for _, s := range c.Secrets {
		if s.Expires.IsZero() || now.Before(s.Expires) {
			n++
		}
	}
	return n
}
