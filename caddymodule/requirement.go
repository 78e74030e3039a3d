package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// ScopeRule says which scopes a request needs.
type ScopeRule struct {
	// Methods the rule is for; all when empty.
	Methods []string `json:"methods,omitempty"`

	// Scopes that are needed, all of them.
	Scopes []string `json:"scopes"`
}

// requirement is what a token must be good for.
type requirement struct {
	resource string
	rules    []ScopeRule

	actors         []string // who may act for the subject; empty: anybody or nobody
	subjectIssuers []string // who must have vouched for the subject; empty: anybody

	offered string // every scope of the rules, for the challenge to who has no token
}

func newRequirement(resource string, rules []ScopeRule) (requirement, error) {
	u, err := url.Parse(resource)
	if err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" || u.User != nil {
		return requirement{}, fmt.Errorf("resource %q: want an absolute URI without fragment, such as https://api.example.com/orders", resource)
	}
	for n, rule := range rules {
		if len(rule.Scopes) == 0 {
			return requirement{}, errors.New("a scope rule without scopes")
		}
		for _, scope := range rule.Scopes {
			if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
				return requirement{}, fmt.Errorf("scope %q: RFC 6749 section 3.3 allows printable ASCII without space, quote and backslash", scope)
			}
		}
		for _, method := range rule.Methods {
			if method == "" || method != strings.ToUpper(method) {
				return requirement{}, fmt.Errorf("method %q: write methods in upper case, with commas and no spaces between, or * for all", method)
			}
		}
		for _, earlier := range rules[:n] {
			if len(earlier.Methods) == 0 {
				return requirement{}, errors.New("a scope rule follows one for all methods (*) and would never be used; write * last")
			}
		}
	}
	return requirement{resource: resource, rules: rules, offered: offeredScopes(rules)}, nil
}

func offeredScopes(rules []ScopeRule) string {
	var all []string
	seen := make(map[string]bool)
	for _, rule := range rules {
		for _, scope := range rule.Scopes {
			if !seen[scope] {
				seen[scope] = true
				all = append(all, scope)
			}
		}
	}
	return joinScope(all)
}

// rule returns the first rule for a method. Methods are compared as they are:
// they are case-sensitive (RFC 9110 §9.1), and "get" is not GET.
func (q *requirement) rule(method string) (ScopeRule, bool) {
	for _, rule := range q.rules {
		if len(rule.Methods) == 0 {
			return rule, true
		}
		for _, m := range rule.Methods {
			if m == method {
				return rule, true
			}
		}
	}
	return ScopeRule{}, len(q.rules) == 0
}

// check returns nil if the token is good for a request with that method.
func (q *requirement) check(token *introspect.Token, method string) *refusal {
	if !token.HasAudience(q.resource) {
		return invalidToken(&introspect.InactiveError{Reason: "the token is for another resource than " + q.resource})
	}
	if refused := q.checkDelegation(token); refused != nil {
		return refused
	}
	rule, ok := q.rule(method)
	if !ok {
		return insufficientScope("", "no scope of this resource allows the method")
	}
	for _, scope := range rule.Scopes {
		if !token.HasScope(scope) {
			return insufficientScope(joinScope(rule.Scopes), "the token lacks the scope "+scope)
		}
	}
	return nil
}

// checkDelegation: who acts, and who has vouched for whom they act for (RFC 8693
// §4.1). Only the current actor counts; those before are informational.
func (q *requirement) checkDelegation(token *introspect.Token) *refusal {
	if len(q.actors) > 0 && !q.acceptsActor(token) {
		return insufficientScope("", "the token does not name an actor who may call this resource")
	}
	if len(q.subjectIssuers) > 0 && !slices.Contains(q.subjectIssuers, subjectIssuer(token)) {
		return insufficientScope("", "the subject of the token comes from an issuer that this resource does not accept")
	}
	return nil
}

// acceptsActor: the actors of the rule are clients of the token's issuer. One that
// another issuer has named is not one of them, whatever its name.
func (q *requirement) acceptsActor(token *introspect.Token) bool {
	actor := token.Actor
	return actor != nil && (actor.Issuer == "" || actor.Issuer == token.Issuer) && slices.Contains(q.actors, actor.Subject)
}

// subjectIssuer is who has vouched for the subject: another issuer, where a token
// of its was exchanged, else the one that issued the token.
func subjectIssuer(token *introspect.Token) string {
	if issuer, ok := claimText(token, "subject_issuer"); ok {
		return issuer
	}
	return token.Issuer
}

// scopeFor is what a challenge asks for: the scopes for that method.
func (q *requirement) scopeFor(method string) string {
	if rule, ok := q.rule(method); ok {
		return joinScope(rule.Scopes)
	}
	return q.offered
}

func joinScope(scope []string) string {
	if len(scope) == 1 {
		return scope[0]
	}
	return strings.Join(scope, " ")
}
