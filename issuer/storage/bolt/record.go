package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// A record is kept in an envelope:
//
//	format   1 byte   recordFormat
//	expiry   8 bytes  Unix seconds, big-endian; 0 means for ever
//	checksum 4 bytes  CRC-32C, big-endian
//	value    the rest
//
// The checksum covers kind and key as well, so that a record which a damaged
// page shows under another key is recognised. It guards against faults, not
// against people: who can write the file can write the checksum too.
const (
	recordFormat = 1
	headerSize   = 1 + 8 + 4
)

// maxKeySize is bbolt's limit, which the key of the index has to keep.
const maxKeySize = 32768

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errFormat = errors.New("unknown record format")

// encode makes the envelope of a record.
func encode(kind, key string, value []byte, expiry int64) []byte {
	envelope := make([]byte, headerSize, headerSize+len(value))
	envelope[0] = recordFormat
	binary.BigEndian.PutUint64(envelope[1:], uint64(expiry))
	envelope = append(envelope, value...)
	binary.BigEndian.PutUint32(envelope[9:], checksum(kind, key, envelope))
	return envelope
}

// decode opens an envelope. The value is a part of it, not a copy.
func decode(kind, key string, envelope []byte) (value []byte, expiry int64, err error) {
	switch {
	case len(envelope) < headerSize:
		err = errors.New("record too short")
	case envelope[0] != recordFormat:
		err = errFormat
	case binary.BigEndian.Uint32(envelope[9:]) != checksum(kind, key, envelope):
		err = errors.New("record checksum differs")
	}
	if err != nil {
		// The key may be a user's name or a handle: it stays out of the message.
		return nil, 0, fmt.Errorf("%w: %w (kind %q)", storage.ErrDamaged, err, kind)
	}
	return envelope[headerSize:], int64(binary.BigEndian.Uint64(envelope[1:])), nil
}

// checksum covers everything but itself. The lengths of kind and key stand in
// front of them, so that "a"+"bc" and "ab"+"c" differ.
func checksum(kind, key string, envelope []byte) uint32 {
	var lengths [8]byte
	binary.BigEndian.PutUint32(lengths[:4], uint32(len(kind)))
	binary.BigEndian.PutUint32(lengths[4:], uint32(len(key)))
	sum := crc32.Update(0, castagnoli, lengths[:])
	sum = crc32.Update(sum, castagnoli, []byte(kind))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	sum = crc32.Update(sum, castagnoli, envelope[:9])
	return crc32.Update(sum, castagnoli, envelope[headerSize:])
}

// expirySecond is the second at which a record is gone: rounded up, so that it
// lives at least as long as was asked for. Times before 1970 are simply over.
func expirySecond(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	second := t.Unix()
	if t.Nanosecond() > 0 {
		second++
	}
	return max(second, 1)
}

func expired(expiry int64, now time.Time) bool {
	return expiry != 0 && now.Unix() >= expiry
}

// indexKey is the key of a record in the expiry index: it sorts by time. A kind
// has no zero byte, so the parts can be told apart.
func indexKey(expiry int64, kind, key string) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(kind)+1+len(key)), uint64(expiry))
	k = append(k, kind...)
	k = append(k, 0)
	return append(k, key...)
}

func parseIndexKey(k []byte) (expiry int64, kind, key string, ok bool) {
	if len(k) < 8 {
		return 0, "", "", false
	}
	before, after, ok := bytes.Cut(k[8:], []byte{0})
	expiry = int64(binary.BigEndian.Uint64(k))
	return expiry, string(before), string(after), ok && expiry > 0
}

// validName refuses what bbolt or the index cannot hold, before the transaction
// has to fail for it.
func validName(kind, key string) error {
	switch {
	case kind == "" || bytes.IndexByte([]byte(kind), 0) >= 0:
		return fmt.Errorf("storage/bolt: the kind %q is empty or has a zero byte", kind)
	case key == "":
		return fmt.Errorf("storage/bolt: empty key (kind %q)", kind)
	case 8+len(kind)+1+len(key) > maxKeySize:
		return fmt.Errorf("storage/bolt: key of %d bytes is too long (kind %q)", len(key), kind)
	}
	return nil
}
