package issuer

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
)

// configurations are those that a realm has at the moment: one, or two while a
// reload is under way. The latest one decides about what outlives them all.
type configurations struct {
	mu  sync.Mutex
	all []*configuration // the latest is the last
}

// configuration is what the configuration of an issuer decides about its realm.
type configuration struct {
	policy   keys.Policy
	watchers *watchers
	clients  *clientsInForce
	logins   signin.Logins
}

// begin puts a configuration in force, whose key policy is so already.
func (r *realm) begin(ctx context.Context, c *configuration) {
	r.configurations.mu.Lock()
	defer r.configurations.mu.Unlock()
	r.configurations.all = append(r.configurations.all, c)
	r.obey(ctx, c)
}

// end takes a configuration away. If it was the latest, it has come to nothing, and
// the one before it decides again.
func (r *realm) end(ctx context.Context, c *configuration) error {
	r.configurations.mu.Lock()
	defer r.configurations.mu.Unlock()
	at := slices.Index(r.configurations.all, c)
	if at < 0 {
		return nil
	}
	r.configurations.all = slices.Delete(r.configurations.all, at, at+1)
	if at == 0 || at < len(r.configurations.all) {
		return nil
	}
	before := r.configurations.all[at-1]
	r.obey(ctx, before)
	if err := r.keys.Open(ctx, before.policy); err != nil {
		return fmt.Errorf("issuer %s: the key policy of the configuration that stays: %w", r.url, err)
	}
	return nil
}

func (r *realm) obey(ctx context.Context, c *configuration) {
	r.tell(ctx, c.watchers)
	r.useClients(c.clients)
	r.people.UseLogins(c.logins)
}

// Close ends what the issuer's configuration decides about what outlives it: who is
// told of events, which clients there are, how people sign in, how long keys live.
// If it was the latest of its URL on the State, because the configuration that it
// belongs to has failed, the one before it decides again. The error is that of the
// storage, which the policy of the keys may need. A closed Issuer still answers, and
// may be closed again.
func (i *Issuer) Close(ctx context.Context) error { return i.realm.end(ctx, i.inForce) }
