package issuer

import (
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindRefreshToken is the storage kind of refresh tokens: issuer, handle.
const kindRefreshToken = "refresh_token"

// refreshToken is one link of a chain: each is used once and has one successor.
// What it is good for stands in the authorization that it belongs to; a chain
// whose authorization is gone is dead.
type refreshToken struct {
	AuthorizationID string `json:"authorization_id"`

	// Used is when the token was first exchanged for its successor. A second
	// use soon after is a lost answer, one later is a theft.
	Used time.Time `json:"used,omitzero"`
}

// errRefreshToken is the answer to every refresh token that is not good; the
// cause, in the log, says why.
func errRefreshToken(cause string) *oauth.Error {
	return oauth.Refuse(oauth.InvalidGrant, "the refresh token is unknown, expired, revoked, used already, or was given to another client").Because(errors.New(cause))
}

// putRefreshToken writes a refresh token that dies unused after the idle
// lifetime, and with its authorization at the latest.
func (i *Issuer) putRefreshToken(tx storage.Tx, handle string, a *ledger.Authorization) error {
	expiry := record.Now().Add(i.config.RefreshTokenIdleLifetime)
	if expiry.After(a.Expiry) {
		expiry = a.Expiry
	}
	key, _ := record.HandleKey(i.config.URL, handle)
	return record.Put(tx, kindRefreshToken, key, refreshToken{AuthorizationID: a.ID}, expiry)
}

// rotate exchanges a refresh token for its successor. It checks everything
// before it writes anything. A replay ends the authorization: stolen is then the
// revocation to enforce, and refused the answer, of a transaction that must
// commit.
func (i *Issuer) rotate(tx storage.Tx, r *tokenRequest) (a *ledger.Authorization, successor string, stolen *ledger.Revocation, refused, err error) {
	presented := r.Get("refresh_token")
	key, ok := record.HandleKey(i.config.URL, presented)
	if !ok {
		return nil, "", nil, errRefreshToken("not a refresh token"), nil
	}
	token, a, refused, err := i.findRefreshToken(tx, key, r.client)
	if refused != nil || err != nil {
		return nil, "", nil, refused, err
	}
	used := !token.Used.IsZero()
	if used {
		switch again, err := i.isRepeat(tx, token, presented); {
		case err != nil:
			return nil, "", nil, nil, err
		case !again:
			ended, err := i.realm.ledger.End(tx, a)
			return nil, "", &ended, errRefreshToken("replayed"), err
		}
	}
	if refused := i.checkRefresh(tx, a, r); refused != nil {
		return nil, "", nil, refused, nil
	}
	if used {
		return a, i.realm.seal.SuccessorOf(presented, token.Used), nil, nil, nil
	}
	// To the nanosecond: the successor is derived from it.
	token.Used = time.Now().UTC()
	successor = i.realm.seal.SuccessorOf(presented, token.Used)
	return a, successor, nil, nil, errors.Join(
		record.Put(tx, kindRefreshToken, key, token, a.Expiry), // kept, to recognize a replay
		i.putRefreshToken(tx, successor, a),
	)
}

// isRepeat tells a lost answer, or a second tab, from a theft: a refresh token
// that was used before gets the same successor again within the grace, as long as
// nobody has used that one. Otherwise two parties hold the chain.
func (i *Issuer) isRepeat(tx storage.Tx, token *refreshToken, presented string) (bool, error) {
	if time.Since(token.Used) >= i.config.RefreshTokenGrace {
		return false, nil
	}
	key, _ := record.HandleKey(i.config.URL, i.realm.seal.SuccessorOf(presented, token.Used))
	next, err := record.Get[refreshToken](tx, kindRefreshToken, key)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && next.Used.IsZero(), err
}

// findRefreshToken returns a refresh token of the client and its authorization.
func (i *Issuer) findRefreshToken(tx storage.Tx, key string, client *clients.Client) (token *refreshToken, a *ledger.Authorization, refused, err error) {
	token, err = record.Get[refreshToken](tx, kindRefreshToken, key)
	if err == nil {
		a, err = i.realm.ledger.Get(tx, token.AuthorizationID)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil, errRefreshToken("unknown, expired or revoked"), nil
	case err != nil:
		return nil, nil, nil, err
	case a.ClientID != client.ID:
		return nil, nil, errRefreshToken("given to client " + a.ClientID), nil
	}
	return token, a, nil, nil
}

// checkRefresh: what may have changed since the authorization was given.
func (i *Issuer) checkRefresh(tx storage.Tx, a *ledger.Authorization, r *tokenRequest) error {
	if !r.client.RefreshTokenAlways && !(r.client.Scope.Has(oauth.ScopeOfflineAccess) && a.Scope.Has(oauth.ScopeOfflineAccess)) {
		return errRefreshToken("the client may no longer have refresh tokens")
	}
	return i.realm.people.CheckGrantor(tx, a, r.client)
}
