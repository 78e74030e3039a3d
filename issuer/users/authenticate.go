package users

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrWrongPassword: no one was authenticated. It is the same for a name that
// nobody has, a wrong password, a person who has none and one who is disabled,
// and takes the same time but for some microseconds (see decoy.go).
var ErrWrongPassword = errors.New("users: wrong username or password")

// Authenticate returns the local user who has that name and that password. The
// address is where the attempt comes from: an IP address, with or without a port;
// IPv6 addresses count by their /64, and by their /48. The caller takes it from where it cannot be
// made up.
//
// The error is ErrWrongPassword, a *ThrottledError (the attempt was not looked
// at), ErrTooBusy, that of ctx, or the storage's. Only the first counts as a
// failure. What was read is true for the moment: a caller that writes something
// for the person reads them again in its transaction (see Get).
func (u *Users) Authenticate(ctx context.Context, username, password, address string) (*User, error) {
	// Neither of these can be anyone's: an attempt that proves nothing and
	// costs nothing. An unusual name is counted, so that it tells nothing.
	normal, err := normalize(password)
	if err != nil {
		return nil, ErrWrongPassword
	}
	name, err := compared(username)
	if err != nil {
		name = ""
	}
	attempt, wait := u.throttle.begin(name, address)
	if wait > 0 {
		return nil, &ThrottledError{Wait: wait}
	}
	user, err := u.verify(ctx, name, normal)
	switch {
	case err == nil:
		attempt.succeeded()
	case !errors.Is(err, ErrWrongPassword):
		attempt.abandoned()
	}
	return user, err
}

// verify hashes exactly once, whoever is asked for; twice when it succeeds with a
// hash that is out of date. The name is as compared, the password normalized.
func (u *Users) verify(ctx context.Context, name, password string) (*User, error) {
	user, err := u.candidate(ctx, name)
	if err != nil {
		return nil, err
	}
	text, real := u.hasher.decoy, false
	if user != nil && user.Password != "" {
		text, real = user.Password, true
	}
	hash, err := parsePasswordHash(text)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", user.ID, err)
	}
	matches, err := u.hasher.matches(ctx, password, hash)
	if err != nil {
		return nil, err
	}
	if !matches || !real || user.Disabled {
		return nil, ErrWrongPassword
	}
	if u.hasher.outdated(hash) {
		return u.rehash(ctx, user, password)
	}
	return user, nil
}

// candidate is find, with nil for nobody.
func (u *Users) candidate(ctx context.Context, name string) (user *User, err error) {
	if name == "" {
		return nil, nil
	}
	err = u.storage.View(ctx, func(tx storage.Tx) error {
		user, err = find(tx, u.issuer, name)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return user, nil
}

// rehash keeps a password that was just proven with today's parameters, unless
// it was changed in between: then what was proven is not the password any more.
func (u *Users) rehash(ctx context.Context, user *User, password string) (*User, error) {
	hash, err := u.hasher.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	var fresh *User
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		var err error
		if fresh, err = Get(tx, u.issuer, user.ID); err != nil {
			return err
		}
		if fresh.Password != user.Password || fresh.Disabled {
			return ErrWrongPassword
		}
		fresh.Password = hash.String()
		return put(tx, u.issuer, fresh)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrWrongPassword
	}
	if err != nil {
		return nil, err
	}
	return fresh, nil
}
