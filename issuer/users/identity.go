package users

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Errors of Users.Link.
var (
	// ErrIdentity: provider or subject is empty or too long.
	ErrIdentity = errors.New("users: not an identity")

	// ErrDisabled: the person is known and has no rights any more.
	ErrDisabled = errors.New("users: the person is disabled")
)

// maxProvider and maxSubject bound an identity, in bytes. OpenID Connect Core §2
// allows 255 characters for a sub; a provider is an issuer's URL or a short name.
const (
	maxProvider = 1024
	maxSubject  = 255
)

// Link returns the user who stands behind an identity: subject at provider. The
// first time it adds one. Each time it takes over what profile says for the
// scopes profile, email, phone and address, whether or not that is empty, since
// it is the provider that knows the person.
//
// An identity is provider and subject and nothing else (OpenID Connect Core
// §5.7): a name or e-mail address that equals someone else's makes no
// connection to them. The username is shown as "provider:name", or
// "provider:subject" where profile has no Username; it cannot be signed in with.
//
// The caller has verified what the provider said. The error is ErrIdentity,
// ErrDisabled (nothing was changed then), or the storage's.
func (u *Users) Link(ctx context.Context, provider, subject string, profile User) (user *User, err error) {
	if provider == "" || subject == "" || len(provider) > maxProvider || len(subject) > maxSubject {
		return nil, ErrIdentity
	}
	fresh := newID()
	err = u.storage.Update(ctx, func(tx storage.Tx) error {
		user, err = u.link(tx, provider, subject, profile, fresh)
		return err
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// link finds or adds; an added user gets the subject fresh.
func (u *Users) link(tx storage.Tx, provider, subject string, profile User, fresh string) (*User, error) {
	index := identityKey(u.issuer, provider, subject)
	switch id, err := tx.Get(kindIdentity, index); {
	case err == nil:
		return u.refresh(tx, string(id), provider, subject, profile)
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	user := &User{ID: fresh, Provider: provider, ProviderSubject: subject, Created: now(), Updated: now()}
	user.adopt(profile)
	if err := tx.Put(kindIdentity, index, []byte(user.ID), time.Time{}); err != nil {
		return nil, err
	}
	return user, put(tx, u.issuer, user)
}

// refresh takes over the profile, and writes only what is new: most people sign
// in as they were.
func (u *Users) refresh(tx storage.Tx, id, provider, subject string, profile User) (*User, error) {
	user, err := indexed(tx, u.issuer, id)
	if err != nil {
		return nil, err
	}
	if user.Provider != provider || user.ProviderSubject != subject {
		return nil, fmt.Errorf("%w: the identity of user %q", storage.ErrDamaged, id)
	}
	if user.Disabled {
		return nil, ErrDisabled
	}
	before := *user
	user.adopt(profile)
	if *user == before {
		return user, nil
	}
	user.Updated = now()
	return user, put(tx, u.issuer, user)
}

// adopt takes over what a provider may say about a person. What the issuer
// decides (Operator, Disabled) is not among it.
func (u *User) adopt(profile User) {
	name := profile.Username
	if name == "" {
		name = u.ProviderSubject
	}
	u.Username = u.Provider + ":" + name
	u.Name, u.GivenName, u.FamilyName = profile.Name, profile.GivenName, profile.FamilyName
	u.Locale, u.Picture = profile.Locale, profile.Picture
	u.Email, u.EmailVerified = profile.Email, profile.EmailVerified
	u.PhoneNumber, u.PhoneNumberVerified = profile.PhoneNumber, profile.PhoneNumberVerified
	u.Address = profile.Address
}

// identityKey hashes provider and subject, since both may be long and have any
// character in them. The length keeps apart what runs together.
func identityKey(issuer, provider, subject string) string {
	text := binary.BigEndian.AppendUint64(nil, uint64(len(provider)))
	text = append(append(text, provider...), subject...)
	sum := sha256.Sum256(text)
	return key(issuer, base64.RawURLEncoding.EncodeToString(sum[:]))
}
