package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
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
	writes   map[string]map[string]write // by kind, then key
	stale    [][]byte                    // index entries without a record, found by Sweep
}

// write is one pending Put, or a Delete when envelope is nil.
type write struct {
	envelope []byte
	expiry   int64
}

// Get implements [storage.Tx].
func (t *tx) Get(kind, key string) ([]byte, error) {
	value, expiry, err := t.load(kind, key)
	if err != nil {
		return nil, err
	}
	if expired(expiry, time.Now()) {
		return nil, storage.ErrNotFound
	}
	return bytes.Clone(value), nil
}

// load returns a record whether or not it has expired. The value is not a copy.
func (t *tx) load(kind, key string) (value []byte, expiry int64, err error) {
	if t.ended {
		return nil, 0, errEnded
	}
	envelope, err := t.envelope(kind, key)
	if err != nil {
		return nil, 0, err
	}
	if envelope == nil {
		return nil, 0, storage.ErrNotFound
	}
	return decode(kind, key, envelope)
}

func (t *tx) envelope(kind, key string) (envelope []byte, err error) {
	if w, ok := t.writes[kind][key]; ok {
		return w.envelope, nil
	}
	err = readable(t.path, func() {
		if bucket := t.bolt.Bucket(kindBucket(kind)); bucket != nil {
			envelope = bucket.Get([]byte(key))
		}
	})
	return envelope, err
}

// Put implements [storage.Tx].
func (t *tx) Put(kind, key string, value []byte, expiry time.Time) error {
	if err := validName(kind, key); err != nil {
		return err
	}
	second := expirySecond(expiry)
	return t.write(kind, key, write{encode(kind, key, value, second), second})
}

// Delete implements [storage.Tx].
func (t *tx) Delete(kind, key string) error {
	return t.write(kind, key, write{})
}

func (t *tx) write(kind, key string, w write) error {
	switch {
	case t.ended:
		return errEnded
	case !t.writable:
		return storage.ErrReadOnly
	}
	if t.writes == nil {
		t.writes = make(map[string]map[string]write)
	}
	if t.writes[kind] == nil {
		t.writes[kind] = make(map[string]write)
	}
	t.writes[kind][key] = w
	return nil
}

// List implements [storage.Tx]: it merges the pending writes, sorted, with what
// the file holds.
func (t *tx) List(kind, prefix string, fn func(key string, value []byte) error) error {
	if t.ended {
		return errEnded
	}
	var pending []string
	for key := range t.writes[kind] {
		if strings.HasPrefix(key, prefix) {
			pending = append(pending, key)
		}
	}
	slices.Sort(pending)

	stored := newCursor(t, kindBucket(kind))
	key, err := stored.seek([]byte(prefix))
	for {
		if err != nil {
			return err
		}
		inFile := key != nil && bytes.HasPrefix(key, []byte(prefix))
		switch {
		case len(pending) > 0 && (!inFile || pending[0] <= string(key)):
			if inFile && pending[0] == string(key) { // replaced or deleted
				key, err = stored.next()
				if err != nil {
					return err
				}
			}
			w := t.writes[kind][pending[0]]
			if w.envelope != nil {
				err = t.show(kind, pending[0], w.envelope, fn)
			}
			pending = pending[1:]
		case inFile:
			if err = t.show(kind, string(key), stored.value, fn); err == nil {
				key, err = stored.next()
			}
		default:
			return nil
		}
	}
}

// show hands one record to the function of a List, unless it has expired.
func (t *tx) show(kind, key string, envelope []byte, fn func(string, []byte) error) error {
	value, expiry, err := decode(kind, key, envelope)
	if err != nil {
		return err
	}
	if expired(expiry, time.Now()) {
		return nil
	}
	return fn(key, bytes.Clone(value))
}

// changed says whether there is anything to commit.
func (t *tx) changed() bool { return len(t.writes) > 0 || len(t.stale) > 0 }

// apply moves the pending writes into the bbolt transaction and keeps the
// expiry index exact. An error means that the whole group has to be given up.
func (t *tx) apply() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damaged(t.path, "has a page that cannot be changed: restore a backup")
		}
	}()
	index := t.bolt.Bucket(expiryBucket)
	for _, kind := range slices.Sorted(maps.Keys(t.writes)) {
		writes := t.writes[kind]
		records, err := t.bolt.CreateBucketIfNotExists(kindBucket(kind))
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(writes)) {
			if err := applyOne(records, index, kind, key, writes[key]); err != nil {
				return err
			}
		}
	}
	for _, entry := range t.stale {
		if err := index.Delete(entry); err != nil {
			return err
		}
	}
	return nil
}

func applyOne(records, index *bbolt.Bucket, kind, key string, w write) error {
	// The expiry is read even from a damaged envelope: if it is wrong, the
	// entry that stays behind is found by the next Sweep.
	if old := records.Get([]byte(key)); len(old) >= headerSize {
		if expiry := int64(binary.BigEndian.Uint64(old[1:])); expiry != 0 {
			if err := index.Delete(indexKey(expiry, kind, key)); err != nil {
				return err
			}
		}
	}
	if w.envelope == nil {
		return records.Delete([]byte(key))
	}
	if w.expiry != 0 {
		if err := index.Put(indexKey(w.expiry, kind, key), []byte{}); err != nil {
			return err
		}
	}
	return records.Put([]byte(key), w.envelope)
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
	err = readable(c.path, func() { key, c.value = move() })
	return key, err
}
