package record_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// The parts of a list, one after the other, are the list: nothing twice, nothing
// left out, and nothing of another list.
func TestList(t *testing.T) {
	store, err := bolt.Open(filepath.Join(t.TempDir(), "parts.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var want []string
	for n := range 7 {
		want = append(want, fmt.Sprintf("k%d", n))
	}
	update := func(fn func(storage.Tx) error) {
		t.Helper()
		if err := store.Update(context.Background(), fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx storage.Tx) error {
		for _, key := range want {
			if err := tx.Put("kind", "issuer "+key, []byte(key), time.Time{}); err != nil {
				return err
			}
		}
		return tx.Put("kind", "issuer2 k1", []byte("another's"), time.Time{})
	})
	part := func(after string, limit int) (keys []string, next string) {
		t.Helper()
		err := store.View(context.Background(), func(tx storage.Tx) (err error) {
			keys = nil
			next, err = record.List(tx, "kind", "issuer ", record.Part{After: after, Limit: limit}, func(key string, value []byte) error {
				if key != string(value) {
					return fmt.Errorf("key %q has value %q", key, value)
				}
				keys = append(keys, key)
				return nil
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys, next
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for after := ""; ; {
			keys, next := part(after, limit)
			if len(keys) == 0 || len(keys) > limit {
				t.Fatalf("limit %d: a part of %d", limit, len(keys))
			}
			got = append(got, keys...)
			if next == "" {
				break
			}
			after = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	// A record that is gone is no obstacle for the part after it.
	update(func(tx storage.Tx) error { return tx.Delete("kind", "issuer k2") })
	if keys, _ := part("k2", 2); !slices.Equal(keys, []string{"k3", "k4"}) {
		t.Errorf("after a record that is gone: %v", keys)
	}
}
