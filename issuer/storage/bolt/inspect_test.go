package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// A record that damage has hidden must not pass for one that never was: the file is
// refused, for as long as the record would have been in force.
func TestOpenRefusesLostRecords(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		hide    func(b *bbolt.Tx) error
		expiry  time.Time
		refused bool
	}{
		"its key is damaged":              {renameRecord, soon, true},
		"its bucket's name is damaged":    {renameBucket, soon, true},
		"it is gone":                      {removeRecord, soon, true},
		"it is gone, and has expired":     {removeRecord, time.Now().Add(-time.Hour), false},
		"its key is damaged, for ever":    {renameRecord, time.Time{}, true},
		"its value is damaged":            {damageRecord, soon, false},
		"its value is damaged, for ever":  {damageRecord, time.Time{}, false},
		"so it is, by more than a bit":    {wreckRecord, time.Time{}, true}, // or is it the key?
		"its entry in the index is gone":  {removeEntry, soon, false},
		"the index is under another name": {func(b *bbolt.Tx) error { return rename(b, expiryBucket, "expirz") }, soon, true},
		"nothing is lost":                 {func(*bbolt.Tx) error { return nil }, soon, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "oauth.db")
			s := open(t, path)
			err := s.Update(context.Background(), func(tx storage.Tx) error {
				return tx.Put("revoked", "token", []byte("value"), c.expiry)
			})
			if err = errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			inBolt(t, path, c.hide)
			s, err = Open(path, Options{})
			if errors.Is(err, storage.ErrDamaged) != c.refused || (err == nil) == c.refused {
				t.Errorf("Open = %v, refused is to be %t", err, c.refused)
			}
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// renameRecord does what a bit of the key that is another one does.
func renameRecord(b *bbolt.Tx) error {
	records := b.Bucket(kindBucket("revoked"))
	sealed := append([]byte(nil), records.Get([]byte("token"))...)
	return errors.Join(records.Delete([]byte("token")), records.Put([]byte("tokgn"), sealed))
}

func removeRecord(b *bbolt.Tx) error {
	return b.Bucket(kindBucket("revoked")).Delete([]byte("token"))
}

func damageRecord(b *bbolt.Tx) error { return changeRecord(b, 0x01) }

func wreckRecord(b *bbolt.Tx) error { return changeRecord(b, 0x11) }

func changeRecord(b *bbolt.Tx, bits byte) error {
	records := b.Bucket(kindBucket("revoked"))
	sealed := bytes.Clone(records.Get([]byte("token")))
	sealed[len(sealed)-1] ^= bits
	return records.Put([]byte("token"), sealed)
}

func removeEntry(b *bbolt.Tx) error {
	entry, _ := b.Bucket(expiryBucket).Cursor().First()
	return b.Bucket(expiryBucket).Delete(entry)
}

func renameBucket(b *bbolt.Tx) error { return rename(b, kindBucket("revoked"), "kind:revokgd") }

func rename(b *bbolt.Tx, bucket []byte, name string) error {
	renamed, err := b.CreateBucket([]byte(name))
	if err != nil {
		return err
	}
	err = b.Bucket(bucket).ForEach(renamed.Put)
	return errors.Join(err, b.DeleteBucket(bucket))
}

// A value whose length is damaged while the file is open may end far beyond it: it
// is a damaged record like others, and does not end the process.
func TestDamagedLength(t *testing.T) {
	path := filled(t)
	s := open(t, path)
	defer s.Close()
	var sealed int
	err := s.view(context.Background(), func(t *tx) error {
		sealed = len(t.bolt.Bucket(kindBucket("code")).Get([]byte("a")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lengths := func(value int) []byte { // the end of an element of a leaf page
		return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 1), uint32(value))
	}
	damaged := bytes.ReplaceAll(content, lengths(sealed), lengths(sealed|1<<28))
	if bytes.Equal(damaged, content) {
		t.Fatal("no such element")
	}
	if err := os.WriteFile(path, damaged, 0o600); err != nil { // into the open file
		t.Fatal(err)
	}
	if _, err := getA(s); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Get = %v, want ErrDamaged", err)
	}
	if err := s.Check(context.Background(), nil); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Check = %v, want ErrDamaged", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Open = %v, want ErrDamaged", err)
	}
}

