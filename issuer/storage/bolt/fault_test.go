package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func getA(s *Storage) ([]byte, error) {
	var value []byte
	err := s.View(context.Background(), func(tx storage.Tx) (err error) {
		value, err = tx.Get("code", "a")
		return err
	})
	return value, err
}

// A damaged record is "cannot tell" to Get, List and Check, and the next Put
// heals it; a sweep does not decide on it.
func TestDamagedRecord(t *testing.T) {
	path := filled(t)
	inBolt(t, path, func(b *bbolt.Tx) error {
		records := b.Bucket(kindBucket("code"))
		moved := records.Get([]byte("b"))
		return records.Put([]byte("a"), bytes.Clone(moved))
	})
	s := open(t, path)
	defer s.Close()
	if value, err := getA(s); !errors.Is(err, storage.ErrDamaged) || value != nil {
		t.Errorf("Get = %.10q, %v; want ErrDamaged", value, err)
	}
	err := s.View(context.Background(), func(tx storage.Tx) error {
		return tx.List("code", "", func(string, []byte) error { return nil })
	})
	if !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("List = %v, want ErrDamaged", err)
	}
	if n, err := s.Sweep(context.Background(), time.Now().Add(2*time.Hour)); n != 7 || err != nil {
		t.Errorf("Sweep = %d, %v; want the 7 sound records", n, err)
	}
	var reported []string
	err = s.Check(context.Background(), func(kind, key string, err error) { reported = append(reported, kind+"/"+key) })
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(strings.Join(reported, " "), "code/a") {
		t.Errorf("Check = %v, reported %v; want code/a", err, reported)
	}
	fill(t, s)
	if err := s.Check(context.Background(), nil); err != nil {
		t.Errorf("Check after the record was written anew: %v", err)
	}
}

// The index must follow each Put and Delete, or the file fills up.
func TestIndexIsExact(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "oauth.db"))
	defer s.Close()
	now := time.Now()
	for _, expiry := range []time.Time{now, now.Add(time.Hour), {}, now.Add(time.Minute)} {
		for _, remove := range []bool{false, true} {
			err := s.Update(context.Background(), func(tx storage.Tx) error {
				err := errors.Join(tx.Put("code", "a", nil, expiry), tx.Put("code", "b", nil, expiry))
				if remove {
					err = errors.Join(err, tx.Delete("code", "b"))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(context.Background(), func(kind, key string, err error) { t.Log(kind, key, err) }); err != nil {
				t.Errorf("expiry %v: %v", expiry, err)
			}
		}
	}
}

// Index entries without their record are reported, and swept.
func TestStaleIndex(t *testing.T) {
	path := filled(t)
	inBolt(t, path, func(b *bbolt.Tx) error {
		return errors.Join(
			b.Bucket(expiryBucket).Put(indexKey(1, "code", "gone"), nil),
			b.Bucket(expiryBucket).Put(indexKey(1, "code", "a"), nil),
			b.Bucket(expiryBucket).Put([]byte("\x00\x00"), nil))
	})
	s := open(t, path)
	defer s.Close()
	faults := 0
	if err := s.Check(context.Background(), func(string, string, error) { faults++ }); !errors.Is(err, storage.ErrDamaged) || faults != 3 {
		t.Errorf("Check = %v with %d faults, want 3", err, faults)
	}
	if n, err := s.Sweep(context.Background(), time.Now()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v; want no record deleted", n, err)
	}
	if err := s.Check(context.Background(), nil); err != nil {
		t.Errorf("Check after Sweep: %v", err)
	}
}

// After a failed commit nothing is acknowledged until the file was written anew,
// reopened and checked; reads go on; then writes work again, without a restart.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(t.TempDir(), "oauth.db"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fill(t, s)
		failing := s.db
		failing.bolt.MaxSize = 1 // bbolt finds no place for a new page
		large := func(tx storage.Tx) error { return tx.Put("code", "new", make([]byte, 1<<20), time.Time{}) }
		err = s.Update(context.Background(), large)
		if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, berrors.ErrMaxSizeReached) {
			t.Fatalf("Update = %v, want ErrUnavailable with its cause", err)
		}
		if s.Health() == nil {
			t.Error("Health = nil after a failed commit")
		}
		nothing := func(storage.Tx) error { t.Error("a function ran on a handle in doubt"); return nil }
		if err := s.Update(context.Background(), nothing); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("second Update = %v, want ErrUnavailable", err)
		}
		if _, err := getA(s); err != nil {
			t.Errorf("View while writes are refused: %v", err)
		}
		time.Sleep(retryInterval + time.Millisecond) // in the bubble: no time at all
		synctest.Wait()
		if err := s.Update(context.Background(), large); err != nil || s.Health() != nil {
			t.Errorf("Update after the repair = %v, Health = %v", err, s.Health())
		}
		if s.db == failing {
			t.Error("the handle in doubt is still in use")
		}
	})
}

