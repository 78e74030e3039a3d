package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Storage kinds of authorizations.
const (
	kindAuthorization = "authorization" // issuer, authorization id
	kindAuthorizedBy  = "authorized_by" // issuer, subject, authorization id: an index
)

// Authorization is what a person granted to a client, once. Every token that
// comes of it carries its ID, and none outlives it: to end it is to end them all.
type Authorization struct {
	ID       string      `json:"authorization_id"`
	ClientID string      `json:"client_id"`
	Subject  string      `json:"sub"`
	Scope    oauth.Scope `json:"scope"`
	Audience []string    `json:"audience"`

	// How the person signed in, for ID tokens (OpenID Connect Core §2). AuthTime is
	// zero where another provider has authenticated them and does not say when.
	AuthTime time.Time `json:"auth_time,omitzero"`
	AMR      []string  `json:"amr,omitempty"`
	ACR      string    `json:"acr,omitempty"`
	Nonce    string    `json:"nonce,omitempty"`

	// Session is the storage key of the browser session it was granted in.
	// Signing out there ends the authorization, unless it is Offline.
	Session string `json:"session,omitempty"`
	Offline bool   `json:"offline,omitempty"`

	Created time.Time `json:"created"`
	// Expiry is when nothing that came of it is good any more.
	Expiry time.Time `json:"expiry"`
}

func authorizationKey(issuer, id string) string { return issuer + " " + id }

func authorizedByKey(issuer, subject, id string) string {
	return issuer + " " + subject + " " + id
}

// Put writes an authorization.
func (l *Ledger) Put(tx storage.Tx, a *Authorization) error {
	if err := record.Put(tx, kindAuthorization, authorizationKey(l.issuer, a.ID), a, a.Expiry); err != nil {
		return err
	}
	return tx.Put(kindAuthorizedBy, authorizedByKey(l.issuer, a.Subject, a.ID), nil, a.Expiry)
}

// End deletes an authorization and writes the revocation of its
// access tokens, which the caller must enforce after the commit.
func (l *Ledger) End(tx storage.Tx, a *Authorization) (Revocation, error) {
	r := Revocation{what: revokedAuthorization, ID: a.ID, Before: record.Now(), Expiry: l.lastExpiry()}
	return r, errors.Join(
		tx.Delete(kindAuthorization, authorizationKey(l.issuer, a.ID)),
		tx.Delete(kindAuthorizedBy, authorizedByKey(l.issuer, a.Subject, a.ID)),
		l.putRevocation(tx, r),
	)
}

// Of returns what a person granted.
func (l *Ledger) Of(tx storage.Tx, subject string) ([]*Authorization, error) {
	var ids []string
	prefix := authorizedByKey(l.issuer, subject, "")
	err := tx.List(kindAuthorizedBy, prefix, func(key string, _ []byte) error {
		ids = append(ids, key[len(prefix):])
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]*Authorization, 0, len(ids))
	for _, id := range ids {
		a, err := l.Get(tx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			all = append(all, a)
		}
	}
	return all, nil
}

// EndMatching ends those of a person's authorizations that match, in one
// transaction with whatever else belongs to it, and then their tokens.
func (l *Ledger) EndMatching(ctx context.Context, subject string, match func(*Authorization) bool, also func(storage.Tx) error) error {
	var ended []Revocation
	err := l.store.Update(ctx, func(tx storage.Tx) error {
		ended = ended[:0]
		all, err := l.Of(tx, subject)
		if err != nil {
			return err
		}
		for _, a := range all {
			if !match(a) {
				continue
			}
			r, err := l.End(tx, a)
			if err != nil {
				return err
			}
			ended = append(ended, r)
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
	if err != nil {
		return err
	}
	l.Enforce(ended...)
	return nil
}

// endAuthorizationsOfClient ends what people granted to a client, and so what
// others exchanged the client's tokens for. It looks at every authorization there
// is: removing a client is rare.
func (l *Ledger) endAuthorizationsOfClient(tx storage.Tx, clientID string) (ended []Revocation, err error) {
	var granted []*Authorization
	err = tx.List(kindAuthorization, authorizationKey(l.issuer, ""), func(_ string, value []byte) error {
		a, err := record.Decode[Authorization](kindAuthorization, value)
		if err == nil && a.ClientID == clientID {
			granted = append(granted, a)
		}
		return err
	})
	for _, a := range granted {
		r, failed := l.End(tx, a)
		ended, err = append(ended, r), errors.Join(err, failed)
	}
	return ended, err
}

// Part returns a part of the authorizations in force, of one person or, with an
// empty subject, of all, by id, and the After of the next one; it is empty where
// nothing is left.
func (l *Ledger) Part(ctx context.Context, subject string, part record.Part) (found []*Authorization, next string, err error) {
	kind, prefix := kindAuthorization, authorizationKey(l.issuer, "")
	if subject != "" {
		kind, prefix = kindAuthorizedBy, authorizedByKey(l.issuer, subject, "")
	}
	err = l.store.View(ctx, func(tx storage.Tx) (err error) {
		var ids []string
		found = found[:0]
		next, err = record.List(tx, kind, prefix, part, func(id string, _ []byte) error {
			ids = append(ids, id)
			return nil
		})
		for _, id := range ids {
			switch a, err := l.Get(tx, id); {
			case err == nil:
				found = append(found, a)
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// EndByID ends an authorization and all its tokens. It returns an error that is
// storage.ErrNotFound if there is none with that id.
func (l *Ledger) EndByID(ctx context.Context, id string) error {
	var ended Revocation
	err := l.store.Update(ctx, func(tx storage.Tx) error {
		a, err := l.Get(tx, id)
		if err != nil {
			return err
		}
		ended, err = l.End(tx, a)
		return err
	})
	if err != nil {
		return err
	}
	l.Enforce(ended)
	return nil
}

// Get returns an authorization by its id. The error is
// storage.ErrNotFound if there is none.
func (l *Ledger) Get(tx storage.Tx, id string) (*Authorization, error) {
	return record.Get[Authorization](tx, kindAuthorization, authorizationKey(l.issuer, id))
}
