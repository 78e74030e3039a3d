package record

import (
	"errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Part says which part of a list is wanted: of the records whose key, without the
// prefix of the list, comes after After in byte order, the first Limit ones.
type Part struct {
	After string // empty: from the beginning
	Limit int    // one or more
}

// List calls visit with the records of a part of a list, in the order of their
// keys, and tells where the next part begins: next is its After, and empty where
// nothing is left. visit gets the key without the prefix.
//
// No more than the part is read, however long the list is.
func List(tx storage.Tx, kind, prefix string, part Part, visit func(key string, value []byte) error) (next string, err error) {
	full := errors.New("the part is full")
	count, last, after := 0, "", ""
	if part.After != "" {
		after = prefix + part.After
	}
	err = tx.ListAfter(kind, prefix, after, func(key string, value []byte) error {
		key = key[len(prefix):]
		if count == part.Limit {
			next = last
			return full
		}
		count, last = count+1, key
		return visit(key, value)
	})
	if errors.Is(err, full) {
		err = nil
	}
	return next, err
}
