package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

// errCutOff: the connection was lost after records had been shown.
var errCutOff = fmt.Errorf("%w: the connection was lost in the middle of an export", storage.ErrUnavailable)

// exported is a record of any kind as the table holds it.
type exported struct {
	Kind   string
	Key    []byte
	Sealed []byte
}

// Export implements [storage.Exporter]. The server ends it when fn takes longer
// than IdleTimeout for a part of the records.
func (s *Storage) Export(ctx context.Context, fn func(storage.Record) error) error {
	var refused error
	shown := false
	err := s.run(ctx, attempt{begin: s.sql.beginView, fn: func(t *tx) error {
		if shown {
			return errCutOff // a second run would show records twice
		}
		kind, key := "", []byte{}
		for {
			if refused = ctx.Err(); refused != nil {
				return refused
			}
			part, err := t.exportPart(kind, key)
			if err != nil || len(part) == 0 {
				return err
			}
			shown = true
			if refused = show(part, fn); refused != nil {
				return refused
			}
			last := part[len(part)-1]
			kind, key = last.Kind, last.Key
		}
	}})
	if refused != nil {
		return refused
	}
	return err
}

func (t *tx) exportPart(kind string, key []byte) ([]exported, error) {
	bounded, cancel := t.bounded()
	defer cancel()
	rows, err := t.pgx.Query(bounded, t.storage.sql.export, kind, key, laterPart)
	if err != nil {
		return nil, t.fail(err)
	}
	part, err := pgx.CollectRows(rows, pgx.RowToStructByPos[exported])
	if err != nil {
		return nil, t.fail(err)
	}
	return part, nil
}

func show(part []exported, fn func(storage.Record) error) error {
	for _, e := range part {
		value, expiry, err := envelope.Open(e.Kind, string(e.Key), e.Sealed)
		if err != nil {
			return err
		}
		if envelope.Expired(expiry, time.Now()) {
			continue
		}
		record := storage.Record{Kind: e.Kind, Key: string(e.Key), Value: append([]byte{}, value...), Expiry: envelope.Time(expiry)}
		if err := fn(record); err != nil {
			return err
		}
	}
	return nil
}
