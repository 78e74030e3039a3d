package users

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Errors of Users, beside those of the storage and those named where they stand.
var (
	// ErrExists: another local user has that name, or one that compares equal.
	ErrExists = errors.New("users: the username is taken")

	// ErrFixed: a change touched what no change may touch (see Users.Update). A
	// mistake of the program.
	ErrFixed = errors.New("users: change of a fixed field")

	// ErrExternal: another provider vouches for the person, who therefore has
	// no password here.
	ErrExternal = errors.New("users: the person signs in with another provider")
)

// Users are the people of one issuer. Its methods may be called by many
// goroutines. Errors of the storage are returned as they are, or wrapped.
type Users struct {
	storage  storage.Storage
	issuer   string
	hasher   *hasher
	throttle *throttle
}

// New returns the users of the issuer with that URL. It holds in memory who
// tried which password how often, and bounds how many are hashed at once; a
// process therefore has one for each issuer and keeps it when its configuration
// is loaded anew.
func New(store storage.Storage, issuer string) *Users {
	return &Users{storage: store, issuer: issuer, hasher: newHasher(current), throttle: newThrottle()}
}

// Add adds a local user and returns it as stored. ID, Password, Provider and the
// times of user are set here, whatever they were. An empty password means that
// the person cannot sign in until SetPassword.
//
// The error is ErrUsername, ErrExists, ErrWeakPassword, ErrTooBusy, or the
// storage's.
func (u *Users) Add(ctx context.Context, user User, password string) (*User, error) {
	name, err := compared(user.Username)
	if err != nil {
		return nil, err
	}
	user.ID, user.Created, user.Updated = newID(), now(), now()
	user.Provider, user.ProviderSubject = "", ""
	user.Password, user.PasswordChanged = "", time.Time{}
	if password != "" {
		if user.Password, err = u.hashNew(ctx, password, name); err != nil {
			return nil, err
		}
		user.PasswordChanged = user.Created
	}
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		switch _, err := tx.Get(kindUsername, key(u.issuer, name)); {
		case err == nil:
			return ErrExists
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
		if err := tx.Put(kindUsername, key(u.issuer, name), []byte(user.ID), time.Time{}); err != nil {
			return err
		}
		return put(tx, u.issuer, &user)
	})
	if err != nil {
		return nil, fmt.Errorf("add user %q: %w", user.Username, err)
	}
	return &user, nil
}

