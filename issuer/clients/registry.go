package clients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Errors of the operations on clients. Their text is for operators.
var (
	ErrExists   = errors.New("there is a client with this id already")
	ErrDeclared = errors.New("this client is declared in the configuration; change it there")
	ErrPublic   = errors.New("a public client has no secret")
)

// Registry is where the clients of an issuer are found: those declared in its
// configuration, which are read-only, and those that the storage has.
type Registry struct {
	store    storage.Storage
	issuer   string      // its URL
	scopes   oauth.Scope // all there are
	declared map[string]*Client
}

// NewRegistry returns the clients of an issuer that has these scopes.
func NewRegistry(store storage.Storage, issuer string, scopes oauth.Scope, declared []Client) *Registry {
	x := &Registry{store: store, issuer: issuer, scopes: scopes, declared: make(map[string]*Client)}
	for n := range declared {
		client := declared[n]
		client.Declared = true
		x.declared[client.ID] = &client
	}
	return x
}

// IsDeclared tells whether the configuration has a client with that id.
func (x *Registry) IsDeclared(id string) bool { return x.declared[id] != nil }

// IsEmpty tells whether there is no client at all.
func (x *Registry) IsEmpty(ctx context.Context) (bool, error) {
	if len(x.declared) > 0 {
		return false, nil
	}
	found := false
	err := x.store.View(ctx, func(tx storage.Tx) (err error) {
		found, err = Any(tx, x.issuer)
		return err
	})
	return err == nil && !found, err
}

// Client returns the client with that id, declared or stored. It returns an
// error that is storage.ErrNotFound if there is none.
func (x *Registry) Client(ctx context.Context, id string) (*Client, error) {
	if client, ok := x.declared[id]; ok {
		return client, nil
	}
	if validateID(id) != nil {
		return nil, storage.ErrNotFound
	}
	var client *Client
	err := x.store.View(ctx, func(tx storage.Tx) (err error) {
		client, err = Get(tx, x.issuer, id)
		return err
	})
	return client, err
}

// Part returns a part of all clients by id, and the After of the next one; it is
// empty where nothing is left. Of a declared and a stored client with the same id
// the declared one is the client.
func (x *Registry) Part(ctx context.Context, part record.Part) (found []*Client, next string, err error) {
	err = x.store.View(ctx, func(tx storage.Tx) (err error) {
		found = found[:0]
		next, err = record.List(tx, kindClient, clientKey(x.issuer, ""), part, func(id string, value []byte) error {
			if x.declared[id] != nil {
				return nil
			}
			client, err := Decode(value)
			found = append(found, client)
			return err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	for id, client := range x.declared {
		if id > part.After && (next == "" || id <= next) {
			found = append(found, client)
		}
	}
	slices.SortFunc(found, func(a, b *Client) int { return strings.Compare(a.ID, b.ID) })
	if len(found) > part.Limit {
		found = found[:part.Limit]
		next = found[part.Limit-1].ID
	}
	return found, next, nil
}

// Add registers a client. An empty ID gets a random one, no scope the
// DefaultScope; a confidential client gets a secret, which is returned this once
// and kept only as a hash.
func (x *Registry) Add(ctx context.Context, metadata Metadata) (client *Client, secret string, err error) {
	if client, err = x.New(metadata); err != nil {
		return nil, "", err
	}
	client.DefaultScope()
	if client.Type == Confidential {
		secret = client.ReplaceSecrets()
	}
	err = x.store.Update(ctx, func(tx storage.Tx) error { return x.Insert(tx, client) })
	if err != nil {
		return nil, "", err
	}
	return client, secret, nil
}

// New makes a client of metadata that this issuer can serve, without a
// secret, and stores nothing.
func (x *Registry) New(metadata Metadata) (*Client, error) {
	if metadata.ID == "" {
		metadata.ID = record.RandomText(16)
	}
	if metadata.Type == "" {
		metadata.Type = Confidential
	}
	metadata.GrantTypes = slices.Clone(metadata.GrantTypes) // validate writes to it
	if err := metadata.Validate(x.scopes); err != nil {
		return nil, err
	}
	return &Client{Metadata: metadata, Created: record.Now()}, nil
}

// Insert writes a new client, or returns ErrExists.
func (x *Registry) Insert(tx storage.Tx, client *Client) error {
	if x.declared[client.ID] != nil {
		return ErrExists
	}
	switch _, err := Get(tx, x.issuer, client.ID); {
	case err == nil:
		return ErrExists
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return Put(tx, x.issuer, client)
}

// RotateSecret gives a client a new secret, which is returned this once. The
// ones before it go on working for the overlap, and no longer.
func (x *Registry) RotateSecret(ctx context.Context, id string, overlap time.Duration) (secret string, err error) {
	if overlap < 0 {
		return "", fmt.Errorf("an overlap of %s: want zero or more", overlap)
	}
	if x.declared[id] != nil {
		return "", ErrDeclared
	}
	secret = NewSecret()
	err = x.store.Update(ctx, func(tx storage.Tx) error {
		client, err := Get(tx, x.issuer, id)
		if err != nil {
			return err
		}
		if client.Type == Public {
			return ErrPublic
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
		client.Secrets = append(kept, Secret{Hash: HashSecret(secret), Created: now})
		return Put(tx, x.issuer, client)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}
