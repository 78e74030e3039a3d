package caddymodule

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// observed returns a storage that measures how long its writes take. One that
// follows other nodes goes on doing so.
func observed(store storage.Storage) storage.Storage {
	o := observedStorage{
		Storage: store, updates: metricUpdates.WithLabelValues(), sweeps: metricSweeps.WithLabelValues(), swept: metricSwept.WithLabelValues(),
		busy: metricStorageFailures.WithLabelValues("busy"), unavailable: metricStorageFailures.WithLabelValues("unavailable"),
	}
	if follower, ok := store.(storage.Follower); ok {
		return observedFollower{o, follower}
	}
	return o
}

type observedStorage struct {
	storage.Storage
	updates, sweeps          prometheus.Observer
	swept, busy, unavailable prometheus.Counter
}

// Update implements storage.Storage.
func (o observedStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	begun := time.Now()
	err := o.Storage.Update(ctx, fn)
	switch {
	case errors.Is(err, storage.ErrBusy):
		o.busy.Inc()
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrDamaged):
		o.unavailable.Inc()
	default:
		o.updates.Observe(time.Since(begun).Seconds())
	}
	return err
}

// Sweep implements storage.Storage.
func (o observedStorage) Sweep(ctx context.Context, now time.Time) (int, error) {
	begun := time.Now()
	deleted, err := o.Storage.Sweep(ctx, now)
	o.swept.Add(float64(deleted))
	if err == nil {
		o.sweeps.Observe(time.Since(begun).Seconds())
	}
	return deleted, err
}

// Health is that of the storage, where it tells.
func (o observedStorage) Health() error {
	if store, ok := o.Storage.(interface{ Health() error }); ok {
		return store.Health()
	}
	return nil
}

// observedFollower is an observedStorage that follows other nodes.
type observedFollower struct {
	observedStorage
	follower storage.Follower
}

// Follow implements storage.Follower.
func (o observedFollower) Follow(ctx context.Context, watch storage.Watch) error {
	return o.follower.Follow(ctx, watch)
}

// LastInTouch implements storage.Follower.
func (o observedFollower) LastInTouch() time.Time { return o.follower.LastInTouch() }

var _ storage.Follower = observedFollower{}
