package signin

import (
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindCode is the storage kind of codes: issuer, handle.
const kindCode = "code"

// codeLifetime is how long a client has to redeem a code (RFC 6749 §4.1.2 says
// ten minutes at most; clients need one second).
const codeLifetime = time.Minute

// Code is what the answer to an authorization request stands for. It is bound to the client, the redirect URI and the PKCE challenge.
type Code struct {
	Authorization ledger.Authorization `json:"authorization"` // as it will be, should the code be redeemed

	RedirectURI   string `json:"redirect_uri"`
	CodeChallenge string `json:"code_challenge,omitempty"`

	// Agreement is the consent that it rests on; see People.CheckStillGranted.
	Agreement string `json:"agreement,omitempty"`

	Expiry time.Time `json:"expiry"`
	// Redeemed is a field and not a deletion: a second redemption must be
	// recognized as one, because it means that the code was stolen.
	Redeemed bool `json:"redeemed,omitempty"`
}

// GetCode returns the code with a storage key. The error is storage.ErrNotFound if
// there is none.
func GetCode(tx storage.Tx, key string) (*Code, error) {
	return record.Get[Code](tx, kindCode, key)
}

// PutCode writes a code, to be remembered until expiry.
func PutCode(tx storage.Tx, key string, code *Code, expiry time.Time) error {
	return record.Put(tx, kindCode, key, code, expiry)
}

// redeemedCode is a Code that was redeemed: of it, what a replay needs.
type redeemedCode struct {
	Authorization struct {
		ID       string `json:"authorization_id"`
		ClientID string `json:"client_id"`
		Subject  string `json:"sub"`
	} `json:"authorization"`
	Redeemed bool `json:"redeemed"`
}

// PutRedeemed writes in the place of a code that it was redeemed, to be remembered
// for as long as the authorization that it gave: a replay must be able to end it.
// Of the authorization the code then knows its id, its client and its subject.
func PutRedeemed(tx storage.Tx, key string, granted *ledger.Authorization) error {
	code := redeemedCode{Redeemed: true}
	code.Authorization.ID, code.Authorization.ClientID, code.Authorization.Subject = granted.ID, granted.ClientID, granted.Subject
	return record.Put(tx, kindCode, key, &code, granted.Expiry)
}
