package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// statements are those of the storage, for its schema.
type statements struct {
	beginView, beginUpdate, beginInTurn string

	get, put, remove              string
	list, listTo                  string
	export                        string
	announce                      string
	due, prune                    string
	unwatched, lockWatched, watch string
	changes                       string
}

func statementsFor(schema string) statements {
	in := func(sql string) string { return inSchema(schema, sql) }
	// LOCK takes no snapshot: that of the transaction is of the time after the
	// wait. Thus a transaction sees all kinds that were watched when it began
	// (see follow.go), and one that has waited for its turn what it waited for.
	const beginUpdate = `BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; LOCK TABLE @.watched IN ROW SHARE MODE`
	return statements{
		beginView:   `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`,
		beginUpdate: in(beginUpdate),
		beginInTurn: in(beginUpdate + `; LOCK TABLE @.turn IN EXCLUSIVE MODE`),

		get: in(`SELECT envelope FROM @.record WHERE kind = $1 AND key = $2`),
		put: in(`INSERT INTO @.record (kind, key, expiry, envelope) VALUES ($1, $2, $3, $4)
			ON CONFLICT (kind, key) DO UPDATE SET expiry = excluded.expiry, envelope = excluded.envelope`),
		remove: in(`DELETE FROM @.record WHERE kind = $1 AND key = $2`),

		list:   in(`SELECT key, envelope FROM @.record WHERE kind = $1 AND key >= $2 ORDER BY key LIMIT $3`),
		listTo: in(`SELECT key, envelope FROM @.record WHERE kind = $1 AND key >= $2 AND key < $4 ORDER BY key LIMIT $3`),
		export: in(`SELECT kind, key, envelope FROM @.record WHERE (kind, key) > ($1, $2) ORDER BY kind, key LIMIT $3`),

		// One row for each kind that somebody watches, and one notification for
		// all of them. It says no more than "look": what is to be seen is told
		// by the rows, also to those who missed it.
		announce: in(`WITH noted AS (
				INSERT INTO @.change (kind, node) SELECT kind, $2 FROM @.watched WHERE kind = ANY ($1) RETURNING kind)
			SELECT pg_notify($3, '') FROM noted HAVING count(*) > 0`),

		due: in(`SELECT kind, key, expiry, envelope FROM @.record
			WHERE expiry > 0 AND expiry <= $1 AND (expiry, kind, key) > ($2, $3, $4)
			ORDER BY expiry, kind, key LIMIT $5 FOR UPDATE SKIP LOCKED`),
		prune: in(`DELETE FROM @.change WHERE at < now() - $1::interval`),

		unwatched:   in(`SELECT EXISTS (SELECT unnest($1::text[]) EXCEPT SELECT kind FROM @.watched)`),
		lockWatched: in(`LOCK TABLE @.watched IN EXCLUSIVE MODE`),
		watch:       in(`INSERT INTO @.watched (kind) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`),

		// What is visible now and was not at the last look: transactions commit
		// in another order than they begin, so that no number or time would do.
		changes: in(`SELECT pg_current_snapshot()::text, ARRAY (
				SELECT DISTINCT kind FROM @.change
				WHERE xid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $1::pg_snapshot) AND node <> $2)`),
	}
}

// inSchema puts the name of the schema in the place of each @.
func inSchema(schema, sql string) string {
	return strings.ReplaceAll(sql, "@", pgx.Identifier{schema}.Sanitize())
}
