package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	// maxAttempts is how often a transaction is begun at most.
	maxAttempts = 16
	// hopeful is how many attempts are made beside others. Later ones wait for
	// their turn: among those whose attempts failed, on all nodes, one runs at
	// a time, so that there is always one that gets on.
	hopeful = 3
	// maxLost is how many attempts may end with a lost connection: one that
	// was dead in the pool, and one more.
	maxLost = 2
	// firstPause is the mean pause after the first conflict; it doubles.
	firstPause = 2 * time.Millisecond
	maxPause   = 50 * time.Millisecond
)

// View implements [storage.Storage].
func (s *Storage) View(ctx context.Context, fn func(storage.Tx) error) error {
	return s.run(ctx, attempt{begin: s.sql.beginView, fn: func(t *tx) error { return fn(t) }})
}

// Update implements [storage.Storage].
func (s *Storage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.run(ctx, attempt{begin: s.sql.beginUpdate, writable: true, fn: func(t *tx) error { return fn(t) }})
}

// attempt is one transaction.
type attempt struct {
	begin    string
	writable bool
	fn       func(*tx) error
}

// run makes attempts until one ends by something else than a conflict.
func (s *Storage) run(ctx context.Context, a attempt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	defer s.queued.Add(-1)
	if s.queued.Add(1) > int64(s.config.Connections+s.config.QueueLength) {
		return storage.ErrBusy
	}
	lost := 0
	for n := 0; ; n++ {
		if n == hopeful && a.writable {
			a.begin = s.sql.beginInTurn
		}
		err := s.once(ctx, a)
		again, ok := err.(*retryable) //nolint:errorlint // made by once, never wrapped
		if !ok {
			return err
		}
		if !again.cause.conflict() {
			lost++
			s.pool.Reset() // the others will be as dead
		}
		if n+1 >= maxAttempts || lost >= maxLost {
			return again.cause
		}
		if err := pause(ctx, backoff(n)); err != nil {
			return err
		}
	}
}

// retryable is the end of an attempt that left nothing behind and may be made
// again.
type retryable struct{ cause *failure }

func (r *retryable) Error() string { return r.cause.Error() }

// backoff is the pause after the nth conflict: at random, so that those who
// collided do not meet again.
func backoff(n int) time.Duration { return rand.N(2 * min(firstPause<<n, maxPause)) } //nolint:gosec // G404: a pause is no secret

// pause waits, or returns the error of ctx if that ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once makes one attempt.
func (s *Storage) once(ctx context.Context, a attempt) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()

	// From here on the caller's context ends nothing: what was begun is carried
	// through, in the time that the timeouts allow, and the connection lives on.
	t := &tx{storage: s, ctx: context.WithoutCancel(ctx), writable: a.writable}
	if err := t.begin(conn, a.begin); err != nil {
		return err
	}
	over := false
	defer func() { // also when fn panics or ends its goroutine
		t.ended = true
		if !over {
			t.rollback(conn)
		}
	}()
	err = a.fn(t)
	t.ended = true
	switch {
	case t.failed != nil:
		// Whatever fn made of it: it has decided on an answer that was none.
		return t.retry(t.failed)
	case err != nil || !t.writable:
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	over = true
	return t.commit()
}

// acquire waits for a connection.
func (s *Storage) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, s.config.WaitTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(bounded)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bounded.Err() != nil && s.pool.Stat().AcquiredConns() >= s.pool.Stat().MaxConns():
		return nil, &failure{kind: storage.ErrBusy, text: s.place.name + ": no connection was free in time"}
	}
	return nil, s.place.failure(err)
}

func (t *tx) begin(conn *pgxpool.Conn, sql string) (err error) {
	bounded, cancel := t.bounded()
	defer cancel()
	if t.pgx, err = conn.BeginTx(bounded, pgx.TxOptions{BeginQuery: sql}); err != nil {
		return t.retry(t.fail(err))
	}
	return nil
}

// retry sorts out what an attempt failed with, when nothing was kept.
func (t *tx) retry(f *failure) error {
	if f.conflict() || f.lost {
		return &retryable{f}
	}
	return f
}

// commit ends the transaction. Its outcome is known if the server has answered,
// and does not matter if there was nothing to write.
func (t *tx) commit() error {
	bounded, cancel := t.bounded()
	defer cancel()
	err := t.pgx.Commit(bounded)
	if err == nil {
		return nil
	}
	f := t.fail(err)
	if f.answered || errors.Is(err, pgx.ErrTxCommitRollback) || t.writes.Empty() {
		return t.retry(f)
	}
	f.kind = storage.ErrUnavailable
	t.storage.follow.doubt()
	return t.storage.place.outcomeUnknown(f)
}

// rollback gives the transaction up. A connection on which that fails is closed
// by Release.
func (t *tx) rollback(conn *pgxpool.Conn) {
	bounded, cancel := t.bounded()
	defer cancel()
	_ = t.pgx.Rollback(bounded)
	if t.failed != nil && t.failed.code == readOnlyTransaction {
		_ = conn.Conn().Close(bounded) // the next one finds the new primary
	}
}

// bounded is the context of one statement.
func (t *tx) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, t.storage.config.StatementTimeout+grace)
}
