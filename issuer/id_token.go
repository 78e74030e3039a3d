package issuer

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// typeIDToken keeps ID tokens from being taken for access tokens.
const typeIDToken = "JWT"

// idTokenClaims are those of OpenID Connect Core §2.
type idTokenClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expiry   int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`

	AuthTime        *int64   `json:"auth_time,omitempty"`
	Nonce           string   `json:"nonce,omitempty"`
	ACR             string   `json:"acr,omitempty"`
	AMR             []string `json:"amr,omitempty"`
	AccessTokenHash string   `json:"at_hash,omitempty"`

	personalClaims
}

// mintIDToken signs who signed in, for the client that asked with openid. nonce
// is empty on a refresh (OpenID Connect Core §12.2).
func (i *Issuer) mintIDToken(ctx context.Context, client *clients.Client, approved *approval, accessToken string) (string, error) {
	a := approved.authenticated
	user, err := i.realm.users.Get(ctx, a.Subject)
	if err != nil {
		return "", err
	}
	issued := record.Now()
	claims, err := json.Marshal(idTokenClaims{
		Issuer: i.config.URL, Subject: a.Subject, Audience: client.ID,
		Expiry: issued.Add(i.config.AccessTokenLifetime).Unix(), IssuedAt: issued.Unix(),
		AuthTime: authTime(a), Nonce: approved.nonce, ACR: a.ACR, AMR: a.AMR,
		AccessTokenHash: accessTokenHash(accessToken, i.realm.keys.Algorithm()),
		personalClaims:  claimsFor(user, approved.scope),
	})
	if err != nil {
		return "", err
	}
	return i.realm.keys.Sign(typeIDToken, claims)
}

// authTime is auth_time, or nothing where nobody has said when the person
// authenticated. It is there whenever the client has sent max_age, as Core §2 wants,
// because such a sign-in is not accepted then.
func authTime(a *ledger.Authorization) *int64 {
	if a.AuthTime.IsZero() {
		return nil
	}
	seconds := a.AuthTime.Unix()
	return &seconds
}

// accessTokenHash is at_hash: the left half of the hash that goes with the
// signature's algorithm (OpenID Connect Core §3.1.3.6). For EdDSA, of which the
// text says nothing, it is that of Ed25519's own hash, as other providers do.
func accessTokenHash(token string, algorithm keys.Algorithm) string {
	if algorithm == keys.EdDSA {
		sum := sha512.Sum512([]byte(token))
		return leftHalf(sum[:])
	}
	sum := sha256.Sum256([]byte(token))
	return leftHalf(sum[:])
}

func leftHalf(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]) }

// personalClaims are what the scopes of OpenID Connect Core §5.4 release. They
// stand in the ID token as well as in the answer of userinfo: many clients look
// only there.
type personalClaims struct {
	Name              string         `json:"name,omitempty"`
	GivenName         string         `json:"given_name,omitempty"`
	FamilyName        string         `json:"family_name,omitempty"`
	PreferredUsername string         `json:"preferred_username,omitempty"`
	Locale            string         `json:"locale,omitempty"`
	Picture           string         `json:"picture,omitempty"`
	UpdatedAt         int64          `json:"updated_at,omitempty"`
	Email             string         `json:"email,omitempty"`
	EmailVerified     *bool          `json:"email_verified,omitempty"`
	PhoneNumber       string         `json:"phone_number,omitempty"`
	PhoneVerified     *bool          `json:"phone_number_verified,omitempty"`
	Address           *users.Address `json:"address,omitempty"`
}

func claimsFor(user *users.User, scope oauth.Scope) personalClaims {
	var c personalClaims
	if scope.Has(oauth.ScopeProfile) {
		c.Name, c.GivenName, c.FamilyName, c.PreferredUsername = user.Name, user.GivenName, user.FamilyName, user.Username
		c.Locale, c.Picture, c.UpdatedAt = user.Locale, user.Picture, user.Updated.Unix()
	}
	if scope.Has(oauth.ScopeEmail) && user.Email != "" {
		c.Email, c.EmailVerified = user.Email, &user.EmailVerified
	}
	if scope.Has(oauth.ScopePhone) && user.PhoneNumber != "" {
		c.PhoneNumber, c.PhoneVerified = user.PhoneNumber, &user.PhoneNumberVerified
	}
	if scope.Has(oauth.ScopeAddress) && user.Address != (users.Address{}) {
		c.Address = &user.Address
	}
	return c
}

// hintedSubject reads an ID token that comes back as a hint: whom it was about
// and for which client. It must be ours, and may have expired (OpenID Connect
// RP-Initiated Logout §2).
func (i *Issuer) hintedSubject(hint string) (subject, clientID string, err error) {
	payload, err := introspect.VerifyJWS(context.Background(), hint, typeIDToken, ringKeys{i.realm.keys})
	if err != nil {
		return "", "", err
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", "", err
	}
	if claims.Issuer != i.config.URL || claims.Subject == "" || claims.IssuedAt > time.Now().Unix()+60 {
		return "", "", errors.New("the ID token is of another issuer, or from the future")
	}
	return claims.Subject, claims.Audience, nil
}
