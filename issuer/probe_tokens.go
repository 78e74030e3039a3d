package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// ProbeTokenLifetime is how long the tokens of a probe are good.
const ProbeTokenLifetime = time.Minute

// probeTokenMark begins the jti of every token of a probe, so that logs tell them
// from those that a client asked for.
const probeTokenMark = "probe-"

// probeElsewhere is a resource that cannot be: the name is reserved (RFC 6761
// §6.4).
const probeElsewhere = "https://probe.invalid/"

// Errors of MintProbeTokens. Their text is for operators.
var (
	ErrProbeClientDisabled = errors.New("the client is disabled and can have no tokens")
	ErrProbeResource       = errors.New("the client may not have tokens for this resource")
)

// ProbeTokens are access tokens for finding out what a gate lets pass: one that
// is good and one for each way in which a token of the issuer itself can be no
// good. All carry the issuer's signature, and a jti that begins with "probe-".
type ProbeTokens struct {
	Good          string `json:"good"`
	Expired       string `json:"expired"`
	OtherAudience string `json:"other_audience"` // for another resource
	MoreAudience  string `json:"more_audience"`  // for one whose name begins with that of the gate's
	WithoutScope  string `json:"without_scope"`  // good but for its scope
	OtherType     string `json:"other_type"`     // typ is JWT, not at+jwt (RFC 9068 §4)
	Revoked       string `json:"revoked"`

	Subject string      `json:"subject"` // sub of all of them
	Scope   oauth.Scope `json:"scope"`   // of the good one

	// JWKS holds the public keys of the issuer, which forgers have too.
	JWKS json.RawMessage `json:"jwks"`
}

// MintProbeTokens makes tokens as a client would have them for itself, with all
// its scopes, for one resource. They are good for ProbeTokenLifetime; one is
// revoked before this returns.
//
// The error is storage.ErrNotFound where there is no such client,
// ErrProbeClientDisabled, or ErrProbeResource where the client could have no
// token for the resource either.
func (i *Issuer) MintProbeTokens(ctx context.Context, clientID, resource string) (*ProbeTokens, error) {
	client, err := i.Client(ctx, clientID)
	switch {
	case err != nil:
		return nil, err
	case client.Disabled:
		return nil, ErrProbeClientDisabled
	}
	if _, err := i.resources.Requested([]string{resource}, client); err != nil {
		return nil, ErrProbeResource // err says no more
	}
	scope := client.Scope.Without(oauth.PersonalScopes)
	issued := record.Now()
	long := issued.Add(-time.Hour)
	t := &ProbeTokens{Subject: clientSubject(client), Scope: scope, JWKS: i.realm.keys.JWKS()}
	for _, token := range []struct {
		into     *string
		typ      string
		audience string
		scope    oauth.Scope
		issued   time.Time
	}{
		{&t.Good, typeAccessToken, resource, scope, issued},
		{&t.Expired, typeAccessToken, resource, scope, long},
		{&t.OtherAudience, typeAccessToken, probeElsewhere, scope, issued},
		{&t.MoreAudience, typeAccessToken, resource + ".probe.invalid", scope, issued},
		{&t.WithoutScope, typeAccessToken, resource, nil, issued},
		{&t.OtherType, "JWT", resource, scope, issued},
		{&t.Revoked, typeAccessToken, resource, scope, issued},
	} {
		claims := accessTokenClaims{
			Issuer: i.URL(), Subject: t.Subject, Audience: audience{token.audience}, ClientID: client.ID, Scope: token.scope,
			Expiry: token.issued.Add(ProbeTokenLifetime).Unix(), IssuedAt: token.issued.Unix(), ID: probeTokenMark + record.RandomText(16),
		}
		if *token.into, err = i.signProbeToken(token.typ, claims); err != nil {
			return nil, err
		}
	}
	if _, err := i.revokeToken(ctx, t.Revoked); err != nil {
		return nil, fmt.Errorf("revoke a token of the probe: %w", err)
	}
	i.trail.RecordOperation(ctx, audit.ProbeTokensMinted, slog.String("client_id", client.ID), slog.String("subject", t.Subject),
		slog.String("scope", scope.String()), slog.String("resource", resource))
	return t, nil
}

func (i *Issuer) signProbeToken(typ string, claims accessTokenClaims) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return i.realm.keys.Sign(typ, text)
}
