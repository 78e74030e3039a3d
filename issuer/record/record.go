package record

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Get reads and decodes a record. The error is storage.ErrNotFound or
// storage.ErrDamaged.
func Get[T any](tx storage.Tx, kind, key string) (*T, error) {
	value, err := tx.Get(kind, key)
	if err != nil {
		return nil, err
	}
	return Decode[T](kind, value)
}

// Decode decodes a record. The error is storage.ErrDamaged.
func Decode[T any](kind string, value []byte) (*T, error) {
	record := new(T)
	if err := json.Unmarshal(value, record); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", storage.ErrDamaged, kind, err)
	}
	return record, nil
}

// Put encodes and writes a record.
func Put(tx storage.Tx, kind, key string, record any, expiry time.Time) error {
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Put(kind, key, value, expiry)
}

// Now is the time in records: to the second, as in tokens.
func Now() time.Time { return time.Now().UTC().Truncate(time.Second) }
