package seal

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

const testIssuer = "https://auth.test"

func openStorage(t *testing.T) storage.Storage {
	t.Helper()
	store, err := bolt.Open(filepath.Join(t.TempDir(), "oauth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// encryption is one whose key differs with digit.
func encryption(t *testing.T, digit string) keys.Encryption {
	t.Helper()
	text := ""
	for range 64 {
		text += digit
	}
	key, err := keys.ParseKeyEncryptionKey(text)
	if err != nil {
		t.Fatal(err)
	}
	made, err := keys.NewAESGCM(key)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// value is the record of the secret.
func value(t *testing.T, store storage.Storage) []byte {
	t.Helper()
	found, err := stored(t.Context(), store, testIssuer)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func put(t *testing.T, store storage.Storage, secret []byte) {
	t.Helper()
	err := store.Update(t.Context(), func(tx storage.Tx) error {
		return tx.Put(kindSecret, testIssuer, secret, time.Time{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The secret is made once, stored encrypted where there is an encryption, and the
// same ever after: what was sealed before can be unsealed.
func TestSecretStaysTheSame(t *testing.T) {
	for name, by := range map[string]keys.Encryption{"in plaintext": nil, "encrypted": encryption(t, "1")} {
		t.Run(name, func(t *testing.T) {
			store := openStorage(t)
			first, err := Open(t.Context(), store, testIssuer, by)
			if err != nil {
				t.Fatal(err)
			}
			if isPlain := len(value(t, store)) == secretLength; isPlain != (by == nil) {
				t.Errorf("stored as %d bytes", len(value(t, store)))
			}
			text, err := first.Seal("test", "what was sealed")
			if err != nil {
				t.Fatal(err)
			}
			second, err := Open(t.Context(), store, testIssuer, by)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if err := second.Unseal("test", text, &got); err != nil || got != "what was sealed" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestSecretInPlaintextIsRewritten(t *testing.T) {
	store := openStorage(t)
	before, err := Open(t.Context(), store, testIssuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := value(t, store)
	if _, err := Open(t.Context(), store, testIssuer, encryption(t, "1")); !errors.Is(err, keys.ErrPlaintext) {
		t.Errorf("not rewritten: %v, want ErrPlaintext", err)
	}
	if n, err := keys.Reencrypt(t.Context(), store, encryption(t, "1"), Stored()); n != 1 || err != nil {
		t.Fatalf("rewritten %d, %v", n, err)
	}
	if bytes.Contains(value(t, store), secret) {
		t.Error("the secret is stored in plaintext")
	}
	after, err := Open(t.Context(), store, testIssuer, encryption(t, "1"))
	if err != nil || before.CSRFToken("a", "b", "c") != after.CSRFToken("a", "b", "c") {
		t.Errorf("it is another secret: %v", err)
	}
}

// A secret that cannot be read is never replaced by a new one: every refresh token
// would get another successor.
func TestSecretThatCannotBeRead(t *testing.T) {
	for _, test := range []struct {
		name   string
		by     keys.Encryption
		damage func([]byte) []byte
		want   error
	}{
		{"no key encryption key", nil, nil, keys.ErrKeyEncryptionKey},
		{"another key encryption key", encryption(t, "2"), nil, keys.ErrKeyEncryptionKey},
		{"cut off", encryption(t, "1"), func(v []byte) []byte { return v[:len(v)-1] }, storage.ErrDamaged},
		{"empty", encryption(t, "1"), func([]byte) []byte { return nil }, storage.ErrDamaged},
		{"nothing in it", encryption(t, "1"), func([]byte) []byte { return []byte(`{"encrypted_secret":""}`) }, storage.ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := openStorage(t)
			if _, err := Open(t.Context(), store, testIssuer, encryption(t, "1")); err != nil {
				t.Fatal(err)
			}
			if test.damage != nil {
				put(t, store, test.damage(value(t, store)))
			}
			before := value(t, store)
			if _, err := Open(t.Context(), store, testIssuer, test.by); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if !bytes.Equal(value(t, store), before) {
				t.Error("the record was changed")
			}
		})
	}
	t.Run("another issuer's", func(t *testing.T) {
		store := openStorage(t)
		if _, err := Open(t.Context(), store, "https://other.test", encryption(t, "1")); err != nil {
			t.Fatal(err)
		}
		others, err := stored(t.Context(), store, "https://other.test")
		if err != nil {
			t.Fatal(err)
		}
		put(t, store, others)
		if _, err := Open(t.Context(), store, testIssuer, encryption(t, "1")); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%v, want ErrDamaged", err)
		}
	})
}
