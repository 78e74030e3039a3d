package issuer

import (
	"context"
	"errors"

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
	ended := revocation{what: revokedSubject, id: subject, Before: now(), Expiry: i.lastExpiry()}
	err := i.realm.users.Remove(ctx, subject, func(tx storage.Tx) error {
		if err := i.forgetPerson(tx, subject); err != nil {
			return err
		}
		return putRevocation(tx, i.config.URL, ended)
	})
	if err != nil {
		return err
	}
	i.enforce(ended)
	return nil
}

// SetPassword gives a person a new password. Every session of theirs ends, and
// everything they granted: whoever had the old password may have granted it.
func (i *Issuer) SetPassword(ctx context.Context, subject, password string) error {
	ended := revocation{what: revokedSubject, id: subject, Before: now(), Expiry: i.lastExpiry()}
	err := i.realm.users.SetPassword(ctx, subject, password, func(tx storage.Tx) error {
		if err := i.endEverything(tx, subject); err != nil {
			return err
		}
		return putRevocation(tx, i.config.URL, ended)
	})
	if err != nil {
		return err
	}
	i.enforce(ended)
	return nil
}

// endEverything deletes a person's authorizations and sessions. The caller
// revokes the tokens, all at once.
func (i *Issuer) endEverything(tx storage.Tx, subject string) error {
	issuer := i.config.URL
	all, err := authorizationsOf(tx, issuer, subject)
	if err != nil {
		return err
	}
	for _, a := range all {
		err = errors.Join(err, tx.Delete(kindAuthorization, authorizationKey(issuer, a.ID)))
	}
	return errors.Join(err,
		deleteAll(tx, kindAuthorizedBy, authorizedByKey(issuer, subject, ""), nil),
		deleteAll(tx, kindSessionOf, sessionOfKey(issuer, subject, ""), func(key string) error { return tx.Delete(kindSession, key) }))
}

// forgetPerson deletes everything that is known of what a person did here.
func (i *Issuer) forgetPerson(tx storage.Tx, subject string) error {
	return errors.Join(i.endEverything(tx, subject), deleteAll(tx, kindConsent, consentKey(i.config.URL, subject, ""), nil))
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
