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

// Reload reads the keys anew, because another node has changed them; see
// NotifyWithdrawn.
func (r *Ring) Reload(ctx context.Context) error {
	r.change.Lock()
	defer r.change.Unlock()
	records, err := r.stored(ctx)
	if err != nil {
		return fmt.Errorf("load the signing keys of %s: %w", r.issuer, err)
	}
	if len(records) == 0 {
		return nil // the ring makes its first key itself
	}
	return r.load(ctx, records)
}

// Rotate makes a new key. It signs after the policy's PublishAhead, or within a
// second if immediately is set: then verifiers that cached the JWKS refuse its tokens
// until they fetch it again. A key that is published but not yet in use is not
// made again: it is the next one already, and immediately brings it forward.
func (r *Ring) Rotate(ctx context.Context, immediately bool) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.update(ctx, func(now time.Time, keys []record, spare record) ([]record, error) {
		last := len(keys) - 1
		waiting := last >= 0 && keys[last].ActiveFrom.After(now)
		switch {
		case immediately:
			return atOnce(now, keys, spare), nil
		case waiting:
			return keys, nil
		}
		spare.ActiveFrom = roundUp(now.Add(r.policy.PublishAhead))
		return append(keys, spare), nil
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
	if after, _ := r.due(time.Now(), records, record{}); slices.EqualFunc(records, after, same) {
		return r.load(ctx, records)
	}
	return r.update(ctx, r.due)
}

// due returns the keys as the policy wants them at now. spare is a new key, in
// case that one is wanted. There is no error.
func (r *Ring) due(now time.Time, keys []record, spare record) ([]record, error) {
	keys = slices.Clone(keys)
	if len(keys) == 0 {
		spare.ActiveFrom = now.UTC().Truncate(time.Second)
		return []record{spare}, nil
	}
	last := &keys[len(keys)-1]
	if last.Algorithm != r.policy.Algorithm || !now.Before(last.ActiveFrom.Add(r.policy.RotateEvery-r.policy.PublishAhead)) {
		spare.ActiveFrom = roundUp(now.Add(r.policy.PublishAhead))
		keys = append(keys, spare)
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
// nodes that rotate at once make one key, and loads the result. The spare key is
// made and encrypted before, because a transaction waits for nothing and may run
// more than once.
func (r *Ring) update(ctx context.Context, change func(now time.Time, keys []record, spare record) ([]record, error)) error {
	spare, err := r.spare(ctx)
	if err != nil {
		return err
	}
	var after []record
	err = r.storage.Update(ctx, func(tx storage.Tx) error {
		before, err := list(tx, r.issuer)
		if err != nil {
			return err
		}
		if err := r.mayChange(before); err != nil {
			return err
		}
		sortByActivation(before)
		if after, err = change(time.Now(), slices.Clone(before), spare); err != nil {
			return err
		}
		sortByActivation(after)
		return replace(tx, r.issuer, before, after)
	})
	if err != nil {
		return fmt.Errorf("change the signing keys of %s: %w", r.issuer, err)
	}
	return r.load(ctx, after)
}

// spare makes a key that may come into use.
func (r *Ring) spare(ctx context.Context) (record, error) {
	spare, err := newRecord(r.policy.Algorithm, time.Now(), r.policy.MaxLifetime)
	if err != nil {
		return record{}, err
	}
	return spare, spare.encrypt(ctx, r.encryption, r.issuer)
}

// mayChange refuses to write beside keys that cannot be read here, or are stored
// in another way than those that are made here: the other nodes could not read
// those.
func (r *Ring) mayChange(stored []record) error {
	current := r.current.Load()
	for _, rec := range stored {
		switch {
		case rec.isEncrypted() && r.encryption == nil:
			return fmt.Errorf("signing key %s: %w", rec.ID, ErrKeyEncryptionKey)
		case !rec.isEncrypted() && r.encryption != nil:
			return fmt.Errorf("signing key %s: %w", rec.ID, ErrPlaintext)
		}
		if current == nil {
			continue
		}
		if known := current.byID[rec.ID]; known != nil && known.kept {
			return fmt.Errorf("signing key %s: %w", rec.ID, ErrKeyEncryptionKey)
		}
	}
	return nil
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

// signing is the index of the key that signs: the newest whose time has come.
// Where the clock was set back behind all of them it is the oldest, which
// verifiers know best. There is one key at least, and they are sorted.
func signing[K interface{ signsFrom() time.Time }](keys []K, now time.Time) int {
	for i, k := range slices.Backward(keys) {
		if !k.signsFrom().After(now) {
			return i
		}
	}
	return 0
}
