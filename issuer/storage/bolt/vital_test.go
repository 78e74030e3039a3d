package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// A revocation that damage has hidden must not pass for one that never was: the
// file is refused, for as long as the revocation would have been in force.
func TestOpenRefusesLostRecords(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	vital := Options{Vital: []string{"revoked"}}
	bounded := func(d time.Duration) Options { return Options{Vital: vital.Vital, VitalFor: d} }
	for name, c := range map[string]struct {
		hide    func(b *bbolt.Tx) error
		expiry  time.Time
		options Options
		refused bool
	}{
		"its key is damaged":           {renameRecord, soon, vital, true},
		"its bucket's name is damaged": {renameBucket, soon, vital, true},
		"it has expired":               {renameRecord, time.Now().Add(-time.Hour), vital, false},
		"it is within the bound":       {renameRecord, soon, bounded(time.Hour), true},
		"it is beyond the bound":       {renameRecord, soon, bounded(time.Minute), false},
		"its kind is not vital":        {renameRecord, soon, Options{Vital: []string{"other"}}, false},
		"nothing is lost":              {func(*bbolt.Tx) error { return nil }, soon, vital, false},
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
			s, err = Open(path, c.options)
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

func renameBucket(b *bbolt.Tx) error {
	renamed, err := b.CreateBucket(kindBucket("revokgd"))
	if err != nil {
		return err
	}
	from := b.Bucket(kindBucket("revoked"))
	err = from.ForEach(renamed.Put)
	return errors.Join(err, b.DeleteBucket(kindBucket("revoked")))
}

// A value whose length is damaged may end far beyond the file: it is a damaged
// record like others, and does not end the process.
func TestDamagedLength(t *testing.T) {
	path := filled(t)
	var sealed int
	inBolt(t, path, func(b *bbolt.Tx) error {
		sealed = len(b.Bucket(kindBucket("code")).Get([]byte("a")))
		return nil
	})
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
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	defer s.Close()
	if _, err := getA(s); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Get = %v, want ErrDamaged", err)
	}
	if err := s.Check(context.Background(), nil); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Check = %v, want ErrDamaged", err)
	}
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
