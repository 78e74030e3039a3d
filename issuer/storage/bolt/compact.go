package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// A bbolt file never shrinks, and the list of its free pages is written with
// each commit. Compaction pays when more than half of a file of some size is free.
const (
	compactFrom  = 32 << 20 // bytes
	compactBatch = 8 << 20  // bytes a transaction while copying
)

// compacted returns a handle to the file at path: db itself, or, where it pays,
// one to a compacted copy that has taken its place. Whatever fails on the way,
// db is as good as before.
func compacted(db *database, path string, timeout time.Duration) *database {
	if !compactionPays(db) {
		return db
	}
	removeLeftovers(path) // the lock is ours: nobody else is at work here
	temporary, err := createTemporary(path)
	if err != nil {
		return db
	}
	defer os.Remove(temporary)
	copied, err := copyInto(temporary, db, timeout)
	if err != nil {
		return db
	}
	if err := os.Rename(temporary, path); err != nil {
		_ = copied.close()
		return db
	}
	_ = syncDirectory(filepath.Dir(path)) // either name leads to the same records
	copied.path = path
	_ = db.close()
	return copied
}

func compactionPays(db *database) bool {
	info, err := db.file.Stat()
	if err != nil || info.Size() < compactFrom {
		return false
	}
	free := int64(db.bolt.Stats().FreePageN) * int64(db.bolt.Info().PageSize)
	return free > info.Size()/2
}

// copyInto copies all records and holds the lock of the copy from the start.
func copyInto(temporary string, db *database, timeout time.Duration) (*database, error) {
	copied, err := openBolt(temporary, timeout)
	if err != nil {
		return nil, err
	}
	err = copied.guard(func() error { return bbolt.Compact(copied.bolt, db.bolt, compactBatch) })
	if err = errors.Join(err, copied.file.Sync()); err != nil {
		_ = copied.close()
		return nil, err
	}
	return copied, nil
}
