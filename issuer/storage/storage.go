// Package storage is the contract between the issuer and the place where its
// records live: a transactional key-value store, and nothing more.
//
// It is transactional because most holes of this field come from a code that
// is read in one step, checked in a second and marked as used in a third. Here
// one request is one [Storage.Update], and whoever reads a record in it decides
// on what is committed, not on what was true a moment ago.
//
// The records themselves are typed by the packages above (one file a record);
// this package knows kinds, keys and bytes. Package storagetest holds the suite
// that every implementation passes.
package storage

import (
	"context"
	"errors"
	"time"
)

// Errors of a [Storage]. Test for them with errors.Is; implementations wrap
// them with what they know (the file, the bucket, the cause).
var (
	// ErrNotFound: there is no such record, or it has expired. An expired
	// record is never returned, whether or not it has been swept.
	ErrNotFound = errors.New("storage: no such record")

	// ErrDamaged: the record (or the whole file) is not what was written. It
	// must be treated as "cannot tell", never as "not found".
	ErrDamaged = errors.New("storage: damaged")

	// ErrBusy: too many transactions wait already, or get in each other's way.
	// Nothing was written; the caller answers 503 and its client may try again.
	ErrBusy = errors.New("storage: too many writes are waiting")

	// ErrUnavailable: the medium failed (disk full, I/O error, connection lost,
	// timeout) or the storage was closed. Nothing is known to be written.
	ErrUnavailable = errors.New("storage: not available")

	// ErrStarting: nobody answers yet where the medium is, or says that it is
	// starting. It always comes with ErrUnavailable. Who has time may try again
	// soon; a wrong password and the like are not among it.
	ErrStarting = errors.New("storage: perhaps starting")

	// ErrOutcomeUnknown: the connection was lost while the transaction was being
	// committed, and whether it was kept is not known. It always comes with
	// ErrUnavailable, and the storage has not run the function again: only the
	// caller knows what doing it twice would mean.
	ErrOutcomeUnknown = errors.New("storage: whether the write was kept is not known")

	// ErrReadOnly: Put or Delete inside a View. A mistake of the program.
	ErrReadOnly = errors.New("storage: write in a read-only transaction")
)

// Storage keeps records. All methods may be called by many goroutines.
type Storage interface {
	// View runs fn on a consistent snapshot. fn must not block on anything but
	// its Tx (no network, no other transaction).
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn in a serializable transaction and returns after it is
	// durable. When fn returns an error, nothing that fn wrote is kept and that
	// error is returned; a refusal that has to leave a trace (a replayed code
	// that revokes) therefore returns nil and hands its result out in a
	// variable. fn may run more than once, so it must set, not accumulate, what
	// it hands out. A panic in fn rolls back and reaches the caller.
	//
	// When ctx ends before the transaction was begun, Update returns ctx.Err()
	// and fn's writes are not kept; once begun, the commit is waited for.
	// The other errors are ErrBusy and ErrUnavailable, the latter also with
	// ErrOutcomeUnknown.
	Update(ctx context.Context, fn func(Tx) error) error

	// Sweep deletes records that expired before now, in batches small enough
	// for other writers to pass between them, and returns how many it deleted.
	// It is garbage collection only: expiry is judged on every read.
	Sweep(ctx context.Context, now time.Time) (int, error)

	// Close waits for the writes that were accepted and gives everything back.
	// Calls after it return ErrUnavailable.
	Close() error
}

// Tx is one transaction; it ends with the function that received it. Values
// returned by it may be kept (they are copies); values given to it may be
// reused after the call.
type Tx interface {
	// Get returns the value of an unexpired record, or ErrNotFound, or
	// ErrDamaged.
	Get(kind, key string) ([]byte, error)

	// Put writes a record, replacing the one with the same kind and key. The
	// zero expiry means for ever; otherwise the record is gone at expiry, which
	// is kept to the second (rounded up). A kind is printable ASCII, a key is
	// one to 2000 bytes of any value; a storage may take longer ones.
	Put(kind, key string, value []byte, expiry time.Time) error

	// Delete removes a record; a missing one is no error.
	Delete(kind, key string) error

	// List calls fn for each unexpired record of the kind whose key begins with
	// prefix, in byte order of the keys, until fn returns an error, which List
	// returns as it is. fn must not write to the Tx. A damaged record ends the
	// list with ErrDamaged.
	List(kind, prefix string, fn func(key string, value []byte) error) error

	// ListAfter is List of the keys that come after one of them. It goes there
	// directly: a long list read in parts costs no more than one read at once.
	// after is a whole key, with the prefix, and need not exist; empty, it is
	// before all keys.
	ListAfter(kind, prefix, after string, fn func(key string, value []byte) error) error
}
