package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

// Check reads every record and compares its checksum, and the expiry index with
// the records, both ways. It calls report, unless that is nil, for each
// fault; kind and key are empty where a fault belongs to no record. Keys may
// be personal data. Check returns an error that wraps [storage.ErrDamaged] if
// there was a fault, and ctx.Err() if ctx ended first.
//
// It reads one snapshot and keeps its pages from being reused meanwhile: run it
// when the server has little to do.
func (s *Storage) Check(ctx context.Context, report func(kind, key string, err error)) error {
	c := &check{ctx: ctx, report: report}
	if err := s.view(ctx, c.run); err != nil {
		return err
	}
	if c.faults > 0 {
		return damaged(s.path, fmt.Sprintf("has %d faults: restore a backup", c.faults))
	}
	return nil
}

type check struct {
	ctx    context.Context
	report func(kind, key string, err error)
	faults int
}

func (c *check) fault(kind, key string, err error) {
	c.faults++
	if c.report != nil {
		c.report(kind, key, err)
	}
}

func (c *check) run(t *tx) error {
	kinds, err := t.kinds()
	if err != nil {
		c.fault("", "", err)
	}
	for _, kind := range kinds {
		if err := c.records(t, kind); err != nil {
			return err
		}
	}
	return c.index(t)
}

func (t *tx) kinds() (kinds []string, err error) {
	err = readable(t.path, func() {
		cursor := t.bolt.Cursor()
		for name, _ := cursor.First(); name != nil; name, _ = cursor.Next() {
			if kind, ok := strings.CutPrefix(string(name), kindPrefix); ok {
				kinds = append(kinds, kind)
			}
		}
	})
	return kinds, err
}

// records goes through one kind. A page that cannot be read ends the kind.
func (c *check) records(t *tx, kind string) error {
	cursor := newCursor(t, kindBucket(kind))
	var last []byte
	key, err := cursor.seek(nil)
	for ; err == nil && key != nil; key, err = cursor.next() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if last != nil && bytes.Compare(last, key) >= 0 {
			err = errors.New("keys out of order")
			c.fault(kind, string(key), fmt.Errorf("%w: %w", storage.ErrDamaged, err))
			return nil // the cursor may go in circles
		}
		last = bytes.Clone(key)
		if err := c.record(t, kind, string(key), cursor.value); err != nil {
			c.fault(kind, string(key), err)
		}
	}
	if err != nil {
		c.fault(kind, "", err)
	}
	return nil
}

func (c *check) record(t *tx, kind, key string, sealed []byte) error {
	_, expiry, err := envelope.Open(kind, key, sealed)
	if err != nil || expiry == 0 {
		return err
	}
	entry := indexKey(expiry, kind, key)
	index := newCursor(t, expiryBucket)
	found, err := index.seek(entry)
	if err == nil && !bytes.Equal(found, entry) {
		err = fmt.Errorf("%w: no entry in the expiry index (kind %q)", storage.ErrDamaged, kind)
	}
	return err
}

// index looks for entries without a record.
func (c *check) index(t *tx) error {
	cursor := newCursor(t, expiryBucket)
	var last []byte
	entry, err := cursor.seek(nil)
	for ; err == nil && entry != nil; entry, err = cursor.next() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if last != nil && bytes.Compare(last, entry) >= 0 {
			c.fault("", "", fmt.Errorf("%w: expiry index out of order", storage.ErrDamaged))
			return nil
		}
		last = bytes.Clone(entry)
		expiry, kind, key, ok := parseIndexKey(entry)
		if !ok {
			c.fault("", "", fmt.Errorf("%w: unknown entry in the expiry index", storage.ErrDamaged))
			continue
		}
		if _, recorded, err := t.load(kind, key); err != nil || recorded != expiry {
			c.fault(kind, key, fmt.Errorf("%w: entry in the expiry index without its record (kind %q)", storage.ErrDamaged, kind))
		}
	}
	if err != nil {
		c.fault("", "", err)
	}
	return nil
}
