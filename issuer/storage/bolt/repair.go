package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// retryInterval is how often the writer tries to get out of a failure.
const retryInterval = time.Second

// failure is the state in which no write is accepted.
type failure struct {
	err error
	// unsynced: a sync failed, or may have. The kernel then drops the dirty
	// pages but goes on to show them: what is read is not what is on the disk,
	// and a later sync that succeeds proves nothing about them.
	unsynced bool
}

// errMoved: the path names another file, or none, than the one that is open.
var errMoved = errors.New("the file was moved, removed or replaced while it was open: put it back, or restart")

// errShrunk: reading on would fault.
var errShrunk = errors.New("the file was cut off while it was open: restore a backup and restart")

// degrade stops the acceptance of writes.
func (s *Storage) degrade(cause error) {
	f := &failure{err: cause, unsynced: !failedBeforeSync(cause)}
	if !errors.Is(cause, storage.ErrUnavailable) {
		f.err = fmt.Errorf("%w: %w", storage.ErrUnavailable, cause)
	}
	if old := s.failure.Load(); old != nil && old.unsynced {
		f.unsynced = true
	}
	s.failure.Store(f)
}

// failedBeforeSync recognises the failures that leave the file as it was: no
// page of it, old or new, is in doubt.
func failedBeforeSync(err error) bool {
	var path *fs.PathError
	return errors.Is(err, errMoved) ||
		errors.As(err, &path) && path.Op == "write" ||
		strings.Contains(err.Error(), "file resize error") // bbolt keeps no cause here
}

// beginWrite starts a write transaction on the file that the path names. bbolt
// would also write to a file that nobody will ever open again.
func (s *Storage) beginWrite() (*bbolt.Tx, error) {
	if err := s.inPlace(); err != nil {
		return nil, err
	}
	return s.db.begin(true)
}

func (s *Storage) inPlace() error {
	if s.db == nil {
		return nil // a reopen failed; there is nothing to compare with
	}
	open, err := s.db.file.Stat()
	if err != nil {
		return unavailable(s.path, "failed", err)
	}
	named, err := os.Stat(s.path)
	if err != nil || !os.SameFile(open, named) {
		return unavailable(s.path, "is gone", errMoved)
	}
	if needed, err := usedSize(s.db.file); err != nil || open.Size() < needed {
		return unavailable(s.path, "is too short", errShrunk)
	}
	return nil
}

// repair tries to accept writes again: put every page on the disk anew if a
// sync failed, reopen the file, check it, and prove it with a commit. Reads go
// on, but for the instant of the reopening.
func (s *Storage) repair() {
	if err := s.tryRepair(); err != nil {
		s.degrade(err)
		return
	}
	s.failure.Store(nil)
}

func (s *Storage) tryRepair() error {
	if s.db != nil && s.db.stuck.Load() {
		return s.Health()
	}
	if err := s.inPlace(); err != nil {
		return err
	}
	// Before the old handle is given up: if the file cannot even be opened
	// for writing, reads had better go on with what they have.
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return unavailable(s.path, "cannot be opened", err)
	}
	defer f.Close()
	unsynced := s.failure.Load().unsynced
	if unsynced {
		if err := rewrite(f); err != nil {
			return unavailable(s.path, "cannot be written", err)
		}
	}
	if err := s.reopen(); err != nil {
		return err
	}
	if unsynced {
		if err := s.Check(context.Background(), nil); err != nil {
			return err
		}
		s.failure.Store(&failure{err: s.Health()})
	}
	return s.db.probe()
}

// rewrite writes each page of the file over itself and syncs: what reads show is
// then what is on the disk. The meta pages come last, since they make the others
// count. The contents do not change, so an interruption does no harm.
func rewrite(f *os.File) error {
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	const metas = 2
	start, end := metas*m.pageSize, m.pages*m.pageSize
	if err := rewriteRange(f, start, end); err != nil {
		return err
	}
	return rewriteRange(f, 0, start)
}

func rewriteRange(f *os.File, start, end int64) error {
	buffer := make([]byte, 1<<20)
	for at := start; at < end; at += int64(len(buffer)) {
		part := buffer[:min(int64(len(buffer)), end-at)]
		if _, err := f.ReadAt(part, at); err != nil && err != io.EOF {
			return err
		}
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// reopen replaces the handle. The lock is per handle: the old one has to go first.
func (s *Storage) reopen() error {
	s.handle.Lock()
	defer s.handle.Unlock()
	if s.db != nil {
		_ = s.db.close() // what it says about the old handle helps nobody
		s.db = nil
	}
	db, err := openExisting(s.path, s.options.Timeout)
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

// probe commits a small change.
func (db *database) probe() error {
	b, err := db.begin(true)
	if err != nil {
		return err
	}
	meta := b.Bucket(metaBucket)
	n, err := meta.NextSequence()
	if err == nil {
		err = meta.Put(probeKey, fmt.Appendf(nil, "%d", n))
	}
	if err != nil {
		db.rollback(b)
		return unavailable(db.path, "failed", err)
	}
	return db.commit(b)
}

// retry is the timer between two repairs; it is stopped while all is well.
type retry struct{ timer *time.Timer }

func newRetry() retry {
	r := retry{time.NewTimer(retryInterval)}
	r.timer.Stop()
	return r
}

func (r retry) start() { r.timer.Reset(retryInterval) }

func (r retry) stop() { r.timer.Stop() }
