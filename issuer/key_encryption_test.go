package issuer

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/seal"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// keyEncryption encrypts with the first of the keys of these digits.
func keyEncryption(t *testing.T, first string, others ...string) keys.Encryption {
	t.Helper()
	var parsed []keys.KeyEncryptionKey
	for _, digit := range append([]string{first}, others...) {
		key, err := keys.ParseKeyEncryptionKey(strings.Repeat(digit, 64))
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, key)
	}
	made, err := keys.NewAESGCM(parsed[0], parsed[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// secretRecords are the records of keys and secrets.
func secretRecords(t *testing.T, store storage.Storage) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := store.View(t.Context(), func(tx storage.Tx) error {
		for _, kind := range []string{keys.Kind, seal.Stored().Kind} {
			err := tx.List(kind, "", func(key string, value []byte) error {
				all[keys.RecordName(kind, key)] = bytes.Clone(value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// restartWith makes the issuer anew on a State with that encryption.
func (f *fixture) restartWith(encryption keys.Encryption) (rewritten int, err error) {
	f.t.Helper()
	state := NewState(f.store)
	if rewritten, err = state.UseEncryption(f.t.Context(), encryption); err != nil {
		return 0, err
	}
	f.Issuer, err = New(context.Background(), f.config, state)
	return rewritten, err
}

// TestEncryptionChangesNothingElse: an issuer whose keys are encrypted, and whose
// key encryption key is replaced, is the issuer that it was.
func TestEncryptionChangesNothingElse(t *testing.T) {
	f := newFixture(t)
	token, csrf := f.issue(asSvc, ""), f.realm.seal.CSRFToken("a", "b", "c")
	for _, step := range []struct {
		name      string
		by        keys.Encryption
		rewritten int
	}{
		{"encrypted", keyEncryption(t, "1"), 2}, // the key and the secret
		{"once more", keyEncryption(t, "1"), 0},
		{"a second one is known", keyEncryption(t, "1", "2"), 0},
		{"and used", keyEncryption(t, "2", "1"), 2},
		{"the first one is not needed any more", keyEncryption(t, "2"), 0},
	} {
		rewritten, err := f.restartWith(step.by)
		if err != nil || rewritten != step.rewritten {
			t.Fatalf("%s: rewritten %d, want %d; %v", step.name, rewritten, step.rewritten, err)
		}
		if _, err := f.Introspect(t.Context(), token); err != nil {
			t.Errorf("%s: a token of before: %v", step.name, err)
		}
		if f.realm.seal.CSRFToken("a", "b", "c") != csrf {
			t.Errorf("%s: it has another secret", step.name)
		}
		if _, err := f.Introspect(t.Context(), f.issue(asSvc, "")); err != nil {
			t.Errorf("%s: a new token: %v", step.name, err)
		}
	}
}

// TestWrongEncryptionChangesNothing: neither a new start nor a new configuration
// of a running State gets by without the right key encryption key, and what was in
// force stays in force.
func TestWrongEncryptionChangesNothing(t *testing.T) {
	f := newFixture(t)
	if _, err := f.restartWith(keyEncryption(t, "1")); err != nil {
		t.Fatal(err)
	}
	token, before := f.issue(asSvc, ""), secretRecords(t, f.store)
	for name, wrong := range map[string]keys.Encryption{"none": nil, "another": keyEncryption(t, "2")} {
		for how, use := range map[string]func() error{
			"a new start":         func() error { _, err := NewState(f.store).UseEncryption(t.Context(), wrong); return err },
			"a new configuration": func() error { _, err := f.state.UseEncryption(t.Context(), wrong); return err },
		} {
			err := use()
			if !errors.Is(err, keys.ErrKeyEncryptionKey) || !strings.Contains(err.Error(), f.config.URL) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
	if !maps.EqualFunc(secretRecords(t, f.store), before, bytes.Equal) {
		t.Error("the storage was changed")
	}
	if _, err := f.Introspect(t.Context(), token); err != nil {
		t.Error("a token of before:", err)
	}
	if err := f.RotateKeys(t.Context(), true); err != nil {
		t.Error("what was in force is not:", err)
	}
	// An issuer that was never told of any encryption, too.
	if _, err := New(t.Context(), f.config, NewState(f.store)); !errors.Is(err, keys.ErrKeyEncryptionKey) {
		t.Errorf("New: %v", err)
	}
}

// TestEncryptionOfARunningState: a reload may bring another encryption.
func TestEncryptionOfARunningState(t *testing.T) {
	f := newFixture(t)
	token := f.issue(asSvc, "")
	if n, err := f.state.UseEncryption(t.Context(), keyEncryption(t, "1")); n != 2 || err != nil {
		t.Fatalf("rewritten %d, %v", n, err)
	}
	if err := f.state.upkeep(t.Context()); err != nil {
		t.Error("upkeep:", err)
	}
	if err := f.RotateKeys(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Introspect(t.Context(), token); err != nil {
		t.Error("a token of before:", err)
	}
	for _, key := range f.Keys() {
		if !key.Encrypted {
			t.Errorf("%s is in plaintext", key.ID)
		}
	}
}
