package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// testKEK is a key encryption key that differs with n.
func testKEK(t testing.TB, n byte) KeyEncryptionKey {
	t.Helper()
	key, err := ParseKeyEncryptionKey(hex.EncodeToString(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// testEncryption encrypts with the first of these keys.
func testEncryption(t testing.TB, first byte, others ...byte) *AESGCM {
	t.Helper()
	var more []KeyEncryptionKey
	for _, n := range others {
		more = append(more, testKEK(t, n))
	}
	e, err := NewAESGCM(testKEK(t, first), more...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestParseKeyEncryptionKey(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = 0xfb ^ byte(i) // in base64 it has characters of both alphabets
	}
	want := KeyEncryptionKey{secret: [32]byte(raw)}
	padded := base64.StdEncoding.EncodeToString(raw)
	for name, text := range map[string]string{
		"openssl rand -base64 32":      padded + "\n",
		"a file of Windows":            padded + "\r\n",
		"base64 without padding":       strings.TrimRight(padded, "="),
		"base64url":                    base64.URLEncoding.EncodeToString(raw),
		"base64url without padding":    base64.RawURLEncoding.EncodeToString(raw),
		"openssl rand -hex 32":         hex.EncodeToString(raw) + "\n",
		"hexadecimal, in upper case":   strings.ToUpper(hex.EncodeToString(raw)),
		"hexadecimal, space around it": "  " + hex.EncodeToString(raw) + "\t",
	} {
		if got, err := ParseKeyEncryptionKey(text); err != nil || got != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"31 bytes":           base64.StdEncoding.EncodeToString(raw[:31]),
		"33 bytes":           base64.StdEncoding.EncodeToString(append(raw, 1)),
		"31 bytes in hex":    hex.EncodeToString(raw[:31]),
		"33 bytes in hex":    hex.EncodeToString(append(raw, 1)),
		"48 bytes of base64": strings.Repeat("zz+/", 16),
		"a passphrase":       "correct horse battery staple, correct horse",
		"two lines":          padded[:20] + "\n" + padded[20:],
		"two keys":           padded + "\n" + padded,
		"bits left over":     strings.TrimRight(padded, "=")[:42] + "B",
		"the raw bytes":      string(raw),
		"zeros":              strings.Repeat("0", 64),
		"a placeholder":      "{file./run/secrets/kek}",
	} {
		_, err := ParseKeyEncryptionKey(text)
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

// However a key gets into a message, it is not there.
func TestKeyEncryptionKeyShowsItself(t *testing.T) {
	key := testKEK(t, 0xa7)
	encryption := testEncryption(t, 0xa7)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "kek", key, "pointer", &key)
	marshalled, err := json.Marshal(map[string]any{"kek": key, "encryption": encryption})
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + string(marshalled)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%X"} {
		shown += fmt.Sprintf(verb+" "+verb, key, struct{ K KeyEncryptionKey }{key})
	}
	for _, secret := range []string{"a7a7a7", "A7A7A7", "167 167", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xa7}, 32))[:12]} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is in %s", secret, shown)
		}
	}
	if !strings.Contains(shown, key.ID()) {
		t.Errorf("the id %s is not in %s", key.ID(), shown)
	}
}

func TestAESGCM(t *testing.T) {
	ctx, plain := t.Context(), []byte("a private key")
	one := testEncryption(t, 1)
	sealed, err := one.Encrypt(ctx, plain, "key https://a.test k1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := one.Encrypt(ctx, plain, "key https://a.test k1")
	if err != nil || bytes.Equal(sealed, again) {
		t.Error("two encryptions are the same: the nonce is not random")
	}
	if bytes.Contains(sealed, plain) {
		t.Error("the plaintext is there")
	}
	changed := func(i int) []byte {
		c := bytes.Clone(sealed)
		c[(i+len(c))%len(c)] ^= 1
		return c
	}
	const name = "key https://a.test k1"
	for _, test := range []struct {
		what    string
		by      Encryption
		sealed  []byte
		name    string
		current bool
		err     error
	}{
		{"the key that encrypts", one, sealed, name, true, nil},
		{"the first of two", testEncryption(t, 1, 2), sealed, name, true, nil},
		{"the second of two: to be encrypted anew", testEncryption(t, 2, 1), sealed, name, false, nil},
		{"another key", testEncryption(t, 2), sealed, name, false, ErrKeyEncryptionKey},
		{"two other keys", testEncryption(t, 2, 3), sealed, name, false, ErrKeyEncryptionKey},
		{"another kid", one, sealed, "key https://a.test k2", false, storage.ErrDamaged},
		{"another issuer", one, sealed, "key https://b.test k1", false, storage.ErrDamaged},
		{"another kind", one, sealed, "secret https://a.test k1", false, storage.ErrDamaged},
		{"another version", one, changed(0), name, false, storage.ErrDamaged},
		{"another key id", one, changed(1), name, false, ErrKeyEncryptionKey},
		{"another nonce", one, changed(aesgcmHeader), name, false, storage.ErrDamaged},
		{"another ciphertext", one, changed(aesgcmHeader + 12), name, false, storage.ErrDamaged},
		{"another tag", one, changed(-1), name, false, storage.ErrDamaged},
		{"cut off", one, sealed[:len(sealed)-1], name, false, storage.ErrDamaged},
		{"the header alone", one, sealed[:aesgcmHeader], name, false, storage.ErrDamaged},
		{"less than the header", one, sealed[:aesgcmHeader-1], name, false, storage.ErrDamaged},
		{"nothing", one, nil, name, false, storage.ErrDamaged},
	} {
		got, current, err := test.by.Decrypt(context.Background(), test.sealed, test.name)
		if !errors.Is(err, test.err) || current != test.current {
			t.Errorf("%s: current %v, %v; want %v, %v", test.what, current, err, test.current, test.err)
		}
		if want := err == nil; want != bytes.Equal(got, plain) {
			t.Errorf("%s: %q", test.what, got)
		}
	}
}

func TestAESGCMRefusesAKeyTwice(t *testing.T) {
	if _, err := NewAESGCM(testKEK(t, 1), testKEK(t, 2), testKEK(t, 1)); err == nil {
		t.Error("a key that is given twice is accepted")
	}
}
