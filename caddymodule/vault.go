package caddymodule

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
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
	opened atomic.Pointer[openedVault] // nil until it is, and when it is closed
	stop   context.CancelFunc
	done   chan struct{}

	configurations configurations // that use it
}

var errVaultClosed = errors.New("the OAuth storage was closed with the configuration that used it")

// open returns the state, opening the storage if nobody did before. A storage
// that could not be opened is tried again by the next caller.
func (v *vault) open(s Storage, logger *slog.Logger) (*issuer.State, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, errVaultClosed
	}
	if opened := v.opened.Load(); opened != nil {
		return opened.state, nil
	}
	store, err := s.Open()
	if err != nil {
		return nil, err
	}
	opened := &openedVault{store: store, state: issuer.NewState(observed(store))}
	opened.healthy.Store(true)
	v.opened.Store(opened)
	upkeep, stop := context.WithCancel(context.Background())
	v.stop, v.done = stop, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var group sync.WaitGroup
		group.Go(func() { opened.state.Upkeep(upkeep, logger) })
		group.Go(func() { opened.state.Follow(upkeep, logger) })
		group.Go(func() { opened.watchHealth(upkeep, &v.configurations) })
		group.Wait()
	}(v.done)
	return opened.state, nil
}

// Destruct closes the storage. The pool calls it when the last reference goes.
func (v *vault) Destruct() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	opened := v.opened.Swap(nil)
	if opened == nil {
		return nil
	}
	v.stop()
	<-v.done
	opened.state.Close()
	return opened.store.Close()
}

var _ caddy.Destructor = (*vault)(nil)
