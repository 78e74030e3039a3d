package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// pass lets time go by: at once in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func sweep(t *testing.T, s storage.Storage, now time.Time, deleted int) {
	t.Helper()
	if n, err := s.Sweep(context.Background(), now); err != nil || n != deleted {
		t.Errorf("Sweep = %d, %v; want %d", n, err, deleted)
	}
}

// The sweeper may be late or stopped: an expired code is refused all the same,
// by Get and by List, stored or pending (RFC 6749 §4.1.2).
func expiredIsGone(t *testing.T, s storage.Storage) {
	now := time.Now().Truncate(time.Second)
	update(t, s, func(tx storage.Tx) error {
		err := errors.Join(
			tx.Put("code", "future", []byte("1"), now.Add(time.Hour)),
			tx.Put("code", "now", []byte("2"), now),
			tx.Put("code", "past", []byte("3"), now.Add(-time.Hour)),
			tx.Put("code", "soon", []byte("4"), now.Add(2*time.Second)),
			tx.Put("code", "before 1970", []byte("5"), time.Unix(-1, 0)),
			tx.Put("code", "forever", []byte("6"), forever))
		wantNoneIn(t, tx, "code", "past")
		wantNoneIn(t, tx, "code", "before 1970")
		wantList(t, tx, "code", "", "forever=6 future=1 soon=4")
		return err
	})
	view(t, s, func(tx storage.Tx) error {
		wantNoneIn(t, tx, "code", "now")
		wantNoneIn(t, tx, "code", "past")
		wantNoneIn(t, tx, "code", "before 1970")
		wantIn(t, tx, "code", "soon", "4")
		wantList(t, tx, "code", "", "forever=6 future=1 soon=4")
		return nil
	})
	pass(2 * time.Second)
	view(t, s, func(tx storage.Tx) error {
		wantNoneIn(t, tx, "code", "soon")
		wantIn(t, tx, "code", "future", "1")
		wantList(t, tx, "code", "", "forever=6 future=1")
		return nil
	})
}

// A lifetime is a promise to the client (expires_in): the record lives at
// least as long.
func expiryIsRoundedUp(t *testing.T, s storage.Storage) {
	second := time.Now().Truncate(time.Second).Add(time.Second)
	put(t, s, "code", "a", "1", second.Add(time.Nanosecond))
	pass(time.Until(second.Add(time.Millisecond)))
	want(t, s, "code", "a", "1")
	pass(time.Until(second.Add(time.Second)))
	wantNone(t, s, "code", "a")
}

// A session that is renewed must not die at its first hour, and one that is cut
// short must not live on.
func lastPutDecides(t *testing.T, s storage.Storage) {
	now := time.Now().Truncate(time.Second)
	put(t, s, "session", "renewed", "1", now.Add(time.Second))
	put(t, s, "session", "renewed", "2", now.Add(time.Hour))
	put(t, s, "session", "cut", "1", now.Add(time.Hour))
	put(t, s, "session", "cut", "2", now.Add(2*time.Second))
	put(t, s, "session", "kept", "1", now.Add(time.Second))
	put(t, s, "session", "kept", "2", forever)
	put(t, s, "session", "back", "1", now.Add(-time.Second))
	put(t, s, "session", "back", "2", forever)
	pass(2 * time.Second)
	want(t, s, "session", "renewed", "2")
	wantNone(t, s, "session", "cut")
	want(t, s, "session", "kept", "2")
	want(t, s, "session", "back", "2")
}

// A sweep that deletes too much logs people out; one that deletes too little
// fills the disk.
func sweepDeletesExpired(t *testing.T, s storage.Storage) {
	now := time.Now().Truncate(time.Second)
	put(t, s, "code", "past", "1", now.Add(-time.Second))
	put(t, s, "token", "past", "2", now.Add(-time.Hour))
	put(t, s, "code", "future", "3", now.Add(time.Minute))
	put(t, s, "code", "forever", "4", forever)
	sweep(t, s, time.Now(), 2)
	sweep(t, s, time.Now(), 0)
	want(t, s, "code", "future", "3")
	want(t, s, "code", "forever", "4")
}

// What was renewed or deleted since must not be swept by its old expiry.
func sweepKeepsRenewed(t *testing.T, s storage.Storage) {
	now := time.Now().Truncate(time.Second)
	soon := now.Add(time.Second)
	for _, key := range []string{"renewed", "kept", "deleted", "replaced by the same"} {
		put(t, s, "session", key, "1", soon)
	}
	put(t, s, "session", "renewed", "2", now.Add(time.Hour))
	put(t, s, "session", "kept", "2", forever)
	put(t, s, "session", "replaced by the same", "2", soon)
	update(t, s, func(tx storage.Tx) error { return tx.Delete("session", "deleted") })
	pass(2 * time.Second)
	sweep(t, s, time.Now(), 1)
	want(t, s, "session", "renewed", "2")
	want(t, s, "session", "kept", "2")
}

// A sweep goes on after its first batch, across kinds.
func sweepMany(t *testing.T, s storage.Storage) {
	const each = 700
	now := time.Now().Truncate(time.Second)
	update(t, s, func(tx storage.Tx) error {
		var err error
		for i := range each {
			key := fmt.Sprintf("%04d", i)
			err = errors.Join(err,
				tx.Put("code", key, nil, now.Add(-time.Second)),
				tx.Put("token", key, nil, now.Add(-time.Duration(i)*time.Second)),
				tx.Put("live", key, nil, now.Add(time.Hour)))
		}
		return err
	})
	sweep(t, s, time.Now(), 2*each)
	view(t, s, func(tx storage.Tx) error {
		live := 0
		err := tx.List("live", "", func(string, []byte) error { live++; return nil })
		if live != each {
			t.Errorf("%d live records left, want %d", live, each)
		}
		return err
	})
}

// The caller may lag behind on purpose, when it does not trust a clock that has
// just jumped forward: then nothing is deleted beyond what it says.
func sweepBelievesItsTime(t *testing.T, s storage.Storage) {
	now := time.Now().Truncate(time.Second)
	put(t, s, "code", "a", "1", now.Add(-time.Hour))
	put(t, s, "code", "b", "1", now.Add(-3*time.Hour))
	sweep(t, s, now.Add(-2*time.Hour), 1)
	sweep(t, s, now, 1)
}
