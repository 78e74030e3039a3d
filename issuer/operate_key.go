package issuer

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// Keys describes the issuer's signing keys, oldest first.
func (i *Issuer) Keys() []keys.Info { return i.realm.keys.List() }

// RotateKeys makes a new signing key; see keys.Ring.Rotate.
func (i *Issuer) RotateKeys(ctx context.Context, immediately bool) error {
	err := i.realm.keys.Rotate(ctx, immediately)
	i.realm.tellKeys(ctx)
	return err
}

// RevokeKey takes a signing key back at once: nothing that it signed is believed
// any more, here from the next request on and on other nodes within a second; see
// keys.Ring.Revoke. What is not signed, such as refresh tokens, stays good.
func (i *Issuer) RevokeKey(ctx context.Context, kid string) error {
	err := i.realm.keys.Revoke(ctx, kid)
	i.realm.tellKeys(ctx)
	return err
}
