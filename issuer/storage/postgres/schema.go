package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"
)

// magic tells our schema from that of another program.
const magic = "caddy-oauth-gate storage"

// migrations lead from each schema version to the next; the first makes version
// 1 in an empty schema. A version that was released stays as it is. "@" is the
// schema. Nodes of the version before go on working while a node of a newer
// one starts, so a migration must leave them what they use.
var migrations = []string{`
CREATE TABLE @.storage (
	magic  text    NOT NULL,
	schema integer NOT NULL
);
CREATE TABLE @.record (
	kind     text COLLATE "C" NOT NULL,
	key      bytea  NOT NULL,
	expiry   bigint NOT NULL, -- Unix seconds; 0: for ever
	envelope bytea  NOT NULL, -- the expiry that counts, a checksum, and the value
	PRIMARY KEY (kind, key)
);
CREATE INDEX record_expiry ON @.record (expiry) WHERE expiry > 0;
CREATE TABLE @.watched (
	kind text COLLATE "C" PRIMARY KEY
);
CREATE TABLE @.change (
	kind text COLLATE "C" NOT NULL,
	node text        NOT NULL,
	xid  xid8        NOT NULL DEFAULT pg_current_xact_id(),
	at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX change_xid ON @.change (xid);
CREATE INDEX change_at ON @.change (at);
CREATE TABLE @.turn ();
`}

// migrateTimeout bounds waiting for another node's migration, and each of its
// statements.
const migrateTimeout = 60 * time.Second

// migrate makes the schema, or brings it to the version that the steps lead to.
func (s *Storage) migrate(ctx context.Context, steps []string) error {
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return s.migrateIn(ctx, tx, steps)
	})
	if err != nil {
		return orEnded(ctx, s.place.failure(err))
	}
	return nil
}

func (s *Storage) migrateIn(ctx context.Context, tx pgx.Tx, steps []string) error {
	patient := fmt.Sprintf("SET LOCAL lock_timeout = '%[1]s'; SET LOCAL statement_timeout = '%[1]s'", milliseconds(migrateTimeout))
	if _, err := tx.Exec(ctx, patient); err != nil {
		return err
	}
	// In READ COMMITTED, what comes after it sees what the one before has done.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, s.lockID("migrate")); err != nil {
		return err
	}
	version, err := s.version(ctx, tx)
	switch {
	case err != nil:
		return err
	case version > len(steps):
		return s.place.damaged(fmt.Sprintf("has version %d, this program knows up to %d: run the newer program, or restore a backup of before the upgrade", version, len(steps)))
	case version == len(steps):
		return nil
	}
	for _, step := range steps[version:] {
		if _, err := tx.Exec(ctx, inSchema(s.config.Schema, step)); err != nil {
			return err
		}
	}
	record := `UPDATE @.storage SET schema = $1 WHERE magic = $2`
	if version == 0 {
		record = `INSERT INTO @.storage (schema, magic) VALUES ($1, $2)`
	}
	_, err = tx.Exec(ctx, inSchema(s.config.Schema, record), len(steps), magic)
	return err
}

// version returns that of the schema: 0 where there is none, or an empty one,
// which it makes.
func (s *Storage) version(ctx context.Context, tx pgx.Tx) (int, error) {
	var exists, ours, empty bool
	err := tx.QueryRow(ctx, `SELECT
			EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
			EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'storage'),
			NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)`,
		s.config.Schema).Scan(&exists, &ours, &empty)
	switch {
	case err != nil:
		return 0, err
	case !exists:
		_, err := tx.Exec(ctx, inSchema(s.config.Schema, `CREATE SCHEMA @`))
		return 0, err
	case empty:
		return 0, nil
	case !ours:
		return 0, s.place.damaged("belongs to another program: name another schema")
	}
	var version int
	err = tx.QueryRow(ctx, inSchema(s.config.Schema, `SELECT schema FROM @.storage WHERE magic = $1`), magic).Scan(&version)
	var f *failure
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, s.place.damaged("belongs to another program, or its head is damaged: name another schema, or restore a backup")
	case err != nil:
		// A table "storage" of other columns: SQLSTATE class 42.
		if f = s.place.failure(err); len(f.code) == 5 && f.code[:2] == "42" && f.code != insufficientPrivilege {
			return 0, s.place.damaged("belongs to another program: name another schema")
		}
		return 0, f
	case version < 1:
		return 0, s.place.damaged("has a damaged head: restore a backup")
	}
	return version, nil
}

// lockID is the id of an advisory lock; those of other schemas and programs
// differ.
func (s *Storage) lockID(purpose string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(magic + "\x00" + s.config.Schema + "\x00" + purpose))
	return int64(h.Sum64())
}

// channel is that of the notifications: a name of at most 63 bytes, which the
// schema's own name may fill alone.
func (s *Storage) channel() string {
	return fmt.Sprintf("oauth_gate_%016x", uint64(s.lockID("change")))
}
