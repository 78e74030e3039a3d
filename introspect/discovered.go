package introspect

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// discovered is the metadata of an issuer, fetched when it is first needed. The
// rules are those of a RemoteKeySet: one fetch at a time, 30 seconds from the
// start of one to that of the next however they end, a new one after an hour,
// and until it succeeds the last good metadata for 24 hours.
type discovered struct {
	client *http.Client
	issuer string

	mu       sync.Mutex
	metadata *Metadata
	fetched  time.Time     // when metadata was fetched
	tried    time.Time     // when the last fetch started
	failure  error         // of the last fetch
	running  chan struct{} // closed when the running fetch ends; nil when none runs
}

func newDiscovered(client *http.Client, issuer string) *discovered {
	return &discovered{client: client, issuer: issuer}
}

// get returns the metadata. When there is none yet it waits for the fetch, until
// ctx ends.
func (d *discovered) get(ctx context.Context) (*Metadata, error) {
	metadata, running := d.lookUp(ctx)
	if metadata != nil {
		return metadata, nil
	}
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() {
		return d.metadata, nil
	}
	if d.failure != nil {
		return nil, d.failure
	}
	return nil, errors.New("metadata of the issuer: it is too old")
}

// lookUp returns the metadata if it is known, and starts a fetch when one is due.
func (d *discovered) lookUp(ctx context.Context) (*Metadata, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	due := d.metadata == nil || time.Since(d.fetched) >= keysRefreshAge
	rested := d.tried.IsZero() || time.Since(d.tried) >= keysCoolDown
	if due && rested && d.running == nil && ctx.Err() == nil {
		d.tried = time.Now()
		d.running = make(chan struct{})
		// The fetch outlives the question that caused it: the next ones need
		// what it brings. It has a time limit of its own.
		go d.fetch(context.WithoutCancel(ctx))
	}
	if !d.usable() {
		return nil, d.running
	}
	return d.metadata, nil
}

// usable tells whether the metadata may be relied on. Callers hold mu.
func (d *discovered) usable() bool {
	return d.metadata != nil && time.Since(d.fetched) < keysMaxAge
}

func (d *discovered) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	metadata, err := fetchMetadata(ctx, d.client, d.issuer)

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure = err; err == nil {
		d.metadata, d.fetched = metadata, time.Now()
	}
	close(d.running)
	d.running = nil
}
