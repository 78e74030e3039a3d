// Package bolt keeps the records of an issuer in one file, a bbolt database.
//
// What bbolt does not do by itself, and this package adds:
//
//   - group commit: writes wait in a bounded queue and share one sync (writer.go);
//   - isolation inside a group: a function that fails or panics leaves nothing
//     behind and does not disturb its neighbours (tx.go);
//   - a checksum on every record, since bbolt has none on its data pages (internal/envelope);
//   - expiry (index_key.go, sweep.go);
//   - refusal of a file that is empty, foreign, cut off, newer, or gone although
//     it once existed, before anything is written to it (file.go, schema.go,
//     create.go), and of one in which damage has hidden a record (inspect.go);
//   - no acknowledgement on a handle whose last commit failed (repair.go).
//
// # Layout
//
// The top-level bucket "storage" holds the magic and the schema version, the
// bucket "expiry" the expiry index, and one bucket "kind:<kind>" the records of
// each kind. Beside the file stands a marker, <file>.initialised: it tells a
// first start from a start whose database was lost.
//
// # Files
//
// The database is kept at mode 0600; where it was found wider, Open narrows it.
// (It is narrowed and not refused because volume drivers widen the mode on each
// mount.) A directory that Open has to make gets mode 0700; one that was there
// already is left as it is.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Options tune a [Storage]. The zero value is right for a server.
type Options struct {
	// Timeout is how long Open waits for another process to give the file
	// back. Default: one second.
	Timeout time.Duration

	// QueueLength is how many writes may wait; one more gets
	// [storage.ErrBusy]. Default: 1024.
	QueueLength int

	// BatchLimit is how many writes at most share one commit. Default: 256.
	BatchLimit int
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.QueueLength <= 0 {
		o.QueueLength = 1024
	}
	if o.BatchLimit <= 0 {
		o.BatchLimit = 256
	}
	return o
}

// Storage is a [storage.Storage] in one file. Make it with [Open].
type Storage struct {
	path    string
	options Options

	// gate guards the sending side of queue: Close takes it for writing, so
	// that nobody sends on a closed channel.
	gate   sync.RWMutex
	closed bool
	queue  chan *request
	done   chan struct{} // closed when the writer has ended

	// handle guards db: a transaction holds it for reading, a reopen for
	// writing. db is nil after Close, or after a reopen that failed.
	handle sync.RWMutex
	db     *database

	failure atomic.Pointer[failure] // nil while writes are accepted

	unsettled bool // written to since Open; the writer's, until it is done
}

var _ storage.Storage = (*Storage)(nil)

// Open opens the database at path, or creates it where neither the file nor its
// marker exists. The directory is made if it is missing.
//
// It fails with [storage.ErrDamaged] when the file is not a sound database of
// this program and schema, and with [storage.ErrUnavailable] when the file
// cannot be had: held by another process, not permitted, failing medium. The
// message is one line that names the file and says what to do. A refused file
// has not been written to.
func Open(path string, options Options) (*Storage, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	defer panicOnFault()()
	options = options.withDefaults()
	db, err := openOrCreate(path, options.Timeout)
	if err != nil {
		return nil, err
	}
	s := &Storage{
		path:    path,
		options: options,
		queue:   make(chan *request, options.QueueLength),
		done:    make(chan struct{}),
		db:      compacted(db, path, options.Timeout),
	}
	go s.write()
	if err = storage.Finished(context.Background(), s); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func openOrCreate(path string, timeout time.Duration) (*database, error) {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		if err := create(path, timeout); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, unavailable(path, "cannot be opened", err)
	}
	db, err := openExisting(path, timeout)
	if err != nil {
		return nil, err
	}
	if err := inspect(db); err != nil {
		_ = db.close()
		return nil, err
	}
	// A restored backup has no marker, nor has a file whose creation was cut
	// short after the last but one step. The database is sound, so a marker
	// that cannot be written is no reason to stay away.
	_ = writeMarker(path)
	return db, nil
}

// View implements [storage.Storage]. It answers also while writes are refused,
// as long as the file can be read.
func (s *Storage) View(ctx context.Context, fn func(storage.Tx) error) error {
	return s.view(ctx, func(t *tx) error { return fn(t) })
}

func (s *Storage) view(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.handle.RLock()
	defer s.handle.RUnlock()
	if s.db == nil {
		return unavailable(s.path, "is closed", nil)
	}
	defer panicOnFault()()
	b, err := s.db.begin(false)
	if err != nil {
		return err
	}
	t := &tx{bolt: b, path: s.path}
	defer func() {
		t.ended = true
		s.db.rollback(b)
	}()
	return fn(t)
}

// Health is nil while writes are accepted; otherwise it says why they are
// refused. The storage tries by itself to get out of that state, once a second.
func (s *Storage) Health() error {
	if f := s.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// Close waits for the writes that were accepted and gives the file back. It
// must not be called from inside a transaction. Closing twice is harmless.
func (s *Storage) Close() error {
	s.gate.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.gate.Unlock()
	<-s.done

	s.handle.Lock()
	defer s.handle.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if s.unsettled && s.Health() == nil {
		// The last commit is reached by one meta page only: were that damaged while
		// the server is stopped, bbolt would open the file as of the commit before. A
		// commit of nothing else makes both lead to every record.
		if err := db.probe(); err != nil {
			return errors.Join(err, db.close())
		}
	}
	if err := db.close(); err != nil {
		return unavailable(s.path, "was not closed cleanly", err)
	}
	return nil
}

// unavailable makes the one-line error of a file that cannot be had.
func unavailable(path, what string, cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: %s %s", storage.ErrUnavailable, path, what)
	}
	return fmt.Errorf("%w: %s %s: %w", storage.ErrUnavailable, path, what, cause)
}

// damaged makes the one-line error of a file that is not what was written.
func damaged(path, what string) error {
	return fmt.Errorf("%w: %s %s", storage.ErrDamaged, path, what)
}

// locked says who has the file, as far as can be known.
func locked(path string, err error) error {
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return unavailable(path, "is open in another process (perhaps a running caddy): stop it, or give this one another path", err)
	}
	return unavailable(path, "cannot be opened", err)
}
