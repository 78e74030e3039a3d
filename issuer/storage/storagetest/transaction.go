package storagetest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Without this nothing else means anything.
func getWhatWasPut(t *testing.T, s storage.Storage) {
	wantNone(t, s, "code", "a")
	put(t, s, "code", "a", "1", forever)
	want(t, s, "code", "a", "1")
	put(t, s, "code", "a", "2", forever)
	want(t, s, "code", "a", "2")
}

// A token request that fails half way must not leave a redeemed code without
// tokens, nor tokens without a redeemed code.
func errorKeepsNothing(t *testing.T, s storage.Storage) {
	put(t, s, "code", "old", "unused", forever)
	put(t, s, "code", "gone?", "no", forever)
	refused := errors.New("refused")
	err := s.Update(context.Background(), func(tx storage.Tx) error {
		return errors.Join(
			tx.Put("code", "old", []byte("redeemed"), forever),
			tx.Put("token", "new", []byte("x"), forever),
			tx.Delete("code", "gone?"),
			refused)
	})
	if !errors.Is(err, refused) {
		t.Errorf("Update = %v, want the function's own error", err)
	}
	want(t, s, "code", "old", "unused")
	want(t, s, "code", "gone?", "no")
	wantNone(t, s, "token", "new")
}

// A handler that panics must not take the storage with it: not its writes, and
// not the lock that everybody else waits for.
func panicKeepsNothing(t *testing.T, s storage.Storage) {
	recovered := func(run func()) (value any) {
		defer func() { value = recover() }()
		run()
		return nil
	}
	for range 100 {
		got := recovered(func() {
			_ = s.Update(context.Background(), func(tx storage.Tx) error {
				_ = tx.Put("code", "a", []byte("1"), forever)
				panic("update")
			})
		})
		if got != "update" {
			t.Fatalf("Update: recovered %v in the caller, want its panic", got)
		}
	}
	got := recovered(func() {
		_ = s.View(context.Background(), func(storage.Tx) error { panic("view") })
	})
	if got != "view" {
		t.Fatalf("View: recovered %v in the caller, want its panic", got)
	}
	put(t, s, "code", "next", "2", forever) // after whatever the panic left
	want(t, s, "code", "next", "2")
	wantNone(t, s, "code", "a")
}

// A flow that writes a grant and then reads it through a typed record must see
// what it wrote, or it would decide on the state before.
func readsOwnWrites(t *testing.T, s storage.Storage) {
	put(t, s, "code", "stored", "1", forever)
	update(t, s, func(tx storage.Tx) error {
		err := errors.Join(
			tx.Put("code", "stored", []byte("2"), forever),
			tx.Put("code", "new", []byte("3"), forever))
		wantIn(t, tx, "code", "stored", "2")
		wantIn(t, tx, "code", "new", "3")
		err = errors.Join(err, tx.Delete("code", "stored"), tx.Delete("code", "new"))
		wantNoneIn(t, tx, "code", "stored")
		wantNoneIn(t, tx, "code", "new")
		return errors.Join(err, tx.Put("code", "new", []byte("4"), forever))
	})
	wantNone(t, s, "code", "stored")
	want(t, s, "code", "new", "4")
}

// A write in a View would be lost without a word, or would race with the
// writer; it is a mistake of the program and has to be told.
func viewIsReadOnly(t *testing.T, s storage.Storage) {
	put(t, s, "code", "a", "1", forever)
	view(t, s, func(tx storage.Tx) error {
		if err := tx.Put("code", "a", []byte("2"), forever); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("Put in a View = %v, want ErrReadOnly", err)
		}
		if err := tx.Delete("code", "a"); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("Delete in a View = %v, want ErrReadOnly", err)
		}
		return nil
	})
	want(t, s, "code", "a", "1")
}

// Values outlive the transaction in caches, and buffers come from pools: if
// memory were shared, one user's record would turn into another's.
func valuesAreCopies(t *testing.T, s storage.Storage) {
	buffer := []byte("mine")
	var stored, pending, listed []byte
	update(t, s, func(tx storage.Tx) (err error) {
		err = tx.Put("code", "a", buffer, forever)
		copy(buffer, "XXXX")
		wantIn(t, tx, "code", "a", "mine")
		pending, _ = tx.Get("code", "a")
		copy(pending, "YYYY")
		wantIn(t, tx, "code", "a", "mine")
		return errors.Join(err, tx.List("code", "", func(_ string, value []byte) error {
			copy(value, "ZZZZ")
			return nil
		}))
	})
	view(t, s, func(tx storage.Tx) (err error) {
		stored, err = tx.Get("code", "a")
		return errors.Join(err, tx.List("code", "", func(_ string, value []byte) error {
			listed = value
			return nil
		}))
	})
	put(t, s, "code", "a", "else", forever)
	if string(stored) != "mine" || string(listed) != "mine" {
		t.Errorf("kept values turned into %q and %q", stored, listed)
	}
	copy(stored, "XXXX")
	copy(listed, "XXXX")
	want(t, s, "code", "a", "else")
}

