package issuer

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// errCode is the answer to every code that cannot be redeemed by this client;
// the cause, in the log, says why.
func errCode(cause string) *oauth.Error {
	return oauth.Refuse(oauth.InvalidGrant, "the code is unknown, expired, used already, or was given to another client").Because(errors.New(cause))
}

// redeemCode marks a code as used and writes the authorization that it stands
// for. It checks everything before it writes anything; a replay ends what the
// first redemption gave. replayed is then the revocation to enforce, and refused
// the answer: both are results of a transaction that must commit.
func (i *Issuer) redeemCode(tx storage.Tx, r *tokenRequest) (code *signin.Code, replayed *ledger.Revocation, refused, err error) {
	key, ok := record.HandleKey(i.config.URL, r.Get("code"))
	if !ok {
		return nil, nil, errCode("not a code"), nil
	}
	code, err = signin.GetCode(tx, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil, errCode("unknown or expired"), nil
	case err != nil:
		return nil, nil, nil, err
	}
	granted := &code.Authorization
	switch {
	case granted.ClientID != r.client.ID:
		return nil, nil, errCode("given to client " + granted.ClientID), nil
	case code.Redeemed && i.realm.ledger.HasEnded(granted.ID):
		return nil, nil, errCode("replayed again"), nil // nothing is left to end
	case code.Redeemed:
		ended, err := i.realm.ledger.End(tx, granted)
		return nil, &ended, errCode("replayed"), err
	case !time.Now().Before(code.Expiry):
		return nil, nil, errCode("expired"), nil
	}
	if err := checkRedemption(code, r); err != nil {
		return nil, nil, err, nil
	}
	if err := i.realm.people.CheckStillGranted(tx, granted, code.Agreement, r.client); err != nil {
		return nil, nil, err, nil
	}
	granted.Created = record.Now()
	if err := signin.PutRedeemed(tx, key, granted); err != nil {
		return nil, nil, nil, err
	}
	return code, nil, nil, i.realm.ledger.Put(tx, granted)
}

// checkRedemption holds a token request against the request that the code was
// given for.
func checkRedemption(code *signin.Code, r *tokenRequest) error {
	redirectURI := r.Get("redirect_uri")
	switch {
	case redirectURI == "" && len(r.client.RedirectURIs) > 1:
		return oauth.Refuse(oauth.InvalidGrant, "redirect_uri is missing; this client has several, so it must repeat the one of the authorization request")
	case redirectURI != "" && redirectURI != code.RedirectURI:
		return oauth.Refuse(oauth.InvalidGrant, "redirect_uri is not that of the authorization request")
	}
	if _, err := r.client.ProvenRedirectURI(code.RedirectURI, true); err != nil {
		return oauth.Refuse(oauth.InvalidGrant, "the redirect URI of the authorization request is no longer registered")
	}
	return r.client.CheckVerifier(code.CodeChallenge, r.Get("code_verifier"))
}

// stillOpen is the audience of a token that rests on an authorization: what was
// granted, or of it what was asked for, without what the client has lost since.
func (i *Issuer) stillOpen(r *tokenRequest, granted *ledger.Authorization) ([]string, error) {
	open, err := i.resources.StillOpen(r.client, granted.Audience)
	if err != nil {
		return nil, err
	}
	return narrowed(open, r.All("resource"))
}

// narrowed returns the audience of a token: all that was granted, or of it what
// was asked for (RFC 8707 §2.2).
func narrowed(granted, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return granted, nil
	}
	for _, resource := range asked {
		if !slices.Contains(granted, resource) {
			return nil, oauth.Refuse(oauth.InvalidTarget, "resource may only name what the authorization is for")
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(asked))), nil
}
