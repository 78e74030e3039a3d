package issuer

import (
	"encoding/json"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// typeAccessToken is the typ that sets access tokens apart from every other JWT
// of this issuer (RFC 9068 §2.1).
const typeAccessToken = "at+jwt"

// accessTokenClaims are those of RFC 9068 §2.2. None of the required ones can
// be left out: they have no omitempty.
type accessTokenClaims struct {
	Issuer   string      `json:"iss"`
	Subject  string      `json:"sub"`
	Audience audience    `json:"aud"`
	ClientID string      `json:"client_id"`
	Scope    oauth.Scope `json:"scope,omitempty"`
	Expiry   int64       `json:"exp"`
	IssuedAt int64       `json:"iat"`
	ID       string      `json:"jti"`

	AuthorizationID string            `json:"authorization_id,omitempty"`
	Actor           *introspect.Actor `json:"act,omitempty"` // RFC 8693 §4.1

	// MayAct is who may act for the subject (RFC 8693 §4.4), if the token that was
	// exchanged said so: it holds for what comes of it, too.
	MayAct *introspect.Actor `json:"may_act,omitempty"`

	// SubjectIssuer is who vouched for the subject, if it is not this issuer.
	SubjectIssuer string `json:"subject_issuer,omitempty"`
}

// audience is aud: one string, or an array of several (RFC 7519 §4.1.3).
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// mintAccessToken signs what was approved, and names it.
func (i *Issuer) mintAccessToken(client *clients.Client, approved *approval) (token string, lifetime time.Duration, err error) {
	issued := approved.issued
	lifetime = i.config.AccessTokenLifetime
	if !approved.notAfter.IsZero() {
		lifetime = min(lifetime, approved.notAfter.Sub(issued).Truncate(time.Second))
	}
	if a := approved.authenticated; a != nil { // or there would be nothing left to end it by
		lifetime = min(lifetime, a.Expiry.Sub(issued).Truncate(time.Second))
	}
	if lifetime <= 0 {
		return "", 0, oauth.Refuse(oauth.InvalidRequest, "a token that was presented is about to expire; nothing can be given for it")
	}
	if len(approved.audience) == 0 {
		// The last place to notice: a token without aud is good at every gate
		// that forgets to look.
		return "", 0, oauth.Refuse(oauth.InvalidTarget, "the token would be for nobody")
	}
	approved.tokenID = tokenID(approved.parent)
	claims, err := json.Marshal(accessTokenClaims{
		Issuer: i.config.URL, Subject: approved.subject, Audience: approved.audience,
		ClientID: client.ID, Scope: approved.scope,
		Expiry: issued.Add(lifetime).Unix(), IssuedAt: issued.Unix(), ID: approved.tokenID,
		AuthorizationID: approved.authorizationID, Actor: approved.actor, SubjectIssuer: approved.subjectIssuer, MayAct: approved.mayAct,
	})
	if err != nil {
		return "", 0, err
	}
	token, err = i.realm.keys.Sign(typeAccessToken, claims)
	return token, lifetime, err
}

// tokenID makes a jti. That of a token which another one was exchanged for begins
// with the other's and a dot, so that revoking one ends all that came of it.
func tokenID(parent string) string {
	if parent == "" {
		return record.RandomText(16)
	}
	return parent + "." + record.RandomText(16)
}

// seconds is a lifetime as the RFCs give it.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
