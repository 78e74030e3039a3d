package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// ScopeRule says which scopes a request needs.
type ScopeRule struct {
	// Methods the rule is for; all when empty. They are compared as they are,
	// because they are case-sensitive (RFC 9110 §9.1): "get" is not GET.
	Methods []string `json:"methods,omitempty"`

	// Paths the rule is for, as Caddy's path matcher has them; all when empty.
	// /orders/* is for /orders as well, and /orders for /orders/, but for nothing
	// below it.
	Paths caddyhttp.MatchPath `json:"paths,omitempty"`

	// Scopes that are needed, all of them.
	Scopes []string `json:"scopes,omitempty"`

	// AnyScopes are scopes of which one is needed.
	AnyScopes []string `json:"any_scopes,omitempty"`
}

func (r *ScopeRule) validate() error {
	if len(r.Scopes)+len(r.AnyScopes) == 0 {
		return errors.New("a scope rule without scopes")
	}
	for _, scope := range slices.Concat(r.Scopes, r.AnyScopes) {
		if !oauth.ValidScopeToken(scope) {
			return fmt.Errorf("scope %q: RFC 6749 section 3.3 allows printable ASCII without space, quote and backslash", scope)
		}
	}
	for _, method := range r.Methods {
		if method != strings.ToUpper(method) || strings.Trim(method, methodCharacters) != "" || method == "" {
			return fmt.Errorf("method %q: write methods in upper case, with commas and no spaces between, or * for all", method)
		}
	}
	return validatePaths(r.Paths)
}

// methodCharacters are those of which methods are made that anybody uses (RFC 9110
// §9.1 allows more).
const methodCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// provision prepares the paths. What asks for a scope at a place asks for it however
// the place is spelled: most servers take /orders and /orders/ for the same.
func (r *ScopeRule) provision(ctx caddy.Context) error {
	for _, path := range r.Paths {
		if other := otherSpelling(path); other != "" && !slices.Contains(r.Paths, other) {
			r.Paths = append(r.Paths, other)
		}
	}
	return r.Paths.Provision(ctx)
}

// otherSpelling is the place of a pattern with a slash at its end, or without; "" of
// a pattern that has no other.
func otherSpelling(pattern string) string {
	if place, all := strings.CutSuffix(pattern, "/*"); all {
		return place
	}
	if strings.Contains(pattern, "*") {
		return ""
	}
	if place, slash := strings.CutSuffix(pattern, "/"); slash {
		return place
	}
	return pattern + "/"
}

// covers tells whether no request that another rule is for gets past this one.
func (r *ScopeRule) covers(other *ScopeRule) bool {
	paths := other.Paths
	if len(paths) == 0 {
		paths = caddyhttp.MatchPath{"/*"}
	}
	same := func(one, other string) bool { return one == other }
	return allCovered(other.Methods, r.Methods, same) && allCovered(paths, r.Paths, patternCovers)
}

// allCovered tells whether each of some is covered by one of others; where there is
// none of these they are all there could be.
func allCovered(some, others []string, covers func(other, one string) bool) bool {
	if len(others) == 0 {
		return true
	}
	for _, one := range some {
		if !slices.ContainsFunc(others, func(other string) bool { return covers(other, one) }) {
			return false
		}
	}
	return len(some) > 0
}

// isFor tells whether the rule is for a request.
func (r *ScopeRule) isFor(request *http.Request) (bool, error) {
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, request.Method) {
		return false, nil
	}
	if len(r.Paths) == 0 {
		return true, nil
	}
	return r.Paths.MatchWithError(request)
}

// check returns nil if the token has the scopes.
func (r *ScopeRule) check(token *introspect.Token) *refusal {
	for _, scope := range r.Scopes {
		if !token.HasScope(scope) {
			return insufficientScope(r.challenge(), "the token lacks the scope "+scope)
		}
	}
	if len(r.AnyScopes) > 0 && !slices.ContainsFunc(r.AnyScopes, token.HasScope) {
		return insufficientScope(r.challenge(), "the token needs one of the scopes "+strings.Join(r.AnyScopes, ", "))
	}
	return nil
}

// challenge is what a client may ask for to pass: RFC 6750 §3 has no way to say
// "one of", so of those it is the first.
func (r *ScopeRule) challenge() string {
	if len(r.AnyScopes) == 0 {
		return joinScope(r.Scopes)
	}
	return joinScope(append(slices.Clone(r.Scopes), r.AnyScopes[0]))
}

// offeredScopes are all that the rules name, each once.
func offeredScopes(rules []ScopeRule) []string {
	var all []string
	for _, rule := range rules {
		for _, scope := range slices.Concat(rule.Scopes, rule.AnyScopes) {
			if !slices.Contains(all, scope) {
				all = append(all, scope)
			}
		}
	}
	return all
}
