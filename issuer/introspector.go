package issuer

import (
	"context"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// errRevoked is the answer to a token that was good until it was revoked.
var errRevoked = &introspect.InactiveError{Reason: "the token was revoked"}

// Introspect judges an access token of this issuer; it makes the issuer an
// introspect.Introspector for gateways in the same process. The facts come from
// a bounded cache, the verdict never does: expiry and revocation are looked at
// on every call. Where other nodes may have revoked a token and this one cannot
// know, the answer is introspect.ErrUnavailable; see OutOfTouch.
func (i *Issuer) Introspect(ctx context.Context, token string) (*introspect.Token, error) {
	facts, err := i.realm.verified.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	if i.realm.ledger.Covers(facts) {
		return nil, errRevoked
	}
	if err := i.state.touch(); err != nil {
		return nil, err
	}
	if err := i.realm.checkClient(ctx, facts.ClientID); err != nil {
		return nil, err
	}
	return facts, nil
}

var _ introspect.Introspector = (*Issuer)(nil)

// Revoked tells whether a token that Introspect has returned was revoked since.
// It costs a look into memory.
func (i *Issuer) Revoked(token *introspect.Token) bool { return i.realm.ledger.Covers(token) }

// Forgotten is a number, never zero, that changes when tokens which Introspect has
// called active may be so no more for another reason than those of Revoked: the key
// that signed them was taken back, or another configuration has other clients.
// Whoever relies on such a token for longer than one request then asks Introspect
// again.
func (i *Issuer) Forgotten() uint64 { return i.realm.verified.Forgotten() }

// ringKeys lets a verifier look keys up where they are made, without a JWKS and
// a fetch between.
type ringKeys struct{ ring *keys.Ring }

func (k ringKeys) Key(_ context.Context, kid string) (*introspect.Key, error) {
	public, algorithm, ok := k.ring.Public(kid)
	if !ok {
		return nil, introspect.ErrUnknownKey
	}
	return &introspect.Key{ID: kid, Algorithm: string(algorithm), Public: public}, nil
}
