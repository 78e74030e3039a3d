package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// filled makes a database with records in it and returns its path, closed.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made", "oauth.db")
	s := open(t, path)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func fill(t *testing.T, s *Storage) {
	t.Helper()
	err := s.Update(context.Background(), func(tx storage.Tx) error {
		var err error
		for _, key := range strings.Fields("a b c d e f g h") {
			err = errors.Join(err, tx.Put("code", key, bytes.Repeat([]byte(key), 3000), time.Now().Add(time.Hour)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inBolt changes a closed file behind the storage's back.
func inBolt(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A file that is not a sound database of this program is refused with a line
// that says what to do, and is not touched: it may be all that is left.
func TestOpenRefuses(t *testing.T) {
	overwrite := func(data string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	truncate := func(size func(int64) int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, size(info.Size()))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	used := func(t *testing.T, path string) int64 {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n, err := usedSize(f)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	zero := func(from, to int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(bytes.Repeat([]byte{0xA5}, int(to-from)), from)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	page := int64(os.Getpagesize())
	cases := []struct {
		name  string
		spoil func(t *testing.T, path string)
		says  string
	}{
		{"0 bytes", overwrite(""), "is empty (0 bytes)"},
		{"text", overwrite(strings.Repeat("not a database\n", 5000)), "is not a database"},
		{"short text", overwrite("x"), "is not a database"},
		{"random 64 KiB", overwrite(strings.Repeat("\x9c\x11\xe7\x02", 1<<14)), "is not a database"},
		{"cut to one page", truncate(func(int64) int64 { return page }), "is cut off"},
		{"cut to half of what is used", func(t *testing.T, path string) {
			half := used(t, path) / 2
			truncate(func(int64) int64 { return half })(t, path)
		}, "is cut off"},
		{"cut by one byte of what is used", func(t *testing.T, path string) {
			n := used(t, path) - 1
			truncate(func(int64) int64 { return n })(t, path)
		}, "is cut off"},
		{"both meta pages damaged", func(t *testing.T, path string) {
			zero(40, 60)(t, path)
			zero(page+40, page+60)(t, path)
		}, "damaged head"},
		{"all but the meta pages damaged", func(t *testing.T, path string) {
			zero(2*page, used(t, path))(t, path)
		}, "restore a backup"},
		{"database of another program", func(t *testing.T, path string) {
			inBolt(t, path, func(b *bbolt.Tx) error { return b.DeleteBucket(metaBucket) })
		}, "another program"},
		{"newer schema", func(t *testing.T, path string) {
			inBolt(t, path, func(b *bbolt.Tx) error { return b.Bucket(metaBucket).Put(schemaKey, []byte("2")) })
		}, "has schema 2, this program knows up to 1"},
		{"unreadable schema", func(t *testing.T, path string) {
			inBolt(t, path, func(b *bbolt.Tx) error { return b.Bucket(metaBucket).Put(schemaKey, []byte("?")) })
		}, "damaged head"},
		{"missing, with its marker", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "oauth.db.initialised"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filled(t)
			c.spoil(t, path)
			before, _ := os.ReadFile(path)
			for range 2 { // a second attempt in the same process finds the same
				s, err := Open(path, Options{})
				if err == nil {
					s.Close()
					t.Fatal("Open accepted it")
				}
				if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
					t.Errorf("Open = %q, want ErrDamaged, one line with the path and %q", err, c.says)
				}
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the refused file was changed")
			}
		})
	}
}

// One sound meta page is enough: that is what bbolt keeps two for.
func TestOpenWithOneMeta(t *testing.T) {
	path := filled(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, os.Getpagesize()} {
		spoiled := bytes.Clone(data)
		copy(spoiled[at+40:], "damage")
		m, err := readMeta(bytes.NewReader(spoiled))
		if err != nil || m.pages < 2 {
			t.Errorf("meta page at %d damaged: %+v, %v; want the other one", at, m, err)
		}
	}
}

// A second process must fail soon, and say who is in the way.
func TestOpenLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	s := open(t, path)
	defer s.Close()
	start := time.Now()
	_, err := Open(path, Options{})
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "open in another process") {
		t.Errorf("Open = %v, want ErrUnavailable and who holds the file", err)
	}
	if waited := time.Since(start); waited > 2*time.Second {
		t.Errorf("Open took %v, want at most 2 s", waited)
	}
	fill(t, s) // and the first is not disturbed
}

// The file holds signing keys and hashes: it is for its owner alone.
func TestModes(t *testing.T) {
	path := filled(t)
	mode := func(name string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
	mode(path, 0o600)
	mode(filepath.Dir(path), 0o700)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	defer s.Close()
	mode(path, 0o600)
}

// Whatever instant the first start is killed at, the next one succeeds.
func TestCreationInterrupted(t *testing.T) {
	steps := map[string]func(t *testing.T, path string){
		"directory made": func(t *testing.T, path string) {},
		"temporary file empty": func(t *testing.T, path string) {
			if _, err := createTemporary(path); err != nil {
				t.Fatal(err)
			}
		},
		"temporary file half written": func(t *testing.T, path string) {
			if err := os.WriteFile(path+".unfinished-1", []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"linked, temporary name still there": func(t *testing.T, path string) {
			temporary, err := createTemporary(path)
			if err = errors.Join(err, initialise(temporary, time.Second), publish(temporary, path)); err != nil {
				t.Fatal(err)
			}
		},
		"marker not written": func(t *testing.T, path string) {
			s := open(t, path)
			if err := errors.Join(s.Close(), os.Remove(markerPath(path))); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, interrupted := range steps {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "oauth.db")
			interrupted(t, path)
			s := open(t, path)
			fill(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(markerPath(path)); err != nil {
				t.Errorf("no marker after a good start: %v", err)
			}
		})
	}
}
