package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Introspector tells what an access token grants.
type Introspector interface {
	// Introspect returns the facts of an active token. It returns an error
	// that is ErrInactive (errors.Is) when the token is surely not acceptable
	// (malformed, forged, expired, revoked, of another issuer), and one that is
	// ErrUnavailable when that cannot be told now. Callers answer the first
	// with 401 invalid_token and the second with 503: never with a pass.
	//
	// The Token is shared between requests and must not be changed.
	Introspect(ctx context.Context, token string) (*Token, error)
}

var (
	// ErrInactive is what errors.Is finds in every refusal of a token. The
	// error itself is an *InactiveError that says why.
	ErrInactive = errors.New("the token is not active")

	// ErrUnavailable is what errors.Is finds when a token could not be judged.
	ErrUnavailable = errors.New("the token cannot be judged now")
)

// InactiveError says why a token was refused. Reason is fixed text, safe to
// show to the client's developer (RFC 6750 error_description); it never holds a part
// of the token. Cause, for the log only, may be nil.
type InactiveError struct {
	Reason string
	Cause  error
}

// Error is for the log: it has the cause.
func (e *InactiveError) Error() string {
	if e.Cause != nil {
		return e.Reason + ": " + e.Cause.Error()
	}
	return e.Reason
}

// Is makes every InactiveError an ErrInactive.
func (e *InactiveError) Is(target error) bool { return target == ErrInactive }

// Unwrap returns the cause.
func (e *InactiveError) Unwrap() error { return e.Cause }

// Token holds the facts of an access token, whoever issued it (RFC 9068 §2.2,
// RFC 7662 §2.2). It is immutable once returned.
type Token struct {
	Issuer   string   // iss
	Subject  string   // sub
	ClientID string   // client_id
	Audience []string // aud
	Scope    []string // scope, split at spaces
	ID       string   // jti

	// AuthorizationID names what was granted once and what this token came
	// from; revoking it ends the token. Only tokens of this project have it.
	AuthorizationID string

	IssuedAt time.Time // iat
	Expiry   time.Time // exp

	// Actor is who acts for the subject (RFC 8693 §4.1), nil without delegation.
	Actor *Actor

	// Claims is the whole claims set as a JSON object; it has been checked to
	// be one, with no repeated member.
	Claims json.RawMessage
}

// Actor is one link of the act chain; the outermost is the current actor, the
// nested ones acted before it and are informational (RFC 8693 §4.1).
type Actor struct {
	Issuer  string `json:"iss,omitempty"`
	Subject string `json:"sub"`
	// ClientID is client_id if the claim has it.
	ClientID string `json:"client_id,omitempty"`
	Actor    *Actor `json:"act,omitempty"`
}

// Name is what the actor is called among those whom the issuer of the token names: one
// of another issuer has that one's URL and "|" in front, so that it passes for none of
// them.
func (a *Actor) Name(tokenIssuer string) string {
	if a.Issuer == "" || a.Issuer == tokenIssuer {
		return a.Subject
	}
	return a.Issuer + "|" + a.Subject
}

// HasScope tells whether the token grants scope (exact, case-sensitive).
func (t *Token) HasScope(scope string) bool {
	for _, s := range t.Scope {
		if s == scope {
			return true
		}
	}
	return false
}

// HasAudience tells whether the token is meant for audience (exact).
func (t *Token) HasAudience(audience string) bool {
	for _, a := range t.Audience {
		if a == audience {
			return true
		}
	}
	return false
}
