package caddymodule

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// vaults holds what is opened once per process, by the storage's key: during a
// reload two configurations run, and a bbolt file can be locked only once. The
// key is the place alone, without options, or changing an option would make the
// new configuration wait for a lock that the old one holds.
var vaults = caddy.NewUsagePool()

// vault is a storage and the state of the issuers in it. It is put into the pool
// unopened, when a configuration is provisioned, so that "caddy validate" can
// run beside a server; it is opened by whoever needs it first and closed when
// the last configuration that holds it is gone.
type vault struct {
	mu     sync.Mutex
	closed bool
	store  storage.Storage
	state  *issuer.State
	stop   context.CancelFunc
	done   chan struct{}
}

var errVaultClosed = errors.New("the OAuth storage was closed with the configuration that used it")

// open returns the state, opening the storage if nobody did before. A storage
// that could not be opened is tried again by the next caller.
func (v *vault) open(s Storage, logger *slog.Logger) (*issuer.State, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return nil, errVaultClosed
	case v.state != nil:
		return v.state, nil
	}
	store, err := s.Open()
	if err != nil {
		return nil, err
	}
	v.store, v.state = store, issuer.NewState(store)
	upkeep, stop := context.WithCancel(context.Background())
	v.stop, v.done = stop, make(chan struct{})
	go func(state *issuer.State, done chan struct{}) {
		defer close(done)
		var group sync.WaitGroup
		group.Go(func() { state.Upkeep(upkeep, logger) })
		group.Go(func() { state.Follow(upkeep, logger) })
		group.Wait()
	}(v.state, v.done)
	return v.state, nil
}

// Destruct closes the storage. The pool calls it when the last reference goes.
func (v *vault) Destruct() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if v.state == nil {
		return nil
	}
	v.stop()
	<-v.done
	v.state.Close()
	v.state = nil
	return v.store.Close()
}

var _ caddy.Destructor = (*vault)(nil)
