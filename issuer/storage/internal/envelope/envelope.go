// Package envelope is how the storages wrap a record: with its expiry and a
// checksum, so that a damaged record is recognised and never served.
//
// An envelope is
//
//	format   1 byte   1
//	expiry   8 bytes  Unix seconds, big-endian; 0 means for ever
//	checksum 4 bytes  CRC-32C, big-endian
//	value    the rest
//
// The checksum covers kind and key as well, so that a record which a damaged
// page or index shows under another key is recognised. It guards against faults,
// not against people: who can write the records can write the checksum too.
package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	format     = 1
	expiryAt   = 1
	checksumAt = expiryAt + 8
	headerSize = checksumAt + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal makes the envelope of a record. The value is copied.
func Seal(kind, key string, value []byte, expiry int64) []byte {
	envelope := make([]byte, headerSize, headerSize+len(value))
	envelope[0] = format
	binary.BigEndian.PutUint64(envelope[expiryAt:], uint64(expiry))
	envelope = append(envelope, value...)
	binary.BigEndian.PutUint32(envelope[checksumAt:], checksum(kind, key, envelope))
	return envelope
}

// Open returns what an envelope holds, or an error that wraps
// [storage.ErrDamaged]. The value is a part of the envelope, not a copy.
func Open[K string | []byte](kind string, key K, envelope []byte) (value []byte, expiry int64, err error) {
	switch {
	case len(envelope) < headerSize:
		err = errors.New("record too short")
	case envelope[0] != format:
		err = errors.New("unknown record format")
	case binary.BigEndian.Uint32(envelope[checksumAt:]) != checksum(kind, key, envelope):
		err = errors.New("record checksum differs")
	}
	if err != nil {
		// The key may be a user's name or a handle: it stays out of the message.
		return nil, 0, fmt.Errorf("%w: %w (kind %q)", storage.ErrDamaged, err, kind)
	}
	expiry, _ = Expiry(envelope)
	return envelope[headerSize:], expiry, nil
}

// OneBitOff tells whether an envelope that Open refuses is sound but for one bit of
// it. Then its kind and key are right: CRC-32C tells apart damage of one bit here
// and of one or two there.
func OneBitOff(kind, key string, envelope []byte) bool {
	if len(envelope) < headerSize {
		return false
	}
	off := binary.BigEndian.Uint32(envelope[checksumAt:]) ^ checksum(kind, key, envelope)
	if bits.OnesCount32(off) == 1 {
		return true // in the checksum itself
	}
	// What each bit of the last byte makes of the checksum, then those of the byte
	// before it, and so on: a checksum of this kind is linear.
	var makes [8]uint32
	for bit := range makes {
		makes[bit] = castagnoli[1<<bit]
	}
	for range checksumAt + len(envelope) - headerSize {
		for bit, change := range makes {
			if change == off {
				return true
			}
			makes[bit] = castagnoli[byte(change)] ^ change>>8
		}
	}
	return false
}

// Expiry reads the expiry of an envelope that may be damaged.
func Expiry(envelope []byte) (expiry int64, ok bool) {
	if len(envelope) < headerSize {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(envelope[expiryAt:])), true
}

// checksum covers everything but itself. The lengths of kind and key stand in
// front of them, so that "a"+"bc" and "ab"+"c" differ.
func checksum[K string | []byte](kind string, key K, envelope []byte) uint32 {
	var lengths [8]byte
	binary.BigEndian.PutUint32(lengths[:4], uint32(len(kind)))
	binary.BigEndian.PutUint32(lengths[4:], uint32(len(key)))
	sum := crc32.Update(0, castagnoli, lengths[:])
	sum = crc32.Update(sum, castagnoli, []byte(kind))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	sum = crc32.Update(sum, castagnoli, envelope[:checksumAt])
	return crc32.Update(sum, castagnoli, envelope[headerSize:])
}

// Second is the second at which a record is gone: rounded up, so that it lives
// at least as long as was asked for. Times before 1970 are simply over.
func Second(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	second := t.Unix()
	if t.Nanosecond() > 0 {
		second++
	}
	return max(second, 1)
}

// Time is the inverse of Second.
func Time(second int64) time.Time {
	if second == 0 {
		return time.Time{}
	}
	return time.Unix(second, 0)
}

// Expired tells whether a record with that expiry is gone.
func Expired(expiry int64, now time.Time) bool {
	return expiry != 0 && now.Unix() >= expiry
}
