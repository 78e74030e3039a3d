package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// openEncrypted opens a ring as its owner does: what is stored is made to fit the
// encryption first.
func openEncrypted(t testing.TB, store storage.Storage, encryption Encryption) (*Ring, error) {
	t.Helper()
	if _, err := Reencrypt(t.Context(), store, encryption, StoredKeys()); err != nil {
		return nil, err
	}
	ring := NewRing(store, testIssuer)
	ring.UseEncryption(encryption)
	return ring, ring.Open(t.Context(), testPolicy())
}

func mustOpenEncrypted(t testing.TB, store storage.Storage, encryption Encryption) *Ring {
	t.Helper()
	ring, err := openEncrypted(t, store, encryption)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// contents is everything in the storage.
func contents(t testing.TB, store storage.Storage) map[recordID][]byte {
	t.Helper()
	var all map[recordID][]byte
	err := store.View(t.Context(), func(tx storage.Tx) (err error) {
		all, err = listKinds(tx, []Stored{StoredKeys()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// storedRecords reads the issuer's records.
func storedRecords(t testing.TB, store storage.Storage) []record {
	t.Helper()
	records, err := NewRing(store, testIssuer).stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestKeysAreStoredEncrypted(t *testing.T) {
	for _, algorithm := range Algorithms() {
		store, encryption := openStorage(t, t.TempDir()), testEncryption(t, 1)
		ring := NewRing(store, testIssuer)
		ring.UseEncryption(encryption)
		policy := testPolicy()
		policy.Algorithm = algorithm
		if err := ring.Open(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		rotate(t, ring, false)
		for _, r := range storedRecords(t, store) {
			plain, current, err := encryption.Decrypt(t.Context(), r.EncryptedKey, RecordName(Kind, recordKey(testIssuer, r.ID)))
			if err != nil || !current || len(r.PrivateKey) > 0 {
				t.Fatalf("%s: a stored key: %v, %d bytes in plaintext", algorithm, err, len(r.PrivateKey))
			}
			if _, err := r.parse(plain); err != nil {
				t.Errorf("%s: %v", algorithm, err)
			}
		}
		again := NewRing(store, testIssuer)
		again.UseEncryption(encryption)
		if err := again.Open(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		if a, b := published(t, ring), published(t, again); !slices.Equal(a, b) || signsWith(t, ring) != signsWith(t, again) {
			t.Errorf("%s: after a restart %v, before %v", algorithm, b, a)
		}
		if infos := again.List(); !infos[0].Encrypted {
			t.Errorf("%s: %+v", algorithm, infos)
		}
	}
}

// What was in plaintext is encrypted when the keys are opened with an encryption,
// of every issuer in the storage, and stays the same key.
func TestPlaintextIsRewritten(t *testing.T) {
	store := openStorage(t, t.TempDir())
	before := openRing(t, store, testPolicy())
	rotate(t, before, false)
	removed := NewRing(store, "https://no-longer-configured.test")
	if err := removed.Open(t.Context(), testPolicy()); err != nil {
		t.Fatal(err)
	}
	var secrets [][]byte
	for _, r := range storedRecords(t, store) {
		secrets = append(secrets, r.PrivateKey)
	}
	n, err := Reencrypt(t.Context(), store, testEncryption(t, 1), StoredKeys())
	if err != nil || n != 3 {
		t.Fatalf("rewritten %d, %v; want 3", n, err)
	}
	for id, value := range contents(t, store) {
		var r record
		if err := json.Unmarshal(value, &r); err != nil || !r.isEncrypted() || len(r.PrivateKey) > 0 {
			t.Errorf("%s is %s, %v", id.key, value, err)
		}
		for _, secret := range secrets {
			if encoded, _ := json.Marshal(secret); bytes.Contains(value, encoded) {
				t.Errorf("%s has the key in plaintext", id.key)
			}
		}
	}
	after := mustOpenEncrypted(t, store, testEncryption(t, 1))
	if !bytes.Equal(before.JWKS(), after.JWKS()) || signsWith(t, before) != signsWith(t, after) {
		t.Error("the keys are not the same")
	}
	if n, err := Reencrypt(t.Context(), store, testEncryption(t, 1), StoredKeys()); n != 0 || err != nil {
		t.Errorf("a second time: rewritten %d, %v", n, err)
	}
}

// A key encryption key is replaced: the first encrypts, all decrypt, and then the
// old one is not needed any more.
func TestKeyEncryptionKeyIsReplaced(t *testing.T) {
	store := openStorage(t, t.TempDir())
	first := mustOpenEncrypted(t, store, testEncryption(t, 1))
	known := contents(t, store)
	mustOpenEncrypted(t, store, testEncryption(t, 1, 2)) // the new one is known, and not used yet
	if !maps.EqualFunc(contents(t, store), known, bytes.Equal) {
		t.Error("a key that only decrypts has changed something")
	}
	mustOpenEncrypted(t, store, testEncryption(t, 2, 1))
	last := mustOpenEncrypted(t, store, testEncryption(t, 2))
	if !bytes.Equal(first.JWKS(), last.JWKS()) {
		t.Error("the keys are not the same")
	}
	if _, err := openEncrypted(t, store, testEncryption(t, 1)); !errors.Is(err, ErrKeyEncryptionKey) {
		t.Errorf("with the old one: %v", err)
	}
}

// Without the right key encryption key nothing starts and nothing is changed:
// "cannot read" must never become "there is none".
func TestWrongKeyEncryptionKey(t *testing.T) {
	damage := func(change func(*record)) func(t *testing.T, store storage.Storage) {
		return func(t *testing.T, store storage.Storage) { rewrite(t, store, change) }
	}
	for _, test := range []struct {
		name   string
		by     func(*testing.T) Encryption
		before func(*testing.T, storage.Storage)
		want   error
	}{
		{"none", func(*testing.T) Encryption { return nil }, nil, ErrKeyEncryptionKey},
		{"another", func(t *testing.T) Encryption { return testEncryption(t, 9) }, nil, ErrKeyEncryptionKey},
		{"others", func(t *testing.T) Encryption { return testEncryption(t, 8, 9) }, nil, ErrKeyEncryptionKey},
		{
			"another for the keys of one issuer", func(t *testing.T) Encryption { return testEncryption(t, 9, 1) },
			func(t *testing.T, store storage.Storage) {
				other := NewRing(store, "https://other.test")
				other.UseEncryption(testEncryption(t, 3))
				if err := other.Open(t.Context(), testPolicy()); err != nil {
					t.Fatal(err)
				}
			}, ErrKeyEncryptionKey,
		},
		{
			"a record of another key", func(t *testing.T) Encryption { return testEncryption(t, 9, 1) },
			func(t *testing.T, store storage.Storage) {
				records := storedRecords(t, store)
				rewrite(t, store, func(r *record) {
					if r.ID == records[0].ID {
						r.EncryptedKey = records[1].EncryptedKey
					}
				})
			}, storage.ErrDamaged,
		},
		{
			"one in plaintext beside encrypted ones", func(t *testing.T) Encryption { return testEncryption(t, 9, 1) },
			func(t *testing.T, store storage.Storage) {
				foreign, err := newRecord(ES256, time.Now(), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				if err := store.Update(t.Context(), func(tx storage.Tx) error { return put(tx, testIssuer, foreign) }); err != nil {
					t.Fatal(err)
				}
			}, ErrPlaintext,
		},
		{
			"both at once", func(t *testing.T) Encryption { return testEncryption(t, 9, 1) },
			damage(func(r *record) { r.PrivateKey = []byte("x") }), storage.ErrDamaged,
		},
		{
			"neither", func(t *testing.T) Encryption { return testEncryption(t, 9, 1) },
			damage(func(r *record) { r.EncryptedKey = nil }), storage.ErrDamaged,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := openStorage(t, t.TempDir())
			rotate(t, mustOpenEncrypted(t, store, testEncryption(t, 1)), false)
			if test.before != nil {
				test.before(t, store)
			}
			before := contents(t, store)
			_, err := openEncrypted(t, store, test.by(t))
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), testIssuer) && !strings.Contains(err.Error(), "other.test") {
				t.Errorf("the error names no record: %v", err)
			}
			if !maps.EqualFunc(contents(t, store), before, bytes.Equal) {
				t.Error("the storage was changed")
			}
		})
	}
}

// A ring by itself is as strict as Reencrypt.
func TestRingRefusesWhatDoesNotFit(t *testing.T) {
	store := openStorage(t, t.TempDir())
	openRing(t, store, testPolicy())
	ring := NewRing(store, testIssuer)
	ring.UseEncryption(testEncryption(t, 1))
	if err := ring.Open(t.Context(), testPolicy()); !errors.Is(err, ErrPlaintext) {
		t.Errorf("plaintext: %v", err)
	}
	mustOpenEncrypted(t, store, testEncryption(t, 1))
	if err := NewRing(store, testIssuer).Open(t.Context(), testPolicy()); !errors.Is(err, ErrKeyEncryptionKey) {
		t.Errorf("encrypted: %v", err)
	}
}

// While the nodes get a key encryption key one after the other, those that have
// not got it yet go on with the keys they know. They change nothing, and a key
// that they do not know they do not believe.
func TestNodeWithoutTheKeyEncryptionKey(t *testing.T) {
	for name, encryptions := range map[string][2]Encryption{
		"the first one": {nil, testEncryption(t, 1)},
		"a new one":     {testEncryption(t, 1), testEncryption(t, 2, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := openStorage(t, t.TempDir())
				late := mustOpenEncrypted(t, store, encryptions[0])
				jwks := string(late.JWKS())
				early := mustOpenEncrypted(t, store, encryptions[1])
				if err := late.Reload(t.Context()); err != nil || string(late.JWKS()) != jwks {
					t.Fatalf("Reload: %v; the keys are %s", err, late.JWKS())
				}
				maintain(t, late)
				before := contents(t, store)
				for what, change := range map[string]func() error{
					"Rotate": func() error { return late.Rotate(t.Context(), false) },
					"Revoke": func() error { return late.Revoke(t.Context(), signsWith(t, late)) },
				} {
					if err := change(); !errors.Is(err, ErrKeyEncryptionKey) {
						t.Errorf("%s: %v, want ErrKeyEncryptionKey", what, err)
					}
				}
				if !maps.EqualFunc(contents(t, store), before, bytes.Equal) {
					t.Error("it has changed the storage")
				}
				rotate(t, early, false)
				if err := late.Reload(t.Context()); !errors.Is(err, ErrKeyEncryptionKey) || string(late.JWKS()) != jwks {
					t.Errorf("a key that it cannot read: %v; the keys are %s", err, late.JWKS())
				}
				late.UseEncryption(encryptions[1])
				if err := late.Reload(t.Context()); err != nil || !bytes.Equal(late.JWKS(), early.JWKS()) {
					t.Errorf("when it has got it: %v", err)
				}
				rotate(t, late, true)
			})
		})
	}
}

// countingEncryption counts, as somebody does who is asked over a network.
type countingEncryption struct {
	Encryption
	encrypted, decrypted int
	failing              error
}

func (c *countingEncryption) Encrypt(ctx context.Context, plain []byte, name string) ([]byte, error) {
	if c.encrypted++; c.failing != nil {
		return nil, c.failing
	}
	return c.Encryption.Encrypt(ctx, plain, name)
}

func (c *countingEncryption) Decrypt(ctx context.Context, sealed []byte, name string) ([]byte, bool, error) {
	if c.decrypted++; c.failing != nil {
		return nil, false, c.failing
	}
	return c.Encryption.Decrypt(ctx, sealed, name)
}

// A key is decrypted once. An Encryption that cannot answer leaves everything as
// it is, and is asked again.
func TestEncryptionIsAskedSeldom(t *testing.T) {
	store := openStorage(t, t.TempDir())
	encryption := &countingEncryption{Encryption: testEncryption(t, 1)}
	ring := mustOpenEncrypted(t, store, encryption)
	encryption.encrypted, encryption.decrypted = 0, 0
	encryption.failing = storage.ErrUnavailable
	for range 3 {
		maintain(t, ring)
		if err := ring.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if encryption.decrypted+encryption.encrypted > 0 {
		t.Errorf("asked %d times though nothing has changed", encryption.decrypted+encryption.encrypted)
	}
	before := contents(t, store)
	if err := ring.Rotate(t.Context(), true); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Rotate: %v", err)
	}
	if !maps.EqualFunc(contents(t, store), before, bytes.Equal) || len(published(t, ring)) != 1 {
		t.Error("something has changed")
	}
	if _, err := openEncrypted(t, store, encryption); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open: %v", err)
	}
	encryption.failing = nil
	rotate(t, ring, true)
}

// overtakingStorage lets another node in between reading and writing.
type overtakingStorage struct {
	storage.Storage
	between func()
}

func (s *overtakingStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if between := s.between; between != nil {
		s.between = nil
		between()
	}
	return s.Storage.Update(ctx, fn)
}

// A key that another node makes while the others are rewritten is rewritten too,
// and none that it removes comes back.
func TestReencryptIsOvertaken(t *testing.T) {
	store := openStorage(t, t.TempDir())
	other := openRing(t, store, testPolicy())
	removed := signsWith(t, other)
	overtaken := &overtakingStorage{Storage: store, between: func() {
		if err := other.Revoke(t.Context(), removed); err != nil {
			t.Error(err)
		}
		rotate(t, other, false)
	}}
	if n, err := Reencrypt(t.Context(), overtaken, testEncryption(t, 1), StoredKeys()); err != nil || n != 2 {
		t.Fatalf("rewritten %d, %v", n, err)
	}
	for _, r := range storedRecords(t, store) {
		if !r.isEncrypted() || r.ID == removed {
			t.Errorf("stored: %s, encrypted %v", r.ID, r.isEncrypted())
		}
	}
}
