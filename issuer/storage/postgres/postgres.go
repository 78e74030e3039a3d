// Package postgres keeps the records of an issuer in a schema of a PostgreSQL
// database (13 or newer), which several nodes can share.
//
// What it makes of PostgreSQL:
//
//   - one Update is one SERIALIZABLE transaction; one that PostgreSQL could not
//     serialize runs again, and under contention waits for its turn (update.go);
//   - the writes of a transaction stay in memory until its function has
//     returned, and are then sent at once, sorted, so that transactions hold row
//     locks for a moment only and take them in one order (tx.go);
//   - a connection lost during COMMIT is told, not guessed about (update.go);
//   - every record is in an envelope with a checksum (internal/envelope);
//   - the schema is made and migrated under a lock, and a newer one is refused
//     (schema.go);
//   - nodes hear of each other's changes within a second, and know until when
//     they have heard of all (follow.go);
//   - one node at a time sweeps (sweep.go).
//
// # Layout
//
// Table "storage" holds the magic and the schema version, "record" the records,
// "watched" the kinds that nodes keep in memory and "change" which transactions
// wrote to those. Table "turn" has no rows; it is there to be locked.
//
// # What the database has to offer
//
// Sessions: advisory locks and LISTEN end with them, so that a connection
// pooler in between has to keep a client on one server connection (pgbouncer:
// pool_mode = session). The role needs CREATE on the database for the first
// start, or an empty schema of its own. Every node judges expiry by its own
// clock.
package postgres

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Storage is a [storage.Storage] in PostgreSQL. Make it with [Open].
type Storage struct {
	config Config
	place  place
	sql    statements
	pool   *pgxpool.Pool

	// gate guards closed, and running from being added to after Close.
	gate    sync.RWMutex
	closed  bool
	running sync.WaitGroup
	closing context.Context // ends with the storage
	close   context.CancelFunc

	queued atomic.Int64 // transactions that wait for a connection, or have one
	follow following
}

var (
	_ storage.Storage  = (*Storage)(nil)
	_ storage.Follower = (*Storage)(nil)
	_ storage.Exporter = (*Storage)(nil)
)

// Open connects to the database, makes the schema where there is none, and
// brings an older one up to date. Nodes that do so at once wait for each other.
//
// It fails with [storage.ErrDamaged] when the schema belongs to another program
// or to a newer version of this one, and with [storage.ErrUnavailable] when the
// database cannot be had: wrong address, refused password, missing right; with
// [storage.ErrStarting] beside it where trying again may help. It does not wait for
// a server. Other errors are those of [Config.Validate]. No message has the password in it.
// ctx bounds the opening only.
func Open(ctx context.Context, config Config) (*Storage, error) {
	config = config.withDefaults()
	parsed, err := config.parse()
	if err != nil {
		return nil, err
	}
	s := &Storage{
		config: config,
		place:  newPlace(parsed.ConnConfig, config.Schema),
		sql:    statementsFor(config.Schema),
	}
	s.follow.node = rand.Text()
	parsed.AfterConnect = config.prepareSession
	if s.pool, err = pgxpool.NewWithConfig(ctx, parsed); err != nil {
		return nil, s.place.failure(err)
	}
	s.closing, s.close = context.WithCancel(context.Background())
	if err := s.migrate(ctx, migrations); err != nil {
		_ = s.Close()
		return nil, err
	}
	if err := storage.Finished(ctx, s); err != nil {
		_ = s.Close()
		return nil, s.place.annotate(err)
	}
	return s, nil
}

// enter admits a call, which ends with leave, unless the storage is closed.
func (s *Storage) enter() error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return s.place.unavailable("is closed")
	}
	s.running.Add(1)
	return nil
}

func (s *Storage) leave() { s.running.Done() }

// Close waits for the calls that run, ends Follow, and closes every connection.
// It must not be called from inside a transaction. Closing twice is harmless.
func (s *Storage) Close() error {
	s.gate.Lock()
	s.closed = true
	s.gate.Unlock()
	s.close()
	s.running.Wait()
	s.pool.Close()
	return nil
}

// Waiting is how many transactions wait for a connection, at most
// Config.QueueLength.
func (s *Storage) Waiting() int {
	return int(max(0, s.queued.Load()-int64(s.config.Connections)))
}
