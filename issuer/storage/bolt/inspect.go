package bolt

import (
	"errors"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

// inspect reads an open file from end to end and returns storage.ErrDamaged where
// a record may be missing: a checksum tells that a record is damaged, but damage to
// its key, or to a page on the way to it, hides the record, and it is as if it had
// never been written. A revoked token would be good again. A record of which only
// the value is damaged is no reason: whoever asks for it is told.
func inspect(db *database) error {
	m, err := readMeta(db.file)
	if err != nil {
		return damaged(db.path, "has a damaged head: restore a backup")
	}
	a := audit{seed: maphash.MakeSeed()}
	pages := inspection{file: db.file, meta: m}
	defer readAhead(db.file, m.pages*m.pageSize)()
	err = pages.whole(a.element)
	var failed *os.PathError
	switch {
	case errors.Is(err, errPage), errors.Is(err, io.EOF):
		return damaged(db.path, "has damaged pages: restore a backup")
	case errors.As(err, &failed):
		return unavailable(db.path, "cannot be read", err)
	case err != nil:
		return err
	case a.balance == 0 && len(a.damaged) == 0:
		return nil
	}
	return a.account(db)
}

// audit holds records against their checksums, and the expiry index against the
// records: what has an expiry stands in both.
type audit struct {
	seed    maphash.Seed
	balance uint64              // the sum over the records less that over the index
	damaged map[recordName]bool // records; true where only their value can be damaged
	scratch []byte
}

type recordName struct{ kind, key string }

func (a *audit) element(bucket string, e element) error {
	kind, isKind := strings.CutPrefix(bucket, kindPrefix)
	switch {
	case isKind:
		a.record(kind, e)
	case bucket == string(expiryBucket):
		a.balance -= maphash.Bytes(a.seed, e.key)
	case bucket != string(metaBucket):
		return errPage // this program gives no such name
	}
	return nil
}

func (a *audit) record(kind string, e element) {
	_, expiry, err := envelope.Open(kind, string(e.key), e.value)
	if err != nil {
		if a.damaged == nil {
			a.damaged = make(map[recordName]bool)
		}
		a.damaged[recordName{kind, string(e.key)}] = envelope.OneBitOff(kind, string(e.key), e.value)
		return
	}
	if expiry != 0 {
		a.scratch = appendIndexKey(a.scratch[:0], expiry, kind, string(e.key))
		a.balance += maphash.Bytes(a.seed, a.scratch)
	}
}

// account looks into what does not agree. A damaged record hides none if the index
// has its name; an entry of the index, once its record could have expired, or is
// there under another expiry.
func (a *audit) account(db *database) error {
	b, err := db.begin(false)
	if err != nil {
		return err
	}
	defer db.rollback(b)
	t := &tx{bolt: b, path: db.path}
	cursor := newCursor(t, expiryBucket)
	now := time.Now()
	entry, err := cursor.seek(nil)
	for ; err == nil && entry != nil; entry, err = cursor.next() {
		expiry, kind, key, ok := parseIndexKey(entry)
		if !ok {
			continue
		}
		if _, found := a.damaged[recordName{kind, key}]; found {
			a.damaged[recordName{kind, key}] = true
		}
		if envelope.Expired(expiry, now) {
			continue
		}
		if _, _, err := t.load(kind, key); errors.Is(err, storage.ErrNotFound) {
			return lost(db.path, kind)
		}
	}
	for name, harmless := range a.damaged {
		if !harmless {
			return lost(db.path, name.kind)
		}
	}
	return err
}

func lost(path, kind string) error {
	return damaged(path, "may have lost records of kind "+kind+": restore a backup")
}
