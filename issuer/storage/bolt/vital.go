package bolt

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// findVital looks whether every unexpired record of the vital kinds is there. A
// checksum tells that a record is damaged, but damage to its key, to the name of
// its bucket or to a page above it hides the record: it is then as if it had never
// been written. The expiry index still knows of it.
func (s *Storage) findVital() error {
	if len(s.options.Vital) == 0 {
		return nil
	}
	now, last := time.Now(), int64(math.MaxInt64)
	if s.options.VitalFor > 0 {
		last = now.Add(s.options.VitalFor).Unix() + 1
	}
	return s.view(context.Background(), func(t *tx) error {
		cursor := newCursor(t, expiryBucket)
		entry, err := cursor.seek(indexKey(now.Unix(), "", ""))
		for ; err == nil && entry != nil; entry, err = cursor.next() {
			expiry, kind, key, ok := parseIndexKey(entry)
			if ok && expiry > last {
				return nil
			}
			if !ok || !slices.Contains(s.options.Vital, kind) {
				continue
			}
			if _, _, err := t.load(kind, key); errors.Is(err, storage.ErrNotFound) {
				return damaged(s.path, "has lost records of kind "+kind+": restore a backup")
			}
		}
		return err
	})
}
