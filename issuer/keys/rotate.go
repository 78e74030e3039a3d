package keys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// clockSkew is how far a verifier's clock may lag behind ours: a retired key
// stays published for that much longer.
const clockSkew = time.Minute

// Policy says how the keys of an issuer live.
type Policy struct {
	// Algorithm of keys made from now on. When it changes, a key of the new
	// algorithm is published and takes over as in a rotation.
	Algorithm Algorithm

	// RotateEvery is the age at which a key hands over to the next one.
	RotateEvery time.Duration

	// PublishAhead is how long a key stands in the JWKS before it signs: at
	// least the time for which verifiers are told to cache the JWKS.
	PublishAhead time.Duration

	// MaxLifetime is that of the longest-lived token the issuer signs.
	MaxLifetime time.Duration
}

// Open loads the keys and puts the policy in force; where there is none yet it
// makes the first key, which signs at once because no verifier can know an
// older set. It may be called again with another policy, at any time.
func (r *Ring) Open(ctx context.Context, policy Policy) error {
	r.change.Lock()
	defer r.change.Unlock()
	previous := r.policy
	r.policy = policy
	if err := r.maintain(ctx); err != nil {
		r.policy = previous
		return err
	}
	return nil
}

// Maintain does what time asks for: it makes the next key when the current one
// comes of age and removes keys that have outlived their tokens. Call it now
// and then (a minute apart is plenty); it writes only when something is due.
func (r *Ring) Maintain(ctx context.Context) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.maintain(ctx)
}

// Reload reads the keys anew, because another node has changed them. withdrawn
// tells that a key is gone which this node has believed until now: what was
// verified with it must be forgotten.
func (r *Ring) Reload(ctx context.Context) (withdrawn bool, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	before := r.current.Load()
	records, err := r.stored(ctx)
	if err != nil {
		return false, fmt.Errorf("load the signing keys of %s: %w", r.issuer, err)
	}
	if len(records) == 0 {
		return false, nil // the ring makes its first key itself
	}
	sortByActivation(records)
	if err := r.load(records); err != nil {
		return false, err
	}
	after := r.current.Load()
	for id := range before.byID {
		if after.byID[id] == nil {
			withdrawn = true
		}
	}
	return withdrawn, nil
}

// Rotate makes a new key. It signs after the policy's PublishAhead, or within a
// second if immediately is set: then verifiers that cached the JWKS refuse its tokens
// until they fetch it again. A key that is published but not yet in use is not
// made again: it is the next one already, and immediately brings it forward.
func (r *Ring) Rotate(ctx context.Context, immediately bool) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.update(ctx, func(now time.Time, keys []record) ([]record, error) {
		last := len(keys) - 1
		waiting := last >= 0 && keys[last].ActiveFrom.After(now)
		if waiting && !immediately {
			return keys, nil
		}
		activeFrom := now.Add(r.policy.PublishAhead)
		if immediately {
			activeFrom = nextSecond(now, keys)
		}
		if waiting {
			keys[last].ActiveFrom = activeFrom
			return keys, nil
		}
		next, err := newRecord(r.policy.Algorithm, activeFrom, r.policy.MaxLifetime)
		return append(keys, next), err
	})
}

// nextSecond is now, to the second, or the second after it if a key took over
// in this one: between two keys of one second their ids would decide.
func nextSecond(now time.Time, keys []record) time.Time {
	second := now.UTC().Truncate(time.Second)
	if slices.ContainsFunc(keys, func(k record) bool { return k.ActiveFrom.Equal(second) }) {
		return second.Add(time.Second)
	}
	return second
}

// maintain holds the change lock.
func (r *Ring) maintain(ctx context.Context) error {
	records, err := r.stored(ctx)
	if err != nil {
		return fmt.Errorf("load the signing keys of %s: %w", r.issuer, err)
	}
	sortByActivation(records)
	if after, err := r.due(time.Now(), records); err != nil {
		return err
	} else if slices.EqualFunc(records, after, same) {
		return r.load(records)
	}
	return r.update(ctx, r.due)
}

// due returns the keys as the policy wants them at now.
func (r *Ring) due(now time.Time, keys []record) ([]record, error) {
	keys = slices.Clone(keys)
	if len(keys) == 0 {
		first, err := newRecord(r.policy.Algorithm, now, r.policy.MaxLifetime)
		return []record{first}, err
	}
	last := &keys[len(keys)-1]
	if last.Algorithm != r.policy.Algorithm || !now.Before(last.ActiveFrom.Add(r.policy.RotateEvery-r.policy.PublishAhead)) {
		next, err := newRecord(r.policy.Algorithm, now.Add(r.policy.PublishAhead), r.policy.MaxLifetime)
		if err != nil {
			return nil, err
		}
		keys = append(keys, next)
	}
	for i := range keys {
		superseded := i+1 < len(keys) && !keys[i+1].ActiveFrom.After(now)
		if !superseded { // it signs, or will
			keys[i].MaxLifetime = max(keys[i].MaxLifetime, r.policy.MaxLifetime)
		}
	}
	live := keys[:0]
	for i, k := range keys {
		if i+1 < len(keys) && now.After(keys[i+1].ActiveFrom.Add(k.MaxLifetime+clockSkew)) {
			continue
		}
		live = append(live, k)
	}
	return live, nil
}

// update applies change to the stored keys in one transaction, so that two
// nodes that rotate at once make one key, and loads the result.
func (r *Ring) update(ctx context.Context, change func(time.Time, []record) ([]record, error)) error {
	var after []record
	err := r.storage.Update(ctx, func(tx storage.Tx) error {
		before, err := list(tx, r.issuer)
		if err != nil {
			return err
		}
		sortByActivation(before)
		if after, err = change(time.Now(), slices.Clone(before)); err != nil {
			return err
		}
		sortByActivation(after)
		return replace(tx, r.issuer, before, after)
	})
	if err != nil {
		return fmt.Errorf("change the signing keys of %s: %w", r.issuer, err)
	}
	return r.load(after)
}

func replace(tx storage.Tx, issuer string, before, after []record) error {
	for _, b := range before {
		if !slices.ContainsFunc(after, func(a record) bool { return a.ID == b.ID }) {
			if err := tx.Delete(Kind, recordKey(issuer, b.ID)); err != nil {
				return err
			}
		}
	}
	for _, a := range after {
		if !slices.ContainsFunc(before, func(b record) bool { return same(a, b) }) {
			if err := put(tx, issuer, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// same tells whether nothing changed: the private key follows from the id.
func same(a, b record) bool {
	return a.ID == b.ID && a.ActiveFrom.Equal(b.ActiveFrom) && a.MaxLifetime == b.MaxLifetime
}

func sortByActivation(keys []record) {
	slices.SortFunc(keys, func(a, b record) int {
		// The id decides between keys of the same second, so that every node
		// signs with the same one.
		if c := a.ActiveFrom.Compare(b.ActiveFrom); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
}
