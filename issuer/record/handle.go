package record

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// A handle is what a code, a refresh token, a session cookie or a device code
// is: text that means nothing and finds a record. It is 33 bytes in base64url,
// so that every character counts and a handle has one spelling: the hour it was
// made, in 3 bytes, and 240 random bits.
//
// The storage has only the hash. Whoever reads the file cannot use what it
// finds there, and a look-up compares hashes, so its time tells nothing. The
// hour goes before the hash, because keys that grow with time make writes to a
// large B+ tree several times cheaper than scattered ones.
const (
	handleHour = 3
	handleSize = 33
)

// HandleLength is the length of a handle in characters.
const HandleLength = handleSize * 4 / 3

// NewHandle makes a handle.
func NewHandle() string {
	random := make([]byte, handleSize-handleHour)
	_, _ = rand.Read(random)
	return HandleOf(time.Now(), random)
}

// HandleOf makes a handle of a time and at least 30 bytes, of which it takes the
// first 30. It is as good a handle as they are random.
func HandleOf(made time.Time, random []byte) string {
	var b [handleSize]byte
	putHour(b[:handleHour], made)
	if copy(b[handleHour:], random) < handleSize-handleHour {
		panic("a handle of too few random bytes")
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func putHour(b []byte, t time.Time) {
	var full [8]byte
	binary.BigEndian.PutUint64(full[:], uint64(t.Unix()/3600))
	copy(b, full[8-handleHour:])
}

// HandleKey is the storage key of the record that a handle finds. It is
// text, because records refer to it. ok is false when the handle cannot be one:
// then nothing needs to be looked up.
func HandleKey(issuer, handle string) (key string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || len(b) != handleSize || base64.RawURLEncoding.EncodedLen(handleSize) != len(handle) {
		return "", false
	}
	sum := sha256.Sum256([]byte(handle))
	return issuer + " " + hex.EncodeToString(b[:handleHour]) + base64.RawURLEncoding.EncodeToString(sum[:]), true
}

// RandomText returns n random bytes in base64url. crypto/rand cannot fail: it
// ends the process before it returns anything predictable.
func RandomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
