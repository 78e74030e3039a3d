package bolt

import (
	"bytes"
	"encoding/binary"
)

// maxKeySize is bbolt's limit, which the key of the index has to keep: eight
// bytes, the kind, a zero byte and the key of the record.
const maxKeySize = 32768

// indexKey is the key of a record in the expiry index: it sorts by time. A kind
// has no zero byte, so the parts can be told apart.
func indexKey(expiry int64, kind, key string) []byte {
	return appendIndexKey(make([]byte, 0, 8+len(kind)+1+len(key)), expiry, kind, key)
}

func appendIndexKey[K string | []byte](to []byte, expiry int64, kind string, key K) []byte {
	to = binary.BigEndian.AppendUint64(to, uint64(expiry))
	to = append(to, kind...)
	to = append(to, 0)
	return append(to, key...)
}

func parseIndexKey(k []byte) (expiry int64, kind, key string, ok bool) {
	if len(k) < 8 {
		return 0, "", "", false
	}
	before, after, ok := bytes.Cut(k[8:], []byte{0})
	expiry = int64(binary.BigEndian.Uint64(k))
	return expiry, string(before), string(after), ok && expiry > 0
}
