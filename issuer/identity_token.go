package issuer

import (
	"encoding/json"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

const (
	// typeIdentityToken keeps identity tokens apart from every other JWT of the
	// issuer (RFC 8725 §3.11): an API that is given one cannot use it at a gate,
	// nor as a hint of who signed in.
	typeIdentityToken = "identity+jwt"

	// identityTokenLifetime is how long an identity token is good: as long as it
	// may take from the gate to whatever the API asks in turn.
	identityTokenLifetime = time.Minute
)

// identityTokenClaims are those of an access token that an API needs to know.
type identityTokenClaims struct {
	Issuer        string            `json:"iss"`
	Subject       string            `json:"sub"`
	Audience      string            `json:"aud"`
	ClientID      string            `json:"client_id,omitempty"`
	Scope         oauth.Scope       `json:"scope,omitempty"`
	Expiry        int64             `json:"exp"`
	IssuedAt      int64             `json:"iat"`
	ID            string            `json:"jti"`
	Actor         *introspect.Actor `json:"act,omitempty"`
	TokenIssuer   string            `json:"token_issuer"`
	SubjectIssuer string            `json:"subject_issuer,omitempty"`
}

// MintIdentityToken signs a JWT by which the API behind a gate, the audience, can
// verify who calls: the facts of an access token that the gate has judged, whoever
// issued that. Its typ is identity+jwt, its keys are those that the issuer
// publishes, and it expires after a minute or with the access token, whichever is
// first.
func (i *Issuer) MintIdentityToken(token *introspect.Token, audience string) (text string, expiry time.Time, err error) {
	issued := record.Now()
	expiry = issued.Add(identityTokenLifetime)
	if !token.Expiry.IsZero() && token.Expiry.Before(expiry) {
		expiry = token.Expiry
	}
	claims := identityTokenClaims{
		Issuer: i.config.URL, Subject: token.Subject, Audience: audience, ClientID: token.ClientID, Scope: oauth.Scope(token.Scope),
		Expiry: expiry.Unix(), IssuedAt: issued.Unix(), ID: record.RandomText(16), Actor: token.Actor, TokenIssuer: token.Issuer,
	}
	if value, ok := token.Claim("subject_issuer"); ok && token.Issuer == i.config.URL {
		if err := json.Unmarshal(value, &claims.SubjectIssuer); err != nil {
			return "", time.Time{}, err
		}
	}
	encoded, err := json.Marshal(claims)
	if err != nil {
		return "", time.Time{}, err
	}
	text, err = i.realm.keys.Sign(typeIdentityToken, encoded)
	return text, expiry, err
}
