package users

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Storage kinds of this package. Their keys begin with the issuer's URL and a
// space, which no URL has.
const (
	kindUser     = "user"     // key: subject; value: record
	kindUsername = "username" // key: name as compared; value: subject
	kindIdentity = "identity" // key: hash of provider and subject there; value: subject here
)

// User is a person. The JSON names are those of the claims in OpenID Connect
// Core §5.1 where it has one. The JSON of a User has nothing secret in it: the
// password's hash is left out.
type User struct {
	// ID is the sub of the person's tokens: "u:" and 128 random bits in
	// base64url. It is never given to anyone else, not even after Remove.
	ID string `json:"sub"`

	// Username is what the person signs in with, as it was typed when the
	// person was added. Of someone whom another provider vouches for it is the
	// provider, a colon and the name there: only to be shown, not unique, and
	// never that of a local user, which has no colon.
	Username string `json:"username"`

	// What the scope profile releases.
	Name       string `json:"name,omitempty"`
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
	Locale     string `json:"locale,omitempty"`
	Picture    string `json:"picture,omitempty"`

	// What the scope email releases.
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`

	// What the scope phone releases.
	PhoneNumber         string `json:"phone_number,omitempty"`
	PhoneNumberVerified bool   `json:"phone_number_verified,omitempty"`

	// What the scope address releases.
	Address Address `json:"address,omitzero"`

	// Operator may decide on applications of clients.
	Operator bool `json:"operator,omitempty"`

	// Disabled takes every right from the person without forgetting them.
	Disabled bool `json:"disabled,omitempty"`

	// Provider vouches for the person, whose sub there is ProviderSubject (see
	// Users.Link). Both are empty for a local user.
	Provider        string `json:"provider,omitempty"`
	ProviderSubject string `json:"provider_subject,omitempty"`

	// Password is the hash of the password (see password.go); empty means that
	// the person cannot sign in with one.
	Password string `json:"-"`

	// Created is when the person was added, Updated the last change by
	// someone, PasswordChanged that of the password; zero when there never
	// was one.
	Created         time.Time `json:"created"`
	Updated         time.Time `json:"updated"`
	PasswordChanged time.Time `json:"password_changed,omitzero"`
}

// Address is the address claim of OpenID Connect Core §5.1.1.
type Address struct {
	Formatted     string `json:"formatted,omitempty"`
	StreetAddress string `json:"street_address,omitempty"`
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// stored is the record of a User: with what a User's JSON leaves out.
type stored struct {
	*User
	Password string `json:"password,omitempty"`
}

// newID makes a subject. crypto/rand cannot fail: it ends the process before it
// returns anything predictable.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return "u:" + base64.RawURLEncoding.EncodeToString(b[:])
}

// now is the time as records keep it: to the second.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// key puts the records of one issuer under one prefix.
func key(issuer, rest string) string { return issuer + " " + rest }

// Get returns the person with that subject inside a caller's transaction. The
// error is storage.ErrNotFound, or storage.ErrDamaged. A caller that is about
// to act for the person looks at Disabled.
func Get(tx storage.Tx, issuer, id string) (*User, error) {
	value, err := tx.Get(kindUser, key(issuer, id))
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", id, err)
	}
	return decode(value)
}

func decode(value []byte) (*User, error) {
	r := stored{User: new(User)}
	if err := json.Unmarshal(value, &r); err != nil || r.User == nil || r.User.ID == "" {
		// The cause could quote the record, with the hash in it.
		return nil, fmt.Errorf("%w: a user's record", storage.ErrDamaged)
	}
	r.User.Password = r.Password
	return r.User, nil
}

func put(tx storage.Tx, issuer string, user *User) error {
	value, err := json.Marshal(stored{user, user.Password})
	if err != nil {
		return fmt.Errorf("user %q: %w", user.ID, err)
	}
	return tx.Put(kindUser, key(issuer, user.ID), value, time.Time{})
}
