package issuer

import (
	"context"
	"errors"
	"sync"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// errClientGone is the answer to a token whose client the configuration does not
// have any more, or has disabled.
var errClientGone = &introspect.InactiveError{Reason: "the client that the token was given to is gone or disabled"}

// clientsInForce tells whether the client of a token is still there. What is removed
// or disabled at run time is revoked with all that it holds; but a client that the
// configuration declares ends with a line of the configuration, of which no
// revocation tells. So it is the latest configuration that is asked.
type clientsInForce struct {
	registry *clients.Registry

	mu     sync.RWMutex
	stored map[string]bool // ids of clients that the storage has; those that go are revoked
}

func (c *clientsInForce) isStored(id string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stored[id]
}

func (c *clientsInForce) noteStored(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored[id] = true
}

// checkClient returns an error that is introspect.ErrInactive if the client is gone
// or disabled, and one that is introspect.ErrUnavailable if nobody can tell.
func (r *realm) checkClient(ctx context.Context, id string) error {
	inForce := r.clients.Load()
	if inForce.isStored(id) {
		return nil
	}
	client, err := inForce.registry.Client(ctx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && client.Disabled:
		return errClientGone
	case err != nil:
		return errors.Join(introspect.ErrUnavailable, err)
	case !client.Declared:
		inForce.noteStored(id)
	}
	return nil
}

// newClientsInForce returns those of a registry.
func newClientsInForce(registry *clients.Registry) *clientsInForce {
	return &clientsInForce{registry: registry, stored: make(map[string]bool)}
}

// useClients makes the clients of a configuration those in force. Whoever relies on
// a token for longer than one request hears of it; see Issuer.Forgotten.
func (r *realm) useClients(clients *clientsInForce) {
	r.clients.Store(clients)
	r.verified.Forget(func(*introspect.Token) bool { return false })
}
