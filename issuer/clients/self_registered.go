package clients

import (
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindUnused is the storage kind of an index: the clients that registered
// themselves and that nobody has consented to yet, each with where it registered from.
// An entry and its client expire together.
const kindUnused = "unused_client"

// Registration is what is kept of a client that registered itself (RFC 7591),
// beside its metadata.
type Registration struct {
	// Token is the hash of the registration access token (RFC 7592 §1.2).
	Token SecretHash `json:"token"`

	AuthMethod string `json:"token_endpoint_auth_method"`

	// UnusedUntil is when the client is forgotten, unless somebody consents to it
	// before; zero: somebody has, or an operator has approved it.
	UnusedUntil time.Time `json:"unused_until,omitzero"`

	// Changed is when the client last changed its metadata; what people agreed to
	// before that, they agreed to for another description.
	Changed time.Time `json:"changed,omitzero"`

	// Application is the reference of the request in which an operator decides
	// about the client, and Approved when it was; see RegistrationByApproval.
	Application string    `json:"application,omitempty"`
	Approved    time.Time `json:"approved,omitzero"`
}

// expiry is when the record of a client goes; zero: never.
func (c *Client) expiry() time.Time {
	if c.Registration == nil {
		return time.Time{}
	}
	return c.Registration.UnusedUntil
}

// IsUnused tells whether nobody has agreed to the client yet, which anybody may have
// registered. To send people on to where it says would make the server a relay to
// anywhere (RFC 9700 §4.11.2).
func (c *Client) IsUnused() bool {
	return c.Registration != nil && !c.Registration.UnusedUntil.IsZero()
}

// ChangedSince tells whether the client has changed its own metadata at t or
// later.
func (c *Client) ChangedSince(t time.Time) bool {
	return c.Registration != nil && !c.Registration.Changed.IsZero() && !t.After(c.Registration.Changed)
}

// Keep makes a client that registered itself last: somebody has consented
// to it. It belongs to the transaction that writes the consent.
func Keep(tx storage.Tx, issuer, id string) error {
	key := clientKey(issuer, id)
	switch _, err := tx.Get(kindUnused, key); {
	case errors.Is(err, storage.ErrNotFound):
		return nil // any other client, or used before
	case err != nil:
		return err
	}
	client, err := Get(tx, issuer, id)
	if err != nil {
		return err
	}
	return PutLasting(tx, issuer, client)
}

// PutUnused writes a client that goes at its UnusedUntil if nobody consents to it. from
// is where it registered from; empty: not known.
func PutUnused(tx storage.Tx, issuer string, client *Client, from string) error {
	return errors.Join(
		tx.Put(kindUnused, clientKey(issuer, client.ID), []byte(from), client.Registration.UnusedUntil),
		Put(tx, issuer, client),
	)
}

// PutLasting writes a client that lasts from now on, though it registered itself.
func PutLasting(tx storage.Tx, issuer string, client *Client) error {
	if client.Registration != nil {
		client.Registration.UnusedUntil = time.Time{}
	}
	return errors.Join(tx.Delete(kindUnused, clientKey(issuer, client.ID)), Put(tx, issuer, client))
}

// CountUnused counts the clients that nobody has consented to yet, and those of them
// that registered from a place.
func CountUnused(tx storage.Tx, issuer, from string) (all, fromThere int, err error) {
	err = tx.List(kindUnused, clientKey(issuer, ""), func(_ string, place []byte) error {
		if all++; from != "" && string(place) == from {
			fromThere++
		}
		return nil
	})
	return all, fromThere, err
}

// IsWaiting tells whether an operator is still to decide about the client.
func (c *Client) IsWaiting() bool {
	return c.Registration != nil && c.Registration.Application != "" && c.Registration.Approved.IsZero()
}
