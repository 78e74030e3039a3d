package issuer

import (
	"context"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// Observer is told what an issuer does, by the goroutine that does it: its methods
// are quick and may be called by many at once. Every grant type is one of
// oauth.GrantTypes, or "" where the request named none of them; a client ID is
// that of a client that was proven, or "".
type Observer interface {
	// TokenIssued: a token request was granted. The context is the request's.
	TokenIssued(ctx context.Context, grantType, clientID string)

	// TokenRefused: a token request was refused, for whatever reason. The context
	// is the request's.
	TokenRefused(ctx context.Context, grantType, clientID string, code oauth.ErrorCode)

	// TokenVerified: an access token was verified, because no earlier verification
	// of it was remembered. The error is that of an introspect.Introspector.
	TokenVerified(took time.Duration, err error)

	// RefreshTokenReused: a refresh token was used twice, and what it belonged to
	// has been ended. The request's answer waits for this call.
	RefreshTokenReused(clientID, authorizationID string)

	// LoginFailed: somebody did not sign in. The reason is "password",
	// "throttled" or "upstream".
	LoginFailed(reason string)

	// KeyActivated: another key signs from now on.
	KeyActivated(kid string)
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) TokenIssued(context.Context, string, string)                   {}
func (nobody) TokenRefused(context.Context, string, string, oauth.ErrorCode) {}
func (nobody) TokenVerified(time.Duration, error)                            {}
func (nobody) RefreshTokenReused(string, string)                             {}
func (nobody) LoginFailed(string)                                            {}
func (nobody) KeyActivated(string)                                           {}
