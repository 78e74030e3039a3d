package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/pending"
)

// errEnded: a Tx was kept beyond its function. A mistake of the program.
var errEnded = errors.New("storage/postgres: the transaction has ended")

// maxKeySize keeps kind and key within an entry of the primary key's B-tree,
// a third of a page.
const maxKeySize = 2560

// tx is a [storage.Tx]. Its writes are sent by flush, when the function has
// returned without an error.
type tx struct {
	storage  *Storage
	ctx      context.Context
	pgx      pgx.Tx
	writable bool
	ended    bool
	writes   pending.Writes
	failed   *failure // the first failure of a statement; nothing works after it
}

// Get implements [storage.Tx].
func (t *tx) Get(kind, key string) ([]byte, error) {
	sealed, err := t.sealed(kind, key)
	if err != nil {
		return nil, err
	}
	value, expiry, err := envelope.Open(kind, key, sealed)
	if err != nil {
		return nil, err
	}
	if envelope.Expired(expiry, time.Now()) {
		return nil, storage.ErrNotFound
	}
	return append([]byte{}, value...), nil
}

func (t *tx) sealed(kind, key string) (sealed []byte, err error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	if w, ok := t.writes.Get(kind, key); ok {
		if w.Sealed == nil {
			return nil, storage.ErrNotFound
		}
		return w.Sealed, nil
	}
	if !pending.ValidKind(kind) { // the server would refuse it, or misunderstand
		return nil, storage.ErrNotFound
	}
	bounded, cancel := t.bounded()
	defer cancel()
	err = t.pgx.QueryRow(bounded, t.storage.sql.get, kind, []byte(key)).Scan(&sealed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, storage.ErrNotFound
	case err != nil:
		return nil, t.fail(err)
	}
	return sealed, nil
}

// Put implements [storage.Tx].
func (t *tx) Put(kind, key string, value []byte, expiry time.Time) error {
	if err := pending.CheckName(kind, key, maxKeySize-len(kind)); err != nil {
		return err
	}
	if err := t.mayWrite(); err != nil {
		return err
	}
	t.writes.Put(kind, key, value, expiry)
	return nil
}

// Delete implements [storage.Tx].
func (t *tx) Delete(kind, key string) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	if pending.ValidKind(kind) {
		t.writes.Delete(kind, key)
	}
	return nil
}

func (t *tx) usable() error {
	switch {
	case t.ended:
		return errEnded
	case t.failed != nil:
		return t.failed
	}
	return nil
}

func (t *tx) mayWrite() error {
	if err := t.usable(); err != nil {
		return err
	}
	if !t.writable {
		return storage.ErrReadOnly
	}
	return nil
}

// fail notes that a statement failed.
func (t *tx) fail(err error) *failure {
	f := t.storage.place.failure(err)
	if t.failed == nil {
		t.failed = f
	}
	return f
}

// flush sends the writes and announces them, all in one go.
func (t *tx) flush() error {
	if t.writes.Empty() {
		return nil
	}
	sql := &t.storage.sql
	batch := new(pgx.Batch)
	_ = t.writes.Each(func(kind, key string, w pending.Write) error {
		if w.Sealed == nil {
			batch.Queue(sql.remove, kind, []byte(key))
		} else {
			batch.Queue(sql.put, kind, []byte(key), w.Expiry, w.Sealed)
		}
		return nil
	})
	batch.Queue(sql.announce, t.writes.Kinds(), t.storage.follow.identity(), t.storage.channel())
	bounded, cancel := t.bounded()
	defer cancel()
	if err := t.pgx.SendBatch(bounded, batch).Close(); err != nil {
		return t.retry(t.fail(err))
	}
	return nil
}
