package bolt

import (
	"bytes"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/pending"
)

// errEnded: a Tx was kept beyond its function. A mistake of the program.
var errEnded = errors.New("storage/bolt: the transaction has ended")

// tx is a [storage.Tx]. Its writes stay in a layer of their own above the bbolt
// transaction, which several functions share; apply moves them there when the
// function has returned without an error. Thus there is nothing to roll back.
type tx struct {
	bolt     *bbolt.Tx
	path     string
	writable bool
	ended    bool
	writes   pending.Writes
	stale    [][]byte // index entries without a record, found by Sweep
}

// Get implements [storage.Tx].
func (t *tx) Get(kind, key string) ([]byte, error) {
	value, expiry, err := t.load(kind, key)
	if err != nil {
		return nil, err
	}
	if envelope.Expired(expiry, time.Now()) {
		return nil, storage.ErrNotFound
	}
	return bytes.Clone(value), nil
}

// load returns a record whether or not it has expired. The value is not a copy.
func (t *tx) load(kind, key string) (value []byte, expiry int64, err error) {
	if t.ended {
		return nil, 0, errEnded
	}
	sealed, err := t.sealed(kind, key)
	if err != nil {
		return nil, 0, err
	}
	if sealed == nil {
		return nil, 0, storage.ErrNotFound
	}
	return envelope.Open(kind, key, sealed)
}

func (t *tx) sealed(kind, key string) (sealed []byte, err error) {
	if w, ok := t.writes.Get(kind, key); ok {
		return w.Sealed, nil
	}
	err = readable(t.path, func() {
		if bucket := t.bolt.Bucket(kindBucket(kind)); bucket != nil {
			sealed = bucket.Get([]byte(key))
			touch(sealed)
		}
	})
	return sealed, err
}

// Put implements [storage.Tx].
func (t *tx) Put(kind, key string, value []byte, expiry time.Time) error {
	if err := pending.CheckName(kind, key, maxKeySize-8-len(kind)-1); err != nil {
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
	t.writes.Delete(kind, key)
	return nil
}

func (t *tx) mayWrite() error {
	switch {
	case t.ended:
		return errEnded
	case !t.writable:
		return storage.ErrReadOnly
	}
	return nil
}

// List implements [storage.Tx].
func (t *tx) List(kind, prefix string, fn func(key string, value []byte) error) error {
	return t.ListAfter(kind, prefix, "", fn)
}

// ListAfter implements [storage.Tx].
func (t *tx) ListAfter(kind, prefix, after string, fn func(key string, value []byte) error) error {
	if t.ended {
		return errEnded
	}
	return t.writes.List(kind, prefix, after, func(from []byte, show func(string, []byte) error) error {
		stored := newCursor(t, kindBucket(kind))
		key, err := stored.seek(from)
		for ; err == nil && key != nil && bytes.HasPrefix(key, []byte(prefix)); key, err = stored.next() {
			if err := show(string(key), stored.value); err != nil {
				return err
			}
		}
		return err
	}, fn)
}

// changed says whether there is anything to commit.
func (t *tx) changed() bool { return !t.writes.Empty() || len(t.stale) > 0 }

// apply moves the pending writes into the bbolt transaction and keeps the
// expiry index exact. An error means that the whole group has to be given up.
func (t *tx) apply() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damaged(t.path, "has a page that cannot be changed: restore a backup")
		}
	}()
	index := t.bolt.Bucket(expiryBucket)
	err = t.writes.Each(func(kind, key string, w pending.Write) error {
		records, err := t.bolt.CreateBucketIfNotExists(kindBucket(kind))
		if err != nil {
			return err
		}
		return applyOne(records, index, kind, key, w)
	})
	if err != nil {
		return err
	}
	for _, entry := range t.stale {
		if err := index.Delete(entry); err != nil {
			return err
		}
	}
	return nil
}

func applyOne(records, index *bbolt.Bucket, kind, key string, w pending.Write) error {
	// The expiry is read even from a damaged envelope: if it is wrong, the
	// entry that stays behind is found by the next Sweep.
	if expiry, ok := envelope.Expiry(records.Get([]byte(key))); ok && expiry != 0 {
		if err := index.Delete(indexKey(expiry, kind, key)); err != nil {
			return err
		}
	}
	if w.Sealed == nil {
		return records.Delete([]byte(key))
	}
	if w.Expiry != 0 {
		index.FillPercent = indexFill
		if err := index.Put(indexKey(w.Expiry, kind, key), []byte{}); err != nil {
			return err
		}
	}
	return put(records, []byte(key), w.Sealed)
}

// grownFill is how full a page is left that becomes too full, in a bucket whose
// keys grow. bbolt leaves it half full, and since nothing comes later that belongs
// there, half of such a file would stay empty.
const grownFill = 0.95

// indexFill is that of the expiry index, which grows in as many places as there are
// lifetimes, and in each of them is filled by kind within a second.
const indexFill = 0.8

// put writes to a bucket, and notes if its keys grow, as those do that begin with a
// time. Of keys that are scattered hardly any is the greatest.
func put(bucket *bbolt.Bucket, key, value []byte) error {
	if last, _ := bucket.Cursor().Last(); bytes.Compare(key, last) > 0 {
		bucket.FillPercent = grownFill // until the commit
	}
	return bucket.Put(key, value)
}

// cursor walks a bucket; each step is guarded against damaged pages.
type cursor struct {
	path  string
	bolt  *bbolt.Cursor
	value []byte // at the key that seek or next returned
	err   error
}

// newCursor returns a cursor over a bucket, which may be missing.
func newCursor(t *tx, bucket []byte) *cursor {
	c := &cursor{path: t.path}
	c.err = readable(t.path, func() {
		if b := t.bolt.Bucket(bucket); b != nil {
			c.bolt = b.Cursor()
		}
	})
	return c
}

func (c *cursor) seek(key []byte) ([]byte, error) {
	return c.step(func() ([]byte, []byte) { return c.bolt.Seek(key) })
}

func (c *cursor) next() ([]byte, error) {
	return c.step(func() ([]byte, []byte) { return c.bolt.Next() })
}

func (c *cursor) step(move func() ([]byte, []byte)) (key []byte, err error) {
	if c.err != nil || c.bolt == nil {
		return nil, c.err
	}
	err = readable(c.path, func() {
		key, c.value = move()
		touch(key)
		touch(c.value)
	})
	return key, err
}
