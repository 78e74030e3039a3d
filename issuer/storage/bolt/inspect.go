package bolt

import (
	"errors"
	"hash/maphash"
	"io"
	"maps"
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
	err = pages.whole(a.bucket)
	var failed *os.PathError
	switch {
	case errors.Is(err, errPage), errors.Is(err, io.EOF):
		return damaged(db.path, "has damaged pages: restore a backup")
	case errors.As(err, &failed):
		return unavailable(db.path, "cannot be read", err)
	case err != nil:
		return err
	}
	balance, suspects := a.sum()
	if balance == 0 && len(suspects) == 0 {
		return nil
	}
	return suspects.account(db)
}

// audit holds records against their checksums, and the expiry index against the
// records: what has an expiry stands in both.
type audit struct {
	seed  maphash.Seed
	parts []*auditPart
}

// auditPart is an audit of one bucket.
type auditPart struct {
	seed     maphash.Seed
	balance  uint64 // the sum over the records less that over the index
	suspects suspects
	scratch  []byte
}

// suspects are the records whose checksum differs; true where only their value can
// be damaged.
type suspects map[recordName]bool

type recordName struct{ kind, key string }

// bucket begins with a bucket, and returns what is to be called for its elements.
func (a *audit) bucket(name string) (visit func(element) error, err error) {
	part := &auditPart{seed: a.seed, suspects: make(suspects)}
	a.parts = append(a.parts, part)
	kind, isKind := strings.CutPrefix(name, kindPrefix)
	switch {
	case isKind:
		return func(e element) error { part.record(kind, e); return nil }, nil
	case name == string(expiryBucket):
		return func(e element) error { part.balance -= maphash.Bytes(part.seed, e.key); return nil }, nil
	case name == string(metaBucket):
		return func(element) error { return nil }, nil
	}
	return nil, errPage // this program gives no such name
}

func (p *auditPart) record(kind string, e element) {
	_, expiry, err := envelope.Open(kind, e.key, e.value)
	if err != nil {
		p.suspects[recordName{kind, string(e.key)}] = envelope.OneBitOff(kind, string(e.key), e.value)
		return
	}
	if expiry != 0 {
		p.scratch = appendIndexKey(p.scratch[:0], expiry, kind, e.key)
		p.balance += maphash.Bytes(p.seed, p.scratch)
	}
}

// sum is what has come of all parts.
func (a *audit) sum() (balance uint64, all suspects) {
	all = make(suspects)
	for _, part := range a.parts {
		balance += part.balance
		maps.Copy(all, part.suspects)
	}
	return balance, all
}

// account looks into what does not agree, and returns nil where no record can be
// missing. A damaged record is not, if the index has its name: it is there, and
// whoever asks for it is refused. Nor is what an entry of the index names, if it has
// expired, or is there under another expiry.
func (s suspects) account(db *database) error {
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
		if _, found := s[recordName{kind, key}]; found {
			s[recordName{kind, key}] = true
		}
		if envelope.Expired(expiry, now) {
			continue
		}
		if _, _, err := t.load(kind, key); errors.Is(err, storage.ErrNotFound) {
			return lost(db.path, kind)
		}
	}
	for name, harmless := range s {
		if !harmless {
			return lost(db.path, name.kind)
		}
	}
	return err
}

func lost(path, kind string) error {
	return damaged(path, "may have lost records of kind "+kind+": restore a backup")
}
