package bolt

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// database is an open bbolt file together with what bbolt keeps to itself: the
// file descriptor, and whether bbolt panicked while it held its locks.
type database struct {
	bolt *bbolt.DB
	file *os.File
	path string

	// beginning makes transactions start one after the other (bbolt does so
	// anyway), so that after a panic in one start no second one waits for a
	// lock that nobody gives back.
	beginning sync.Mutex
	stuck     atomic.Bool
}

// initialMmapSize is address space, not memory. As long as the file fits into
// it, a long read (a backup) never makes the writer wait for a new mapping.
func initialMmapSize() int {
	if runtime.GOOS == "windows" { // there the file itself would get this size
		return 0
	}
	return 256 << 20
}

// openBolt opens the bbolt file at path. bbolt panics on some damaged files, and
// keeps the descriptor, and with it the lock, when it does. The caller has called
// panicOnFault.
func openBolt(path string, timeout time.Duration) (db *database, err error) {
	db = &database{path: path}
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, fmt.Sprintf("cannot be read (%v): restore a backup", r))
			unlock(db.file)
			_ = db.file.Close()
		}
		if err != nil {
			db = nil
		}
	}()
	db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         timeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: initialMmapSize(),
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			// Never O_CREATE: a file that vanished since it was examined must
			// not come back as an empty database.
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			db.file = f
			return f, err
		},
		// The free list is written with each commit. bbolt can also rebuild it
		// by a walk through all pages, but does so in a goroutine of its own,
		// where a damaged page would end the process.
		NoFreelistSync: false,
	})
	if err != nil {
		return db, locked(path, err)
	}
	return db, nil
}

// begin starts a bbolt transaction. Errors wrap storage.ErrUnavailable or
// storage.ErrDamaged.
func (db *database) begin(writable bool) (*bbolt.Tx, error) {
	// The writer is alone; only readers can crowd here. bbolt.Begin(true) may
	// not be called under the mutex while another write transaction is open,
	// and never is.
	db.beginning.Lock()
	defer db.beginning.Unlock()
	if db.stuck.Load() {
		return nil, unavailable(db.path, "has failed and needs a restart", nil)
	}
	var b *bbolt.Tx
	err := db.guard(func() (err error) {
		b, err = db.bolt.Begin(writable)
		return err
	})
	return b, err
}

func (db *database) commit(b *bbolt.Tx) error {
	err := db.guard(b.Commit)
	if err != nil && !db.stuck.Load() {
		db.rollback(b) // bbolt has done so in most cases, not in all
	}
	return err
}

func (db *database) rollback(b *bbolt.Tx) {
	_ = db.guard(b.Rollback) // its only error: the transaction is over already
}

// guard runs one call into bbolt that takes bbolt's locks. After a panic those
// are in an unknown state, and bbolt must not be called for them again.
func (db *database) guard(call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			db.stuck.Store(true)
			err = damaged(db.path, fmt.Sprintf("failed inside a transaction (%v): check it and restart", r))
		}
	}()
	if err := call(); err != nil {
		return unavailable(db.path, "failed", err)
	}
	return nil
}

func (db *database) close() error {
	if db.stuck.Load() {
		// bbolt's Close would wait for ever. The mapping stays until the
		// process ends, the lock does not.
		unlock(db.file)
		return db.file.Close()
	}
	return db.bolt.Close()
}

// panicOnFault makes a page that cannot be read from the mapped file (the file
// was cut off, the medium failed) a panic, which can be recovered from, where
// Go would otherwise end the process. It returns the function that undoes it.
func panicOnFault() func() {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}

// readable runs reads of bbolt pages, and turns a panic on a damaged or missing
// page into storage.ErrDamaged. It must not run a caller's function.
func readable(path string, read func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: a page cannot be read: %v", storage.ErrDamaged, path, r)
		}
	}()
	read()
	return nil
}

// touch reads from each page that a slice of the mapped file lies on. Where its
// length is damaged it may end beyond the file, and fault whoever reads it: that
// had better be inside readable.
//
//go:noinline
func touch(b []byte) (read byte) {
	const page = 4 << 10 // the smallest of a machine
	for at := 0; at < len(b); at += page {
		read ^= b[at]
	}
	if len(b) > 0 {
		read ^= b[len(b)-1]
	}
	return read
}