// Get returns the person with that subject, or storage.ErrNotFound.
func (u *Users) Get(ctx context.Context, id string) (user *User, err error) {
	err = u.storage.View(ctx, func(tx storage.Tx) error {
		user, err = Get(tx, u.issuer, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// Find returns the local user with that name, or one that compares equal, or
// storage.ErrNotFound.
func (u *Users) Find(ctx context.Context, username string) (user *User, err error) {
	name, err := compared(username)
	if err != nil {
		return nil, fmt.Errorf("%w: no user can have that name", storage.ErrNotFound)
	}
	err = u.storage.View(ctx, func(tx storage.Tx) error {
		user, err = find(tx, u.issuer, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// find takes the name as compared.
func find(tx storage.Tx, issuer, name string) (*User, error) {
	id, err := tx.Get(kindUsername, key(issuer, name))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, findNobody(tx, issuer)
	}
	if err != nil {
		return nil, err
	}
	return indexed(tx, issuer, string(id))
}

// indexed is Get for a subject that an index led to: index and record are
// written together, so a record that is missing is damage, and must not pass
// for a name that is free.
func indexed(tx storage.Tx, issuer, id string) (*User, error) {
	user, err := Get(tx, issuer, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("%w: user %q is in an index but has no record", storage.ErrDamaged, id)
	}
	return user, err
}

// Part returns a part of all people, local and external, by subject, and the After of
// the next one; it is empty where nothing is left.
func (u *Users) Part(ctx context.Context, part record.Part) (found []*User, next string, err error) {
	err = u.storage.View(ctx, func(tx storage.Tx) (err error) {
		found = found[:0]
		next, err = record.List(tx, kindUser, key(u.issuer, ""), part, func(_ string, value []byte) error {
			user, err := decode(value)
			found = append(found, user)
			return err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// SetDisabled takes every right from the person, or gives them back, and returns
// the person as they are then. What has to go with the rights goes in also, in the
// same transaction; it may be nil. The error is storage.ErrNotFound, also's, or
// another of the storage's; then nothing was changed.
func (u *Users) SetDisabled(ctx context.Context, id string, disabled bool, also func(storage.Tx) error) (user *User, err error) {
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		if user, err = Get(tx, u.issuer, id); err != nil {
			return err
		}
		user.Disabled, user.Updated = disabled, now()
		if err := put(tx, u.issuer, user); err != nil {
			return err
		}
		return run(also, tx)
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// Remove forgets the person; the username is free from then on, the subject is
// not. What else has to go with the person goes in also, in the same
// transaction; it may be nil. The error is storage.ErrNotFound, also's, or
// another of the storage's; then nothing was removed.
func (u *Users) Remove(ctx context.Context, id string, also func(storage.Tx) error) error {
	var removed *User
	err := u.storage.Update(ctx, func(tx storage.Tx) error {
		user, err := Get(tx, u.issuer, id)
		if err != nil {
			return err
		}
		removed = user
		if err := unindex(tx, u.issuer, user); err != nil {
			return err
		}
		if err := tx.Delete(kindUser, key(u.issuer, id)); err != nil {
			return err
		}
		return run(also, tx)
	})
	if err != nil {
		return err
	}
	if name, err := compared(removed.Username); err == nil && removed.Provider == "" {
		u.throttle.forgetAccount(name) // the next owner of the name begins anew
	}
	return nil
}

// unindex deletes what leads to the person, unless it leads to someone else.
func unindex(tx storage.Tx, issuer string, user *User) error {
	kind, index := kindIdentity, identityKey(issuer, user.Provider, user.ProviderSubject)
	if user.Provider == "" {
		name, err := compared(user.Username)
		if err != nil {
			return fmt.Errorf("%w: user %q: %w", storage.ErrDamaged, user.ID, err)
		}
		kind, index = kindUsername, key(issuer, name)
	}
	id, err := tx.Get(kind, index)
	if errors.Is(err, storage.ErrNotFound) || err == nil && string(id) != user.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.Delete(kind, index)
}

// Update changes a person by change, in one transaction, and returns the result.
// change may run more than once. It must leave alone ID, Username, Provider,
// ProviderSubject, Created and what belongs to the password: otherwise the error
// is ErrFixed. It may be change's, too, or storage.ErrNotFound, or another of the
// storage's; then nothing was changed.
func (u *Users) Update(ctx context.Context, id string, change func(*User) error) (user *User, err error) {
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		if user, err = Get(tx, u.issuer, id); err != nil {
			return err
		}
		before := *user
		if err := change(user); err != nil {
			return err
		}
		if !sameFixed(&before, user) {
			return fmt.Errorf("user %q: %w", id, ErrFixed)
		}
		if *user == before {
			return nil
		}
		user.Updated = now()
		return put(tx, u.issuer, user)
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

func sameFixed(a, b *User) bool {
	return a.ID == b.ID && a.Username == b.Username &&
		a.Provider == b.Provider && a.ProviderSubject == b.ProviderSubject &&
		a.Password == b.Password && a.PasswordChanged.Equal(b.PasswordChanged) && a.Created.Equal(b.Created)
}

// SetPassword gives a local user a new password. What has to follow from it
// (signing out other browsers, spending the link that led here) goes in also, in
// the same transaction; it may be nil. The throttle forgets the failures of this
// account, so that the owner is not held up by those that led to the change.
//
// The error is ErrWeakPassword, ErrExternal, ErrTooBusy, storage.ErrNotFound,
// also's, or another of the storage's; then nothing was changed.
func (u *Users) SetPassword(ctx context.Context, id, password string, also func(storage.Tx) error) error {
	return u.setPassword(ctx, id, password, func(*User) error { return nil }, also)
}

// ChangePassword is SetPassword for a person who has proven who they are: proven
// is what Authenticate returned. If the password has changed since, the error is
// ErrWrongPassword: of two who know the old one, the second has proven nothing.
func (u *Users) ChangePassword(ctx context.Context, proven *User, password string, also func(storage.Tx) error) error {
	return u.setPassword(ctx, proven.ID, password, func(user *User) error {
		if user.Password != proven.Password || user.Disabled {
			return ErrWrongPassword
		}
		return nil
	}, also)
}

// setPassword writes a password if the record, as it is then, passes check.
func (u *Users) setPassword(ctx context.Context, id, password string, check func(*User) error, also func(storage.Tx) error) error {
	user, err := u.Get(ctx, id)
	if err != nil {
		return err
	}
	if user.Provider != "" {
		return ErrExternal
	}
	name, err := compared(user.Username)
	if err != nil {
		return fmt.Errorf("%w: user %q: %w", storage.ErrDamaged, id, err)
	}
	hash, err := u.hashNew(ctx, password, name)
	if err != nil {
		return err
	}
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		user, err := Get(tx, u.issuer, id)
		if err != nil {
			return err
		}
		if err := check(user); err != nil {
			return err
		}
		user.Password, user.PasswordChanged, user.Updated = hash, now(), now()
		if err := put(tx, u.issuer, user); err != nil {
			return err
		}
		return run(also, tx)
	})
	if err != nil {
		return err
	}
	u.throttle.forgetAccount(name)
	return nil
}

func run(also func(storage.Tx) error, tx storage.Tx) error {
	if also == nil {
		return nil
	}
	return also(tx)
}