// A write to a file that the path names no longer would be lost at the next
// start, so it is refused until the file is back.
func TestFileMovedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "oauth.db")
		s := open(t, path)
		defer s.Close()
		fill(t, s)
		nothing := func(tx storage.Tx) error { return tx.Put("code", "z", nil, time.Time{}) }
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.Update(context.Background(), nothing); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Update = %v, want ErrUnavailable", err)
			}
			time.Sleep(2 * retryInterval)
			synctest.Wait()
		}
		if _, err := getA(s); err != nil {
			t.Errorf("View: %v", err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * retryInterval)
		synctest.Wait()
		if err := s.Update(context.Background(), nothing); err != nil {
			t.Errorf("Update after the file is back: %v", err)
		}
	})
}

// A file that is cut off under the running process is an error to the request,
// not the end of the process.
func TestFileCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	s := open(t, path)
	defer s.Close()
	fill(t, s)
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := getA(s); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("View = %v, want ErrDamaged", err)
	}
	err := s.Update(context.Background(), func(tx storage.Tx) error { return tx.Delete("code", "a") })
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Update = %v, want ErrUnavailable", err)
	}
}

// A full queue answers at once; the writes that were accepted are not lost.
func TestBusy(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "oauth.db"), Options{QueueLength: 2})
	if err != nil {
		t.Fatal(err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	results := make(chan error, 3)
	put := func(key string, fn func()) {
		results <- s.Update(context.Background(), func(tx storage.Tx) error { fn(); return tx.Put("code", key, nil, time.Time{}) })
	}
	go put("first", func() { close(began); <-release })
	<-began
	for i := range 2 {
		r := &request{ctx: context.Background(), turn: make(chan *tx), ran: make(chan bool, 1), result: make(chan error, 1)}
		if err := s.enqueue(r); err != nil {
			t.Fatal(err)
		}
		go func() {
			results <- r.run(<-r.turn, func(t *tx) error { return t.Put("code", fmt.Sprint(i), nil, time.Time{}) })
		}()
	}
	err = s.Update(context.Background(), func(storage.Tx) error { t.Error("ran"); return nil })
	if !errors.Is(err, storage.ErrBusy) {
		t.Errorf("Update = %v, want ErrBusy", err)
	}
	close(release)
	if err := s.Close(); err != nil { // waits for what was accepted
		t.Error(err)
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Errorf("an accepted write: %v", err)
		}
	}
}

// A backup is a whole database, also when writes go on, and its reader's pace
// does not matter.
func TestBackup(t *testing.T) {
	s := open(t, filled(t))
	defer s.Close()
	path := filepath.Join(t.TempDir(), "copy.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Backup(context.Background(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	c := open(t, path)
	defer c.Close()
	if err := c.Check(context.Background(), nil); err != nil {
		t.Error(err)
	}
	if value, err := getA(c); err != nil || len(value) != 3000 {
		t.Errorf("Get from the copy: %d bytes, %v", len(value), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Backup(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup = %v, want context.Canceled", err)
	}
	if left, _ := filepath.Glob(temporaryPattern(s.path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file of which most is free is made smaller at the next start, and loses
// nothing by it.
func TestCompaction(t *testing.T) {
	path := filled(t)
	s := open(t, path)
	ballast := func(fn func(tx storage.Tx, key string) error) {
		err := s.Update(context.Background(), func(tx storage.Tx) (err error) {
			for i := range 48 {
				err = errors.Join(err, fn(tx, fmt.Sprint(i)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ballast(func(tx storage.Tx, key string) error { return tx.Put("ballast", key, make([]byte, 1<<20), time.Time{}) })
	ballast(func(tx storage.Tx, key string) error { return tx.Delete("ballast", key) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Size() > compactFrom {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if err := s.Check(context.Background(), nil); err != nil {
		t.Error(err)
	}
	fill(t, s)
	if _, err := Open(path, Options{Timeout: time.Millisecond}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a second Open = %v; the compacted file has to be locked", err)
	}
}
