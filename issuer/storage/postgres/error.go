package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// SQLSTATEs that decide on something. https://www.postgresql.org/docs/15/errcodes-appendix.html
const (
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	lockNotAvailable      = "55P03" // lock_timeout
	dataCorrupted         = "XX001"
	indexCorrupted        = "XX002"
	insufficientPrivilege = "42501"
	operatorIntervention  = "57P"   // shutdown, crash, pg_terminate_backend
	cannotConnectNow      = "57P03" // starting, recovering, stopping
	readOnlyTransaction   = "25006" // the primary has become a standby
)

// failure is an error of the database. It keeps nothing of pgx's errors, which
// hold the configuration with the password.
type failure struct {
	kind     error  // one of package storage
	text     string // where and what, in one line
	code     string // the SQLSTATE, unless the server did not answer
	answered bool   // the server refused the statement, and the session goes on
	lost     bool   // the connection broke, for no reason that lies in the statement
	starting bool   // the server may be starting
}

func (f *failure) Error() string { return f.kind.Error() + ": " + f.text }
func (f *failure) Unwrap() error { return f.kind }

func (f *failure) Is(target error) bool { return target == storage.ErrStarting && f.starting }

// conflict tells whether the transaction was rolled back only because of others
// beside it.
func (f *failure) conflict() bool {
	return f.answered && (f.code == serializationFailure || f.code == deadlockDetected)
}

// place names the database in messages, and what must not be in them.
type place struct {
	name    string
	secrets []string
}

func newPlace(config *pgx.ConnConfig, schema string) place {
	p := place{name: fmt.Sprintf("PostgreSQL database %s at %s:%d, schema %s", config.Database, config.Host, config.Port, schema)}
	if password := config.Password; password != "" {
		p.secrets = []string{password, url.QueryEscape(password), url.PathEscape(password)}
	}
	return p
}

// failure makes the one-line error of what pgx returned.
func (p place) failure(err error) *failure {
	var already *failure
	if errors.As(err, &already) {
		return already
	}
	f := &failure{kind: storage.ErrUnavailable, text: p.name + ": " + p.clean(err.Error()), starting: starting(err)}
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		f.lost = !pgconn.Timeout(err) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
		return f
	}
	f.code = answer.Code
	f.answered = answer.SeverityUnlocalized == "ERROR" // FATAL and PANIC end the session
	f.lost = !f.answered && strings.HasPrefix(f.code, operatorIntervention)
	switch f.code {
	case serializationFailure, deadlockDetected, lockNotAvailable:
		f.kind = storage.ErrBusy
	case dataCorrupted, indexCorrupted:
		f.kind = storage.ErrDamaged
	}
	return f
}

// clean makes one line of a message. No message is known to have the password
// in it; should one ever, it is taken out.
func (p place) clean(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, secret := range p.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// unavailable makes the error of a database that cannot be had.
func (p place) unavailable(what string) error {
	return &failure{kind: storage.ErrUnavailable, text: p.name + " " + what}
}

// damaged makes the error of a schema that is not what was written.
func (p place) damaged(what string) error {
	return &failure{kind: storage.ErrDamaged, text: p.name + " " + what}
}

// annotate says where an error of package storage comes from.
func (p place) annotate(err error) error { return fmt.Errorf("%s: %w", p.name, err) }

// outcomeUnknown makes the error of a COMMIT that was not answered.
func (p place) outcomeUnknown(cause *failure) error {
	return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, cause)
}

// orEnded returns the error of ctx, if it has ended: then err is no more than
// what came of that.
func orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
