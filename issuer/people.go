package issuer

import (
	"context"
	"errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// AddUser adds a person who signs in here; see users.Users.Add.
func (i *Issuer) AddUser(ctx context.Context, user users.User, password string) (*users.User, error) {
	return i.realm.users.Add(ctx, user, password)
}

// Users returns everyone whom the issuer knows.
func (i *Issuer) Users(ctx context.Context) ([]*users.User, error) { return i.realm.users.List(ctx) }

// User returns a person by username or, beginning with "u:", by subject. The
// error is storage.ErrNotFound if there is none.
func (i *Issuer) User(ctx context.Context, name string) (*users.User, error) {
	if user, err := i.realm.users.Get(ctx, name); !errors.Is(err, storage.ErrNotFound) {
		return user, err
	}
	return i.realm.users.Find(ctx, name)
}

// RemoveUser forgets a person, with their sessions, what they granted, and every
// token that speaks for them.
func (i *Issuer) RemoveUser(ctx context.Context, subject string) error {
	var ended []ledger.Revocation
	err := i.realm.users.Remove(ctx, subject, func(tx storage.Tx) (err error) {
		ended, err = i.endEverything(tx, subject)
		return errors.Join(err, deleteAll(tx, kindConsent, consentKey(i.config.URL, subject, ""), nil))
	})
	if err != nil {
		return err
	}
	i.realm.ledger.Enforce(ended...)
	return nil
}

// SetPassword gives a person a new password. Every session of theirs ends, and
// everything they granted: whoever had the old password may have granted it.
func (i *Issuer) SetPassword(ctx context.Context, subject, password string) error {
	return i.newPassword(subject, func(also func(storage.Tx) error) error {
		return i.realm.users.SetPassword(ctx, subject, password, also)
	})
}

// changeOwnPassword is SetPassword for a person who has proven the old password.
func (i *Issuer) changeOwnPassword(ctx context.Context, proven *users.User, password string) error {
	return i.newPassword(proven.ID, func(also func(storage.Tx) error) error {
		return i.realm.users.ChangePassword(ctx, proven, password, also)
	})
}

// newPassword lets set write a password, and ends everything in its transaction.
func (i *Issuer) newPassword(subject string, set func(also func(storage.Tx) error) error) error {
	var ended []ledger.Revocation
	err := set(func(tx storage.Tx) (err error) {
		ended, err = i.endEverything(tx, subject)
		return err
	})
	if err != nil {
		return err
	}
	i.realm.ledger.Enforce(ended...)
	return nil
}

// endEverything ends a person's sessions and authorizations, and every token that
// speaks for them.
func (i *Issuer) endEverything(tx storage.Tx, subject string) ([]ledger.Revocation, error) {
	ended, err := i.realm.ledger.EndSubject(tx, subject)
	return ended, errors.Join(err,
		deleteAll(tx, kindSessionOf, sessionOfKey(i.config.URL, subject, ""), func(key string) error { return tx.Delete(kindSession, key) }))
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
