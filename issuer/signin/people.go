package signin

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// People are those who sign in at an issuer: their sessions, what they agreed to,
// and the ends of both. They outlive a configuration.
type People struct {
	store  storage.Storage
	issuer string // its URL
	users  *users.Users
	ledger *ledger.Ledger
	logins atomic.Pointer[Logins] // of the latest configuration
}

// NewPeople returns the people of an issuer.
func NewPeople(store storage.Storage, issuer string, people *users.Users, granted *ledger.Ledger) *People {
	return &People{store: store, issuer: issuer, users: people, ledger: granted}
}

// Remove forgets a person, with their sessions, what they granted, and every
// token that speaks for them.
func (p *People) Remove(ctx context.Context, subject string) error {
	var ended []ledger.Revocation
	err := p.users.Remove(ctx, subject, func(tx storage.Tx) (err error) {
		ended, err = p.endEverything(tx, subject)
		return errors.Join(err, deleteAll(tx, kindConsent, consentKey(p.issuer, subject, ""), nil))
	})
	if err != nil {
		return err
	}
	p.ledger.Enforce(ended...)
	return nil
}

// SetPassword gives a person a new password. Every session of theirs ends, and
// everything they granted: whoever had the old password may have granted it.
func (p *People) SetPassword(ctx context.Context, subject, password string) error {
	return p.newPassword(subject, func(also func(storage.Tx) error) error {
		return p.users.SetPassword(ctx, subject, password, also)
	})
}

// ChangePassword is SetPassword for a person who has proven the old password.
func (p *People) ChangePassword(ctx context.Context, proven *users.User, password string) error {
	return p.newPassword(proven.ID, func(also func(storage.Tx) error) error {
		return p.users.ChangePassword(ctx, proven, password, also)
	})
}

// SetDisabled takes every right from a person, or gives them back, and returns the
// person as they are then. With the rights, every session of theirs ends, and
// everything they granted; what they agreed to is remembered.
func (p *People) SetDisabled(ctx context.Context, subject string, disabled bool) (*users.User, error) {
	var ended []ledger.Revocation
	user, err := p.users.SetDisabled(ctx, subject, disabled, func(tx storage.Tx) (err error) {
		ended = nil
		if disabled {
			ended, err = p.endEverything(tx, subject)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.ledger.Enforce(ended...)
	return user, nil
}

// newPassword lets set write a password, and ends everything in its transaction.
func (p *People) newPassword(subject string, set func(also func(storage.Tx) error) error) error {
	var ended []ledger.Revocation
	err := set(func(tx storage.Tx) (err error) {
		ended, err = p.endEverything(tx, subject)
		return err
	})
	if err != nil {
		return err
	}
	p.ledger.Enforce(ended...)
	return nil
}

// endEverything ends a person's sessions and authorizations, and every token that
// speaks for them.
func (p *People) endEverything(tx storage.Tx, subject string) ([]ledger.Revocation, error) {
	ended, err := p.ledger.EndSubject(tx, subject)
	return ended, errors.Join(err,
		deleteAll(tx, kindSessionOf, sessionOfKey(p.issuer, subject, ""), func(key string) error { return tx.Delete(kindSession, key) }))
}

// deleteAll deletes the records with a prefix; also, which may be nil, is called
// with the rest of each key.
func deleteAll(tx storage.Tx, kind, prefix string, also func(rest string) error) error {
	var keys []string
	err := tx.List(kind, prefix, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	for _, key := range keys {
		err = errors.Join(err, tx.Delete(kind, key))
		if also != nil {
			err = errors.Join(err, also(key[len(prefix):]))
		}
	}
	return err
}