// flippable makes a file with trees of some depth, with records of every size and
// with free pages, and returns it as it is while the server runs, with what is in it.
func flippable(t *testing.T) (content []byte, records map[recordName][]byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "oauth.db")
	small, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: minPageSize})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(small.Update(writeSchema), small.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	defer s.Close()
	records = make(map[recordName][]byte)
	put := func(kind string, count, size int, expiry time.Time) {
		err := s.Update(context.Background(), func(tx storage.Tx) (err error) {
			for i := range count {
				name := recordName{kind, fmt.Sprintf("%s %d", strings.Repeat("key", 5), i)}
				records[name] = bytes.Repeat([]byte{byte(i)}, size)
				err = errors.Join(err, tx.Put(name.kind, name.key, records[name], expiry))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour)
	put("code", 60, 20, later)
	put("client", 9, 200, time.Time{})
	put("backup", 1, 3000, time.Time{})
	put("person", 1, 20, time.Time{})
	put("spent", 5, 20, time.Now().Add(-time.Hour))
	if _, err := s.Sweep(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for name := range records {
		if name.kind == "spent" {
			delete(records, name)
		}
	}
	put("revoked", 1, 20, later) // the last commit
	if content, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	m, err := readMeta(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return content[:m.pages*m.pageSize], records
}

// TestEveryFlippedBit: whichever bit of a file is another one, the file is refused,
// or each record in it is as it was written, or refused. In the short version it is
// one bit of each 101, and all with which a page begins.
func TestEveryFlippedBit(t *testing.T) {
	content, records := flippable(t)
	path := filepath.Join(t.TempDir(), "oauth.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := os.Getenv("OAUTH_TEST_ALL") != ""
	flips, refused, unavailable := 0, 0, 0
	for bit := range len(content) * 8 {
		at := bit / 8
		if !all && bit%101 != 0 && at%minPageSize >= 2*pageHeader {
			continue
		}
		if _, err := f.WriteAt([]byte{content[at] ^ 1<<(bit%8)}, int64(at)); err != nil {
			t.Fatal(err)
		}
		flips++
		switch doubtful, err := judged(path, records); {
		case errors.Is(err, storage.ErrDamaged):
			refused++
		case err != nil:
			t.Errorf("bit %d of byte %d of page %d: %v", bit%8, at%minPageSize, at/minPageSize, err)
		case doubtful:
			unavailable++
		}
		if _, err := f.WriteAt(content[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bits of %d bytes flipped: %d times the file was refused, %d times a record, and %d times nothing was damaged",
		flips, len(content), refused, unavailable, flips-refused-unavailable)
}

// judged opens a file and holds what it has against what was written.
func judged(path string, records map[recordName][]byte) (doubtful bool, err error) {
	s, err := Open(path, Options{})
	if err != nil {
		return false, err
	}
	defer s.Close()
	return doubtful, s.View(context.Background(), func(tx storage.Tx) error {
		for name, want := range records {
			got, err := tx.Get(name.kind, name.key)
			if doubtful = doubtful || errors.Is(err, storage.ErrDamaged); !errors.Is(err, storage.ErrDamaged) && (err != nil || !bytes.Equal(got, want)) {
				return fmt.Errorf("%s is %q, %v", name, got, err)
			}
		}
		for _, kind := range []string{"backup", "client", "code", "person", "revoked"} {
			left := 0
			for name := range records {
				if name.kind == kind {
					left++
				}
			}
			err := tx.List(kind, "", func(key string, value []byte) error {
				left--
				if want, was := records[recordName{kind, key}]; !was || !bytes.Equal(value, want) {
					return fmt.Errorf("%s %s is %q", kind, key, value)
				}
				return nil
			})
			if !errors.Is(err, storage.ErrDamaged) && (err != nil || left != 0) {
				return fmt.Errorf("%d records of %s are not listed (%v)", left, kind, err)
			}
		}
		return nil
	})
}

// After a stop in good order, either meta page alone leads to what was written last.
func TestCloseSettles(t *testing.T) {
	path := filled(t)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, os.Getpagesize()} {
		spoiled := bytes.Clone(content)
		copy(spoiled[at+40:], "damage")
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, path)
		if _, err := getA(s); err != nil {
			t.Errorf("meta page at %d damaged: Get = %v", at, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		now, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(now, spoiled) {
			t.Errorf("a file that was read only is another one now (%v)", err)
		}
	}
}
