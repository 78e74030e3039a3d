// Package storagetest is the suite that every [storage.Storage] passes. Each
// case says why it matters to an issuer.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Backend is what the suite needs to know about an implementation.
type Backend struct {
	// Place makes a new, empty place and returns the function that opens the
	// storage there. It may be called again after the storage was closed, and
	// then finds what was written. The suite closes what it opened.
	Place func(t *testing.T) func(t *testing.T) storage.Storage

	// Bubble says that the implementation works inside a testing/synctest
	// bubble: no sockets, and no goroutine older than the opening. Without it,
	// the cases that let time pass take some seconds.
	Bubble bool
}

// Run runs the suite against a backend, each case on a place of its own.
func Run(t *testing.T, backend Backend) {
	cases := map[string]func(t *testing.T, s storage.Storage){
		"get what was put":                      getWhatWasPut,
		"an error keeps nothing":                errorKeepsNothing,
		"a panic keeps nothing and arrives":     panicKeepsNothing,
		"a transaction reads its own writes":    readsOwnWrites,
		"a view is read-only":                   viewIsReadOnly,
		"values are copies":                     valuesAreCopies,
		"keys and values are bytes":             keysAndValuesAreBytes,
		"kinds do not collide":                  kindsDoNotCollide,
		"sizes from nothing to 1 MiB":           sizes,
		"delete":                                deletes,
		"list in byte order":                    listInByteOrder,
		"list by prefix":                        listByPrefix,
		"list after a key":                      listAfterKey,
		"list merges pending writes":            listMergesPendingWrites,
		"list ends with the function's error":   listEndsWithError,
		"an ended context begins nothing":       endedContext,
		"one of many redeems":                   oneOfManyRedeems,
		"a counter loses no step":               counterLosesNoStep,
		"a neighbour's failure does not spread": neighboursFailure,
		"a view is one snapshot":                viewIsSnapshot,
		"closed is not available":               closedIsNotAvailable,
		"an export shows all":                   exportShowsAll,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { run(t, opened(t, backend.Place(t))) })
	}
	inTime := map[string]func(t *testing.T, s storage.Storage){
		"an expired record is gone":           expiredIsGone,
		"expiry is rounded up":                expiryIsRoundedUp,
		"the last put decides on the expiry":  lastPutDecides,
		"sweep deletes what expired, only":    sweepDeletesExpired,
		"sweep keeps what was renewed":        sweepKeepsRenewed,
		"sweep goes through many":             sweepMany,
		"sweep believes the time it is given": sweepBelievesItsTime,
	}
	for name, run := range inTime {
		t.Run(name, func(t *testing.T) {
			if !backend.Bubble {
				t.Parallel()
				run(t, opened(t, backend.Place(t)))
				return
			}
			place := backend.Place(t)
			synctest.Test(t, func(t *testing.T) { run(t, opened(t, place)) })
		})
	}
	t.Run("what was acknowledged outlives a reopening", func(t *testing.T) {
		outlivesReopening(t, backend.Place(t))
	})
}

// opened opens a storage for the time of the test.
func opened(t *testing.T, open func(*testing.T) storage.Storage) storage.Storage {
	t.Helper()
	s := open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// forever is the expiry of records that do not expire.
var forever time.Time

func update(t *testing.T, s storage.Storage, fn func(tx storage.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, s storage.Storage, fn func(tx storage.Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func put(t *testing.T, s storage.Storage, kind, key, value string, expiry time.Time) {
	t.Helper()
	update(t, s, func(tx storage.Tx) error { return tx.Put(kind, key, []byte(value), expiry) })
}

// want checks a record in a transaction of its own.
func want(t *testing.T, s storage.Storage, kind, key, value string) {
	t.Helper()
	view(t, s, func(tx storage.Tx) error { wantIn(t, tx, kind, key, value); return nil })
}

func wantIn(t *testing.T, tx storage.Tx, kind, key, value string) {
	t.Helper()
	got, err := tx.Get(kind, key)
	if err != nil || !bytes.Equal(got, []byte(value)) {
		t.Errorf("Get(%q, %.40q) = %.40q, %v; want %.40q", kind, key, got, err, value)
	}
}

// wantNone checks that there is no such record.
func wantNone(t *testing.T, s storage.Storage, kind, key string) {
	t.Helper()
	view(t, s, func(tx storage.Tx) error { wantNoneIn(t, tx, kind, key); return nil })
}

func wantNoneIn(t *testing.T, tx storage.Tx, kind, key string) {
	t.Helper()
	if got, err := tx.Get(kind, key); !errors.Is(err, storage.ErrNotFound) || got != nil {
		t.Errorf("Get(%q, %.40q) = %.40q, %v; want ErrNotFound", kind, key, got, err)
	}
}

// wantList checks keys and values of a list, written "key=value key=value".
func wantList(t *testing.T, tx storage.Tx, kind, prefix, list string) {
	t.Helper()
	wantListed(t, list, func(fn func(string, []byte) error) error { return tx.List(kind, prefix, fn) })
}

func wantListAfter(t *testing.T, tx storage.Tx, kind, prefix, after, list string) {
	t.Helper()
	wantListed(t, list, func(fn func(string, []byte) error) error { return tx.ListAfter(kind, prefix, after, fn) })
}

func wantListed(t *testing.T, want string, list func(fn func(string, []byte) error) error) {
	t.Helper()
	var got []string
	err := list(func(key string, value []byte) error {
		got = append(got, key+"="+string(value))
		return nil
	})
	if joined := strings.Join(got, " "); err != nil || joined != want {
		t.Errorf("listed %q, %v; want %q", joined, err, want)
	}
}