// Keys are hashes and user names, values are whatever a record encodes to: a
// zero byte, a separator or broken UTF-8 must not cut or merge them.
func keysAndValuesAreBytes(t *testing.T, s storage.Storage) {
	for _, key := range []string{"\x00", "\x00\x00", "a\x00b", "a", "a/b", "\xff\xfe", "é", " ", "'; DROP TABLE--", "%", "_", "\\", "\n"} {
		put(t, s, "code", key, "value of "+key, forever)
	}
	for _, key := range []string{"\x00", "\x00\x00", "a\x00b", "a", "a/b", "\xff\xfe", "é", " ", "'; DROP TABLE--", "%", "_", "\\", "\n"} {
		want(t, s, "code", key, "value of "+key)
	}
}

// If a kind and a key were just joined, a chosen user code could name a token.
func kindsDoNotCollide(t *testing.T, s storage.Storage) {
	put(t, s, "a", "bc", "1", forever)
	put(t, s, "ab", "c", "2", forever)
	want(t, s, "a", "bc", "1")
	want(t, s, "ab", "c", "2")
	wantNone(t, s, "abc", "a")
	view(t, s, func(tx storage.Tx) error {
		wantList(t, tx, "a", "", "bc=1")
		wantList(t, tx, "ab", "", "c=2")
		wantList(t, tx, "abc", "", "")
		return nil
	})
	update(t, s, func(tx storage.Tx) error { return tx.Delete("a", "bc") })
	want(t, s, "ab", "c", "2")
}

// A marker has no value and is still there; a record with many claims is large.
func sizes(t *testing.T, s storage.Storage) {
	put(t, s, "code", "empty", "", forever)
	want(t, s, "code", "empty", "")
	large := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	put(t, s, "code", "large", large, forever)
	want(t, s, "code", "large", large)
	put(t, s, "code", "large", "small", forever)
	want(t, s, "code", "large", "small")
}

// Removal of a client must work twice: the second time comes from a retry.
func deletes(t *testing.T, s storage.Storage) {
	update(t, s, func(tx storage.Tx) error { return tx.Delete("code", "a") })
	put(t, s, "code", "a", "1", forever)
	put(t, s, "code", "ab", "2", forever)
	update(t, s, func(tx storage.Tx) error { return tx.Delete("code", "a") })
	update(t, s, func(tx storage.Tx) error { return tx.Delete("code", "a") })
	wantNone(t, s, "code", "a")
	want(t, s, "code", "ab", "2")
}

// A client that hung up must not have its half of the work done behind its back.
func endedContext(t *testing.T, s storage.Storage) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Update(ctx, func(tx storage.Tx) error { return tx.Put("code", "a", []byte("1"), forever) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want context.Canceled", err)
	}
	if err := s.View(ctx, func(storage.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want context.Canceled", err)
	}
	wantNone(t, s, "code", "a")

	// Once it was begun, it is carried through.
	ctx, cancel = context.WithCancel(context.Background())
	err = s.Update(ctx, func(tx storage.Tx) error {
		defer cancel()
		return tx.Put("code", "a", []byte("2"), forever)
	})
	if err != nil {
		t.Errorf("Update = %v; it was begun before its context ended", err)
	}
	want(t, s, "code", "a", "2")
}

// During a reload a request may still hold the storage of the old configuration:
// it gets an error that becomes a 503, and no panic.
func closedIsNotAvailable(t *testing.T, s storage.Storage) {
	put(t, s, "code", "a", "1", forever)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	nothing := func(storage.Tx) error { t.Error("the function ran"); return nil }
	if err := s.View(context.Background(), nothing); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("View = %v, want ErrUnavailable", err)
	}
	if err := s.Update(context.Background(), nothing); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Update = %v, want ErrUnavailable", err)
	}
	if _, err := s.Sweep(context.Background(), forever); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Sweep = %v, want ErrUnavailable", err)
	}
}
