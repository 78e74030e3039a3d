package issuer

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
)

// RevokeToken ends an access token of this issuer. It returns an error that is
// introspect.ErrInactive if it is not one that is in force.
func (i *Issuer) RevokeToken(ctx context.Context, token string) (*introspect.Token, error) {
	facts, err := i.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	return facts, i.realm.ledger.EndToken(ctx, facts)
}

// Authorizations returns the authorizations in force, of one person or, with an
// empty subject, of all, oldest first.
func (i *Issuer) Authorizations(ctx context.Context, subject string) ([]*ledger.Authorization, error) {
	return i.realm.ledger.All(ctx, subject)
}

// RevokeAuthorization ends an authorization and all its tokens. It returns an
// error that is storage.ErrNotFound if there is none with that id.
func (i *Issuer) RevokeAuthorization(ctx context.Context, id string) error {
	return i.realm.ledger.EndByID(ctx, id)
}
