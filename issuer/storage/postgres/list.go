package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/pending"
)

// A list is read in parts: the connection is free for other reads while the
// function of the List runs, and one that ends early has not read all.
const (
	firstPart = 64
	laterPart = 512
)

// stored is a record as the table holds it.
type stored struct {
	Key    []byte
	Sealed []byte
}

// List implements [storage.Tx].
func (t *tx) List(kind, prefix string, fn func(key string, value []byte) error) error {
	return t.ListAfter(kind, prefix, "", fn)
}

// ListAfter implements [storage.Tx].
func (t *tx) ListAfter(kind, prefix, after string, fn func(key string, value []byte) error) error {
	if err := t.usable(); err != nil {
		return err
	}
	if !pending.ValidKind(kind) { // the server would refuse it, or misunderstand
		return nil
	}
	return t.writes.List(kind, prefix, after, func(from []byte, show func(string, []byte) error) error {
		end, limit := behind(prefix), firstPart
		for {
			part, err := t.part(kind, from, end, limit)
			if err != nil {
				return err
			}
			for _, record := range part {
				if err := show(string(record.Key), record.Sealed); err != nil {
					return err
				}
			}
			if len(part) < limit {
				return nil
			}
			from = append(part[len(part)-1].Key, 0) // the next key there can be
			limit = laterPart
		}
	}, fn)
}

// part reads records from a key on, up to an end unless that is nil.
func (t *tx) part(kind string, from, end []byte, limit int) ([]stored, error) {
	if err := t.usable(); err != nil { // fn may have swallowed a failure
		return nil, err
	}
	sql, arguments := t.storage.sql.list, []any{kind, from, limit}
	if end != nil {
		sql, arguments = t.storage.sql.listTo, append(arguments, end)
	}
	bounded, cancel := t.bounded()
	defer cancel()
	rows, err := t.pgx.Query(bounded, sql, arguments...)
	if err != nil {
		return nil, t.fail(err)
	}
	part, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stored])
	if err != nil {
		return nil, t.fail(err)
	}
	return part, nil
}

// behind returns the first key after all that begin with prefix, or nil if
// there is none.
func behind(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
