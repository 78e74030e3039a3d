package oauth

import (
	"encoding/json"
	"slices"
	"strings"
)

// Scope is a set of scope tokens (RFC 6749 §3.3), in the order given, none
// twice. In JSON it is the space-delimited string that the RFCs use.
type Scope []string

// The scopes of OpenID Connect Core §5.4 and §11. Every issuer has them; they
// are about people, so only grants that a person takes part in give them.
const (
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopePhone         = "phone"
	ScopeAddress       = "address"
	ScopeOfflineAccess = "offline_access"
)

// PersonalScopes are those that are about people. It is not changed.
var PersonalScopes = Scope{ScopeOpenID, ScopeProfile, ScopeEmail, ScopePhone, ScopeAddress, ScopeOfflineAccess}

// ParseScope splits a scope parameter. Spaces at its ends and doubled ones are
// forgiven, because clients send them. ok is false when a token has a character
// that RFC 6749 §3.3 forbids.
func ParseScope(s string) (scope Scope, ok bool) {
	for _, token := range strings.Split(s, " ") {
		if token == "" {
			continue
		}
		if !ValidScopeToken(token) {
			return nil, false
		}
		if !slices.Contains(scope, token) {
			scope = append(scope, token)
		}
	}
	return scope, true
}

// ValidScopeToken tells whether a text can be the name of a scope: RFC 6749 §3.3
// has 1*( %x21 / %x23-5B / %x5D-7E ).
func ValidScopeToken(token string) bool {
	for _, c := range []byte(token) {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return token != ""
}

// Has tells whether the set has the token; case counts.
func (s Scope) Has(token string) bool { return slices.Contains(s, token) }

// Contains tells whether other is a subset.
func (s Scope) Contains(other Scope) bool {
	for _, token := range other {
		if !s.Has(token) {
			return false
		}
	}
	return true
}

// Intersect returns the tokens of s that other has too.
func (s Scope) Intersect(other Scope) Scope {
	var both Scope
	for _, token := range s {
		if other.Has(token) {
			both = append(both, token)
		}
	}
	return both
}

// Without returns the tokens of s that other does not have.
func (s Scope) Without(other Scope) Scope {
	var rest Scope
	for _, token := range s {
		if !other.Has(token) {
			rest = append(rest, token)
		}
	}
	return rest
}

// String is the space-delimited form.
func (s Scope) String() string { return strings.Join(s, " ") }

// MarshalJSON writes the space-delimited form.
func (s Scope) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the space-delimited form.
func (s *Scope) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	scope, ok := ParseScope(text)
	if !ok {
		return ErrScopeSyntax
	}
	*s = scope
	return nil
}

// ErrScopeSyntax refuses a scope that is none.
var ErrScopeSyntax = Refuse(InvalidScope, "a scope has a character that RFC 6749 section 3.3 does not allow")

// RequestedScope is the scope of a request at the token endpoint: what was
// asked for, which must be within allowed, or all of allowed if nothing was
// (RFC 6749 §3.3).
func RequestedScope(parameter string, allowed Scope) (Scope, error) {
	asked, ok := ParseScope(parameter)
	switch {
	case !ok:
		return nil, ErrScopeSyntax
	case len(asked) == 0:
		return allowed, nil
	case !allowed.Contains(asked):
		return nil, Refuse(InvalidScope, "the scope asked for is not within what this client may have: %s", allowed)
	}
	return asked, nil
}
