// Package pending keeps the writes of one transaction in a layer above what is
// stored, until its function has returned without an error. Thus there is
// nothing to undo when it did not.
package pending

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

// Write is a record to be written, or to be deleted when Sealed is nil.
type Write struct {
	Sealed []byte // the record in its envelope
	Expiry int64  // that of the envelope
}

// Writes are the writes of one transaction. The zero value is empty.
type Writes struct {
	byKind map[string]map[string]Write
}

// Put notes a record.
func (w *Writes) Put(kind, key string, value []byte, expiry time.Time) {
	second := envelope.Second(expiry)
	w.note(kind, key, Write{envelope.Seal(kind, key, value, second), second})
}

// Delete notes that a record is to be gone.
func (w *Writes) Delete(kind, key string) { w.note(kind, key, Write{}) }

func (w *Writes) note(kind, key string, write Write) {
	if w.byKind == nil {
		w.byKind = make(map[string]map[string]Write)
	}
	if w.byKind[kind] == nil {
		w.byKind[kind] = make(map[string]Write)
	}
	w.byKind[kind][key] = write
}

// Get returns what is to become of a record, if anything is.
func (w *Writes) Get(kind, key string) (Write, bool) {
	write, ok := w.byKind[kind][key]
	return write, ok
}

// Empty tells whether nothing is to be written.
func (w *Writes) Empty() bool { return len(w.byKind) == 0 }

// Kinds returns the kinds that are written to, sorted.
func (w *Writes) Kinds() []string { return slices.Sorted(maps.Keys(w.byKind)) }

// Each calls fn for each write, by kind and key, until it returns an error.
func (w *Writes) Each(fn func(kind, key string, write Write) error) error {
	for _, kind := range w.Kinds() {
		writes := w.byKind[kind]
		for _, key := range slices.Sorted(maps.Keys(writes)) {
			if err := fn(kind, key, writes[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// first returns the first key that a list of the keys with a prefix, after one of
// them, can have.
func first(prefix, after string) []byte {
	if after < prefix { // the empty one is
		return []byte(prefix)
	}
	return append([]byte(after), 0)
}

// List is the ListAfter of a transaction: it merges the writes with what is stored,
// which the function stored has to show in byte order of the keys, beginning at
// from. An error of show or fn comes back as it is.
func (w *Writes) List(kind, prefix, after string, stored func(from []byte, show func(key string, sealed []byte) error) error, fn func(key string, value []byte) error) error {
	from := first(prefix, after)
	var keys []string
	for key := range w.byKind[kind] {
		if strings.HasPrefix(key, prefix) && key >= string(from) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)

	next := func() error {
		key := keys[0]
		keys = keys[1:]
		if write := w.byKind[kind][key]; write.Sealed != nil {
			return show(kind, key, write.Sealed, fn)
		}
		return nil
	}
	err := stored(from, func(key string, sealed []byte) error {
		for len(keys) > 0 && keys[0] < key {
			if err := next(); err != nil {
				return err
			}
		}
		if len(keys) > 0 && keys[0] == key { // replaced or deleted
			return next()
		}
		return show(kind, key, sealed, fn)
	})
	for err == nil && len(keys) > 0 {
		err = next()
	}
	return err
}

// show hands one record to the function of a List, unless it has expired.
func show(kind, key string, sealed []byte, fn func(string, []byte) error) error {
	value, expiry, err := envelope.Open(kind, key, sealed)
	if err != nil {
		return err
	}
	if envelope.Expired(expiry, time.Now()) {
		return nil
	}
	return fn(key, bytes.Clone(value))
}

// CheckName refuses a kind or a key that cannot be kept everywhere: a kind is
// one or more characters of printable ASCII, a key is one to limit bytes.
func CheckName(kind, key string, limit int) error {
	switch {
	case !ValidKind(kind):
		return fmt.Errorf("storage: the kind %q is empty or has other than printable ASCII characters", kind)
	case key == "":
		return fmt.Errorf("storage: empty key (kind %q)", kind)
	case len(key) > limit:
		return fmt.Errorf("storage: key of %d bytes is longer than %d (kind %q)", len(key), limit, kind)
	}
	return nil
}

// ValidKind tells whether a record can be of that kind.
func ValidKind(kind string) bool {
	for i := range len(kind) {
		if kind[i] < 0x20 || kind[i] > 0x7e {
			return false
		}
	}
	return kind != ""
}
