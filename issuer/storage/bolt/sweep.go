package bolt

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

// sweepBatch bounds how long a batch keeps the writer: other writes pass
// between two of them.
const sweepBatch = 500

// indexed is one entry of the expiry index.
type indexed struct {
	entry     []byte
	kind, key string
	expiry    int64
}

// Sweep implements [storage.Storage]. A damaged record is left where it is:
// whether it has expired cannot be told. [Storage.Check] finds it.
func (s *Storage) Sweep(ctx context.Context, now time.Time) (int, error) {
	total := 0
	var after []byte
	for {
		batch, err := s.due(ctx, now, after)
		if err != nil || len(batch) == 0 {
			return total, err
		}
		deleted := 0
		err = s.update(ctx, func(t *tx) (err error) {
			deleted, err = t.sweep(batch)
			return err
		})
		if err != nil {
			return total, err
		}
		total += deleted
		after = batch[len(batch)-1].entry
	}
}

// due reads the next entries of the index whose time has come.
func (s *Storage) due(ctx context.Context, now time.Time, after []byte) (batch []indexed, err error) {
	err = s.view(ctx, func(t *tx) error {
		c := newCursor(t, expiryBucket)
		entry, err := c.seek(after)
		if err == nil && after != nil && bytes.Equal(entry, after) {
			entry, err = c.next()
		}
		for ; err == nil && entry != nil && len(batch) < sweepBatch; entry, err = c.next() {
			expiry, kind, key, ok := parseIndexKey(entry)
			if !ok || !envelope.Expired(expiry, now) {
				if ok {
					break
				}
				expiry = math.MaxInt64 // not an entry that this program wrote: no record has it
			}
			batch = append(batch, indexed{bytes.Clone(entry), kind, key, expiry})
		}
		return err
	})
	return batch, err
}

// sweep deletes the records of a batch, judged anew: since the index was read
// a record may have been replaced. One that still has the expiry of its entry is due.
func (t *tx) sweep(batch []indexed) (deleted int, err error) {
	for _, i := range batch {
		switch _, expiry, err := t.load(i.kind, i.key); {
		case errors.Is(err, storage.ErrDamaged):
			continue
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return 0, err
		case err != nil || expiry != i.expiry:
			t.stale = append(t.stale, i.entry) // the entry of a record that is gone
		default:
			if err := t.Delete(i.kind, i.key); err != nil {
				return 0, err
			}
			deleted++
		}
	}
	return deleted, nil
}
