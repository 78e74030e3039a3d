package record

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// A handle is what a code, a refresh token, a session cookie or a device code
// is: text that means nothing and finds a record. It is 36 bytes in base64url,
// so that every character counts and a handle has one spelling: the millisecond it
// was made, in 6 bytes as in a UUID of version 7 (RFC 9562 §5.7), and 240 random
// bits.
//
// The storage has only the hash. Whoever reads the file cannot use what it
// finds there, and a look-up compares hashes, so its time tells nothing. The
// time goes before the hash, because keys that grow with time make writes to a
// large B+ tree several times cheaper than scattered ones: what is written
// together then lies together.
//
// An earlier form had the hour in 3 bytes in place of the millisecond. Handles of
// that form are good until they expire.
const (
	handleTime    = 6
	handleHour    = 3
	handleEntropy = 30
	handleSize    = handleTime + handleEntropy
)

// HandleLength is the length of a handle in characters.
const HandleLength = handleSize * 4 / 3

// NewHandle makes a handle.
func NewHandle() string {
	random := make([]byte, handleEntropy)
	_, _ = rand.Read(random)
	return HandleOf(time.Now(), random)
}

// HandleOf makes a handle of a time and at least 30 bytes, of which it takes the
// first 30. It is as good a handle as they are random.
func HandleOf(made time.Time, random []byte) string {
	b := appendTime(make([]byte, 0, handleSize), made)
	return base64.RawURLEncoding.EncodeToString(append(b, random[:handleEntropy]...))
}

// appendTime appends a time in 6 bytes, which sort as times do.
func appendTime(b []byte, t time.Time) []byte {
	var full [8]byte
	binary.BigEndian.PutUint64(full[:], uint64(t.UnixMilli()))
	return append(b, full[8-handleTime:]...)
}

// timeText writes the time of a handle so that the text sorts as the bytes do.
// base64 does not; this is shorter than hexadecimal digits.
var timeText = base32.HexEncoding.WithPadding(base32.NoPadding)

// HandleKey is the storage key of the record that a handle finds. It is
// text, because records refer to it. ok is false when the handle cannot be one:
// then nothing needs to be looked up.
func HandleKey(issuer, handle string) (key string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(b)) != len(handle) {
		return "", false
	}
	var made string
	switch len(b) {
	case handleSize:
		made = timeText.EncodeToString(b[:handleTime])
	case handleHour + handleEntropy:
		made = hex.EncodeToString(b[:handleHour])
	default:
		return "", false
	}
	sum := sha256.Sum256([]byte(handle))
	return issuer + " " + made + base64.RawURLEncoding.EncodeToString(sum[:]), true
}

// NewID makes an id of a record that other records and tokens refer to. It is no
// secret, and nobody is let in by it: it begins with the time, for the reason that
// handles do, and has 72 random bits, so that there is one of it.
func NewID() string {
	return timeText.EncodeToString(appendTime(nil, time.Now())) + RandomText(9)
}

// RandomText returns n random bytes in base64url. crypto/rand cannot fail: it
// ends the process before it returns anything predictable.
func RandomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
