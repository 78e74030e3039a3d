package caddymodule

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// configurations are those that use a vault at the moment: one, or two while a
// reload is under way. Whether the later one comes into force is only known when one
// of them is cleaned up: Caddy cleans up the later one if any of its apps fails to
// start, else the earlier one. Until then the later one changes nothing that would
// outlive it.
type configurations struct {
	mu  sync.Mutex
	all []*App // the latest is the last
}

// begin adds a configuration. The keys in the storage are encrypted as it says if it
// is the only one; if not, once it is. It is refused if that cannot be done. Nobody
// waits for the storage meanwhile who only asks which is the latest.
func (c *configurations) begin(ctx context.Context, a *App, state *issuer.State) error {
	c.mu.Lock()
	begun, alone := slices.Contains(c.all, a), len(c.all) == 0
	c.mu.Unlock()
	if begun { // its issuers could not be made the last time
		return nil
	}
	var err error
	if alone {
		err = a.encryptStored(ctx, state)
	} else {
		err = state.CheckEncryption(ctx, a.encryption)
	}
	if err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, a)
	return nil
}

// end takes a configuration away, which may never have begun. The one that is left,
// if it is the later one, is in force now.
func (c *configurations) end(a *App) {
	if left := c.remove(a); left != nil {
		left.comeIntoForce()
	}
}

// remove returns the configuration that comes into force, if one does.
func (c *configurations) remove(a *App) (left *App) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.all, a)
	if at < 0 {
		return nil
	}
	if c.all = slices.Delete(c.all, at, at+1); at == 0 && len(c.all) > 0 {
		left = c.all[0]
	}
	return left
}

// latest is the configuration that came last, or nil.
func (c *configurations) latest() *App {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil
	}
	return c.all[len(c.all)-1]
}

// comeIntoForce does what had to wait until the configuration before was gone. The
// reload has succeeded by then, so a storage that fails now is for the log; the next
// start or reload tries again.
func (a *App) comeIntoForce() {
	ctx := context.Background()
	state, err := a.vault.open(a.storage, a.logger)
	if err == nil {
		err = a.encryptStored(ctx, state)
	}
	if err != nil {
		a.logger.Error("the keys in the storage are not encrypted with the first key_encryption_key yet; reload again when the storage is well", "error", err)
	}
}
