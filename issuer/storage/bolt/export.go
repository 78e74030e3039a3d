package bolt

import (
	"bytes"
	"context"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

var _ storage.Exporter = (*Storage)(nil)

// Export implements [storage.Exporter]. Pages are not reused meanwhile.
func (s *Storage) Export(ctx context.Context, fn func(storage.Record) error) error {
	return s.view(ctx, func(t *tx) error {
		kinds, err := t.kinds()
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			if err := t.export(ctx, kind, fn); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) export(ctx context.Context, kind string, fn func(storage.Record) error) error {
	cursor := newCursor(t, kindBucket(kind))
	key, err := cursor.seek(nil)
	for ; err == nil && key != nil; key, err = cursor.next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, expiry, err := envelope.Open(kind, string(key), cursor.value)
		if err != nil {
			return err
		}
		if envelope.Expired(expiry, time.Now()) {
			continue
		}
		record := storage.Record{Kind: kind, Key: string(key), Value: bytes.Clone(value), Expiry: envelope.Time(expiry)}
		if err := fn(record); err != nil {
			return err
		}
	}
	return err
}
