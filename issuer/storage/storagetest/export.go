package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// exported writes out all that a storage has, in the order it is shown.
func exported(t *testing.T, s storage.Exporter) (all []string) {
	t.Helper()
	err := s.Export(context.Background(), func(r storage.Record) error {
		all = append(all, fmt.Sprintf("%q %q %.40q %d", r.Kind, r.Key, r.Value, r.Expiry.Unix()))
		return nil
	})
	if err != nil {
		t.Errorf("Export: %v", err)
	}
	return all
}

// exportShowsAll: what an export leaves out is lost by a move, and a record
// whose expiry is lost lives for ever.
func exportShowsAll(t *testing.T, s storage.Storage) {
	soon := time.Now().Truncate(time.Second).Add(time.Hour)
	put(t, s, "b", "\xff\x00", "", forever)
	put(t, s, "a", "z", "1", soon)
	put(t, s, "a", "a", "2", soon.Add(-time.Millisecond))
	put(t, s, "a", "past", "3", soon.Add(-2*time.Hour))
	put(t, s, "ab", "a", "4", forever)
	var want []string
	for _, r := range []storage.Record{
		{Kind: "a", Key: "a", Value: []byte("2"), Expiry: soon},
		{Kind: "a", Key: "z", Value: []byte("1"), Expiry: soon},
		{Kind: "ab", Key: "a", Value: []byte("4")},
		{Kind: "b", Key: "\xff\x00", Value: []byte{}},
	} {
		want = append(want, fmt.Sprintf("%q %q %.40q %d", r.Kind, r.Key, r.Value, r.Expiry.Unix()))
	}
	exporter := s.(storage.Exporter)
	if got := exported(t, exporter); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Export shows %v, want %v", got, want)
	}

	enough := errors.New("enough")
	if err := exporter.Export(context.Background(), func(storage.Record) error { return enough }); err != enough {
		t.Errorf("Export = %v, want the function's error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := exporter.Export(ctx, func(storage.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Export = %v, want context.Canceled", err)
	}
}

// Copy runs the suite of a move from one backend to another, in both directions.
// That a target which was not finished is not opened is for them to test.
func Copy(t *testing.T, first, second Backend) {
	for name, pair := range map[string][2]Backend{"there": {first, second}, "back": {second, first}} {
		t.Run(name, func(t *testing.T) { copyAll(t, pair[0], pair[1]) })
		t.Run(name+" into one that is not empty", func(t *testing.T) { copyRefusesFilled(t, pair[0], pair[1]) })
		t.Run(name+", interrupted", func(t *testing.T) { copyInterrupted(t, pair[0], pair[1]) })
	}
}

// fillForCopy makes more records than one transaction of a copy takes.
func fillForCopy(t *testing.T, s storage.Storage) {
	t.Helper()
	soon := time.Now().Add(time.Hour)
	update(t, s, func(tx storage.Tx) (err error) {
		for i := range 1200 {
			err = errors.Join(err, tx.Put("code", fmt.Sprintf("%04d", i), []byte{byte(i), 0, 0xff}, soon.Add(time.Duration(i)*time.Second)))
		}
		return errors.Join(err,
			tx.Put("key", "\x00\xff", make([]byte, 1<<20), forever),
			tx.Put("key", "empty", nil, forever),
			tx.Put("revoked", "a", []byte("{}"), soon))
	})
}

// A record that a move changes or leaves out is a client that cannot sign in or
// a revocation that is undone.
func copyAll(t *testing.T, fromBackend, toBackend Backend) {
	from, to := opened(t, fromBackend.Place(t)), opened(t, toBackend.Place(t))
	fillForCopy(t, from)
	told := 0
	if err := storage.Copy(context.Background(), from, to, func(records int) { told = records }); err != nil {
		t.Fatalf("Copy: %v", err)
	}
	got, want := exported(t, to.(storage.Exporter)), exported(t, from.(storage.Exporter))
	if told != len(want) || len(want) != 1203 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the copy of %d records has %d, progress said %d, or they differ", len(want), len(got), told)
	}
}

// Two issuers mixed would be neither.
func copyRefusesFilled(t *testing.T, fromBackend, toBackend Backend) {
	from, to := opened(t, fromBackend.Place(t)), opened(t, toBackend.Place(t))
	put(t, from, "code", "a", "1", forever)
	put(t, to, "code", "b", "2", forever)
	if err := storage.Copy(context.Background(), from, to, nil); !errors.Is(err, storage.ErrNotEmpty) {
		t.Errorf("Copy = %v, want ErrNotEmpty", err)
	}
	wantNone(t, to, "code", "a")
	want(t, to, "code", "b", "2")
}

// Half a copy lacks revocations: it has to be known for what it is, and nobody
// may go on with it.
func copyInterrupted(t *testing.T, fromBackend, toBackend Backend) {
	from := opened(t, fromBackend.Place(t))
	fillForCopy(t, from)
	to := opened(t, toBackend.Place(t))
	ctx, cancel := context.WithCancel(context.Background())
	err := storage.Copy(ctx, from, to, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Copy = %v, want context.Canceled", err)
	}
	if err := storage.Finished(context.Background(), to); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Finished = %v, want ErrDamaged", err)
	}
	if err := storage.Copy(context.Background(), from, to, nil); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Copy into it again = %v, want ErrDamaged", err)
	}
}
