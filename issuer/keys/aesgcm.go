package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// KeyEncryptionKey is 32 random bytes that encrypt the keys of issuers. It shows
// itself to nobody: printed or logged it is its id.
type KeyEncryptionKey struct{ secret [kekLength]byte }

const (
	kekLength = 32

	// aesgcmVersion is the first byte of what AESGCM returns. Then come the id of
	// the key encryption key, the nonce, and the ciphertext with its tag.
	aesgcmVersion = 1
	kekIDLength   = 8
	aesgcmHeader  = 1 + kekIDLength
)

// errKeyEncryptionKeyForm does not quote what was given: it may be a key.
var errKeyEncryptionKeyForm = errors.New("a key encryption key is 32 bytes as base64 or as hexadecimal digits; make one with: openssl rand -base64 32")

// ParseKeyEncryptionKey reads a key of 32 bytes, as base64 (with or without
// padding, of either alphabet) or as 64 hexadecimal digits. Space around it, such
// as the end of a file's line, is left out. The error never quotes the text.
func ParseKeyEncryptionKey(text string) (KeyEncryptionKey, error) {
	text = strings.TrimSpace(text)
	var key KeyEncryptionKey
	decoded, err := decodeKeyEncryptionKey(text)
	if err != nil || len(decoded) != kekLength {
		return key, errKeyEncryptionKeyForm
	}
	copy(key.secret[:], decoded)
	if key == (KeyEncryptionKey{}) {
		return key, errors.New("a key encryption key of nothing but zeros protects nothing; make one with: openssl rand -base64 32")
	}
	return key, nil
}

func decodeKeyEncryptionKey(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(kekLength) { // as base64 it would be 48 bytes
		return hex.DecodeString(text)
	}
	if strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, errKeyEncryptionKeyForm
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
	return base64.RawStdEncoding.Strict().DecodeString(text)
}

// derive makes a key, or an id, for one purpose.
func (k KeyEncryptionKey) derive(purpose string, length int) []byte {
	derived, err := hkdf.Key(sha256.New, k.secret[:], nil, purpose, length)
	if err != nil {
		panic(err) // only for more than 255 hashes of length
	}
	return derived
}

// ID tells keys apart and tells nothing of them: 16 hexadecimal digits.
func (k KeyEncryptionKey) ID() string {
	return hex.EncodeToString(k.derive("key encryption key id", kekIDLength))
}

// String is the id, so that no message shows a key.
func (k KeyEncryptionKey) String() string { return k.ID() }

// GoString is String, for %#v.
func (k KeyEncryptionKey) GoString() string { return k.ID() }

// Format is String for every verb, those of numbers included.
func (k KeyEncryptionKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.ID())) }

// LogValue is String.
func (k KeyEncryptionKey) LogValue() slog.Value { return slog.StringValue(k.ID()) }

// AESGCM is the Encryption with AES-256-GCM under key encryption keys in memory.
type AESGCM struct {
	current string // the id of the one that encrypts
	boxes   map[string]cipher.AEAD
	ids     []string
}

// NewAESGCM returns an Encryption that encrypts with the first key and decrypts
// with all of them, so that a key can be replaced. It refuses a key that is given
// twice: whoever does so has not replaced what they meant to replace.
func NewAESGCM(first KeyEncryptionKey, others ...KeyEncryptionKey) (*AESGCM, error) {
	e := &AESGCM{current: first.ID(), boxes: make(map[string]cipher.AEAD, 1+len(others))}
	for _, key := range append([]KeyEncryptionKey{first}, others...) {
		id := key.ID()
		if e.boxes[id] != nil {
			return nil, fmt.Errorf("the key encryption key with the id %s is given twice", id)
		}
		block, err := aes.NewCipher(key.derive("key encryption, AES-256-GCM", kekLength))
		if err != nil {
			return nil, err
		}
		if e.boxes[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
		e.ids = append(e.ids, id)
	}
	return e, nil
}

// Encrypt implements Encryption. It does not fail.
func (e *AESGCM) Encrypt(_ context.Context, plain []byte, name string) ([]byte, error) {
	id, err := hex.DecodeString(e.current)
	if err != nil {
		return nil, err
	}
	header := append([]byte{aesgcmVersion}, id...)
	// The box makes its nonces itself (cipher.NewGCMWithRandomNonce).
	return e.boxes[e.current].Seal(header, nil, plain, additionalData(header, name)), nil //nolint:gosec // G407: see above
}

// Decrypt implements Encryption.
func (e *AESGCM) Decrypt(_ context.Context, sealed []byte, name string) (plain []byte, current bool, err error) {
	if len(sealed) < aesgcmHeader || sealed[0] != aesgcmVersion {
		return nil, false, fmt.Errorf("%w: %s is not encrypted in a way that is known here", storage.ErrDamaged, name)
	}
	header := sealed[:aesgcmHeader]
	id := hex.EncodeToString(header[1:])
	box := e.boxes[id]
	if box == nil {
		return nil, false, fmt.Errorf("%w: its id is %s, and those given are %s", ErrKeyEncryptionKey, id, strings.Join(e.ids, ", "))
	}
	plain, err = box.Open(nil, nil, sealed[aesgcmHeader:], additionalData(header, name))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %s was changed after it was encrypted, or encrypted for another record", storage.ErrDamaged, name)
	}
	return plain, id == e.current, nil
}

// additionalData is what is authenticated and not encrypted. The header has a
// fixed length.
func additionalData(header []byte, name string) []byte {
	return append(append([]byte(nil), header...), name...)
}

var _ Encryption = (*AESGCM)(nil)
