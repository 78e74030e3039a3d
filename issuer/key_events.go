package issuer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// toldKeys are the signing keys of a realm as the trail has told them last.
type toldKeys struct {
	since time.Time // keys made before it were told by an earlier process

	mu     sync.Mutex
	keys   []keys.Info
	active string // the one that signs
}

// tellKeys tells what has become of the keys since it was called last: which were
// made or removed, by this node or another one, and which signs now. The time of a
// key comes without anybody doing anything, so it is told within a minute.
func (r *realm) tellKeys(ctx context.Context) {
	to := r.watchers.Load()
	if to == nil {
		return
	}
	r.told.mu.Lock()
	defer r.told.mu.Unlock()
	before, now := r.told.keys, r.keys.List()
	for _, key := range now {
		if isNew := before != nil || !key.Created.Before(r.told.since.Truncate(time.Second)); isNew && !hasKey(before, key.ID) {
			to.trail.RecordOperation(ctx, audit.KeyMade, append(keyAttrs(key), slog.Time("signs_from", key.ActiveFrom))...)
		}
		if key.Status == "active" && key.ID != r.told.active {
			if r.told.active != "" {
				to.trail.RecordOperation(ctx, audit.KeyActivated, keyAttrs(key)...)
				to.observer.KeyActivated(key.ID)
			}
			r.told.active = key.ID
		}
	}
	for _, key := range before {
		if !hasKey(now, key.ID) {
			to.trail.RecordOperation(ctx, audit.KeyRemoved, keyAttrs(key)...)
		}
	}
	r.told.keys = now
}

func keyAttrs(key keys.Info) []slog.Attr {
	return []slog.Attr{slog.String("kid", key.ID), slog.String("alg", string(key.Algorithm))}
}

func hasKey(all []keys.Info, id string) bool {
	return slices.ContainsFunc(all, func(key keys.Info) bool { return key.ID == id })
}
