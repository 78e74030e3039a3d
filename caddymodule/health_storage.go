package caddymodule

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	healthEvery   = 2 * time.Second // between two looks at the storage
	healthTimeout = 2 * time.Second // for an answer of the storage
)

// openedVault is what a vault holds while it is open.
type openedVault struct {
	store   storage.Storage
	state   *issuer.State
	healthy atomic.Bool
}

// check asks the storage whether it answers and accepts writes.
func (v *openedVault) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return v.state.Health(ctx)
}

// watchHealth looks at the storage now and then, until ctx ends.
func (v *openedVault) watchHealth(ctx context.Context, who *configurations) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := v.check(ctx); ctx.Err() == nil {
				v.noteHealth(err, who.latest())
			}
		}
	}
}

// noteHealth tells a change, once, to the configuration that came last.
func (v *openedVault) noteHealth(err error, told *App) {
	if healthy := err == nil; v.healthy.Swap(healthy) == healthy {
		return
	}
	switch {
	case told == nil:
	case err != nil:
		told.logger.Error("the OAuth storage does not answer or accepts no writes", "error", err)
		told.emit(storageUnhealthy, map[string]any{"error": err.Error()})
	default:
		told.logger.Info("the OAuth storage answers again")
		told.emit(storageHealthy, nil)
	}
}
