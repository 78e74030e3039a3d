package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/internal/envelope"
)

const (
	// sweepBatch bounds how many rows are locked at a time.
	sweepBatch = 500
	// changeRetention is how long it is kept which transactions wrote to
	// watched kinds: much longer than a follower looks back.
	changeRetention = time.Hour
)

// due is a record whose time has come, by its row.
type due struct {
	Kind   string
	Key    []byte
	Expiry int64
	Sealed []byte
}

// Sweep implements [storage.Storage]. One node at a time sweeps: where another
// one is at it, Sweep deletes nothing and returns 0. Rows that a transaction
// holds are left to the next sweep, and a damaged record is left where it is:
// whether it has expired cannot be told.
func (s *Storage) Sweep(ctx context.Context, now time.Time) (deleted int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	conn, err := s.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()

	mine := false
	bounded, cancel := context.WithTimeout(ctx, s.config.StatementTimeout+grace)
	defer cancel()
	if err := conn.QueryRow(bounded, `SELECT pg_try_advisory_lock($1)`, s.lockID("sweep")).Scan(&mine); err != nil {
		return 0, orEnded(ctx, s.place.failure(err))
	}
	if !mine {
		return 0, nil
	}
	defer s.unlockSweep(ctx, conn)
	if deleted, err = s.sweepAll(ctx, conn, now); err == nil {
		err = s.prune(ctx, conn)
	}
	if err != nil {
		return deleted, orEnded(ctx, s.place.failure(err))
	}
	return deleted, nil
}

// unlockSweep gives the lock back, with the connection where need be.
func (s *Storage) unlockSweep(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, s.lockID("sweep")); err != nil {
		_ = conn.Conn().Close(ctx)
	}
}

// sweepAll goes through the expired records in the order of their expiry.
func (s *Storage) sweepAll(ctx context.Context, conn *pgxpool.Conn, now time.Time) (total int, err error) {
	last := due{Key: []byte{}}
	for {
		batch, deleted, err := s.sweepAfter(ctx, conn, now, last)
		if err != nil || len(batch) == 0 {
			return total, err
		}
		total += deleted
		last = batch[len(batch)-1]
	}
}

// sweepAfter deletes the next batch. In READ COMMITTED a row that was renewed
// since is judged anew, and nothing has to be retried.
func (s *Storage) sweepAfter(ctx context.Context, conn *pgxpool.Conn, now time.Time, last due) (batch []due, deleted int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.StatementTimeout+grace)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql.due, now.Unix(), last.Expiry, last.Kind, last.Key, sweepBatch)
		if err != nil {
			return err
		}
		if batch, err = pgx.CollectRows(rows, pgx.RowToStructByPos[due]); err != nil {
			return err
		}
		deleted, err = s.sweepRows(ctx, tx, batch)
		return err
	})
	return batch, deleted, err
}

// prune forgets changes that no follower asks for any more.
func (s *Storage) prune(ctx context.Context, conn *pgxpool.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.StatementTimeout+grace)
	defer cancel()
	_, err := conn.Exec(ctx, s.sql.prune, changeRetention)
	return err
}

// sweepRows deletes the rows that are what they seem. They are locked.
func (s *Storage) sweepRows(ctx context.Context, tx pgx.Tx, rows []due) (deleted int, err error) {
	batch := new(pgx.Batch)
	for _, row := range rows {
		if _, expiry, err := envelope.Open(row.Kind, string(row.Key), row.Sealed); err == nil && expiry == row.Expiry {
			batch.Queue(s.sql.remove, row.Kind, row.Key)
		}
	}
	if batch.Len() == 0 {
		return 0, nil
	}
	return batch.Len(), tx.SendBatch(ctx, batch).Close()
}
