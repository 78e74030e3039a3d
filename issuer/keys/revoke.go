package keys

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Revoke takes a key back at once, because somebody else may have it: it is in
// the JWKS no more, and nothing that it signed is believed. If it is the key that
// signs, another one signs at once: the next, if one is published already, or else
// one made in the same transaction. So there is never an issuer without a key.
//
// It returns an error that is storage.ErrNotFound if the issuer has no such key.
func (r *Ring) Revoke(ctx context.Context, kid string) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.update(ctx, func(now time.Time, keys []record, spare record) ([]record, error) {
		i := slices.IndexFunc(keys, func(k record) bool { return k.ID == kid })
		if i < 0 {
			return nil, fmt.Errorf("%w: signing key %q", storage.ErrNotFound, kid)
		}
		signs := i == signing(keys, now)
		keys = slices.Delete(keys, i, i+1)
		if !signs {
			return keys, nil
		}
		return atOnce(now, keys, spare), nil
	})
}

// atOnce makes the newest key that waits for its time sign now, or the spare one
// where none waits.
func atOnce(now time.Time, keys []record, spare record) []record {
	activeFrom := nextSecond(now, keys)
	last := len(keys) - 1
	if last < 0 || !keys[last].ActiveFrom.After(now) {
		spare.ActiveFrom = activeFrom
		return append(keys, spare)
	}
	for i := range keys[:last] {
		// One that waits as well, and is older, must not take over from it.
		if keys[i].ActiveFrom.After(now) {
			keys[i].ActiveFrom = activeFrom.Add(-time.Second)
		}
	}
	keys[last].ActiveFrom = activeFrom
	return keys
}
