package bolt

import (
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

// schema is the version of the layout that this program writes. A program opens
// files of its own schema; a newer one would be misread. There is no older one.
const schema = 1

// magic tells our files from those of the many other programs that use bbolt.
const magic = "caddy-oauth-gate storage"

var (
	metaBucket   = []byte("storage")
	expiryBucket = []byte("expiry")
	magicKey     = []byte("magic")
	schemaKey    = []byte("schema")
	probeKey     = []byte("probe")
)

const kindPrefix = "kind:"

func kindBucket(kind string) []byte { return []byte(kindPrefix + kind) }

// writeSchema makes the fixed buckets of a new file.
func writeSchema(b *bbolt.Tx) error {
	meta, err := b.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	if err := meta.Put(magicKey, []byte(magic)); err != nil {
		return err
	}
	if err := meta.Put(schemaKey, []byte(strconv.Itoa(schema))); err != nil {
		return err
	}
	_, err = b.CreateBucket(expiryBucket)
	return err
}

// checkSchema refuses a file that another program or a newer version wrote.
func checkSchema(db *database) error {
	b, err := db.begin(false)
	if err != nil {
		return err
	}
	defer db.rollback(b)
	var refusal error
	err = readable(db.path, func() { refusal = readSchema(b, db.path) })
	if err != nil {
		return damaged(db.path, "has an unreadable root page: restore a backup")
	}
	return refusal
}

func readSchema(b *bbolt.Tx, path string) error {
	meta := b.Bucket(metaBucket)
	if meta == nil || string(meta.Get(magicKey)) != magic {
		return damaged(path, "is a database of another program: name another file")
	}
	switch version, err := strconv.Atoi(string(meta.Get(schemaKey))); {
	case err != nil || version < 1 || b.Bucket(expiryBucket) == nil:
		return damaged(path, "has a damaged head: restore a backup")
	case version > schema:
		return damaged(path, fmt.Sprintf("has schema %d, this program knows up to %d: run the newer program, or restore a backup of before the upgrade", version, schema))
	}
	return nil
}
