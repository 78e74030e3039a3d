package clients

import (
	"errors"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrWaiting: an operator is still to decide about the client, and does so by
// answering its request. Its text is for operators.
var ErrWaiting = errors.New("this client registered itself and waits for approval; approve or reject its application")

// SetDisabled takes every right from a stored client, or gives them back, and
// returns the client as it is then. What it holds at that moment has to be ended
// in the same transaction. The error is ErrDeclared, ErrWaiting,
// storage.ErrNotFound, or another of the storage's.
func (x *Registry) SetDisabled(tx storage.Tx, id string, disabled bool) (*Client, error) {
	if x.declared[id] != nil {
		return nil, ErrDeclared
	}
	if validateID(id) != nil {
		return nil, storage.ErrNotFound
	}
	client, err := Get(tx, x.issuer, id)
	if err != nil {
		return nil, err
	}
	if client.IsWaiting() {
		return nil, ErrWaiting
	}
	client.Disabled = disabled
	if disabled {
		client.LastDisabled = record.Now()
	}
	return client, Put(tx, x.issuer, client)
}

// IsInForce tells whether a client that was proven before the transaction is still
// the one that was proven, and may still have something: it may have been removed
// or disabled meanwhile.
func (c *Client) IsInForce(tx storage.Tx, issuer string) (bool, error) {
	if c.Declared {
		return !c.Disabled, nil
	}
	now, err := Get(tx, issuer, c.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && !now.Disabled && now.Created.Equal(c.Created) && now.LastDisabled.Equal(c.LastDisabled), err
}

// IsUnchanged is IsInForce for a client that somebody has been shown: it has not
// changed what it says about itself either.
func (c *Client) IsUnchanged(tx storage.Tx, issuer string) (bool, error) {
	switch inForce, err := c.IsInForce(tx, issuer); {
	case err != nil || !inForce:
		return false, err
	case c.Registration == nil:
		return true, nil // only one that registered itself can
	}
	now, err := Get(tx, issuer, c.ID)
	return err == nil && now.Registration != nil && now.Registration.Changed.Equal(c.Registration.Changed), err
}
