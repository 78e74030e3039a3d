package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// requirement is what a token must be good for.
type requirement struct {
	*Policy
	offered []string // every scope of the rules
}

func newRequirement(p *Policy) (requirement, error) {
	u, err := url.Parse(p.Resource)
	if err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" || u.User != nil {
		return requirement{}, fmt.Errorf("resource %q: want an absolute URI without fragment, such as https://api.example.com/orders", p.Resource)
	}
	for n := range p.ScopeRules {
		if err := p.ScopeRules[n].validate(); err != nil {
			return requirement{}, err
		}
		for before := range n {
			if p.ScopeRules[before].covers(&p.ScopeRules[n]) {
				return requirement{}, fmt.Errorf("the scope rule at %s would never be used, since the first rule for a request decides, and the one at %s is for all that this one is for; write that one last",
					p.lineOf(fmt.Sprintf("scope_rules/%d", n)), p.lineOf(fmt.Sprintf("scope_rules/%d", before)))
			}
		}
	}
	return requirement{p, offeredScopes(p.ScopeRules)}, nil
}

// askAudience: the token is meant for this resource (RFC 9068 §4, RFC 8707).
func (q *requirement) askAudience(v *visit) *refusal {
	for _, name := range v.source.audience {
		if v.token.HasAudience(name) || name == "" && len(v.token.Audience) == 0 {
			return nil
		}
	}
	return invalidToken(&introspect.InactiveError{Reason: "the token is for another resource than " + q.Resource})
}

// askScope: the first rule for the request decides.
func (q *requirement) askScope(v *visit) *refusal {
	n, err := q.rule(v.request)
	if err != nil {
		return unavailable(err)
	}
	if n < 0 {
		return insufficientScope("", "no scope of this resource allows the method on this path")
	}
	refused := q.ScopeRules[n].check(v.token)
	if refused != nil {
		refused.option = fmt.Sprintf("scope_rules/%d", n)
	}
	return refused
}

// rule returns the number of the first rule for a request, or -1.
func (q *requirement) rule(r *http.Request) (int, error) {
	for n := range q.ScopeRules {
		if is, err := q.ScopeRules[n].isFor(r); is || err != nil {
			return n, err
		}
	}
	return -1, nil
}

// scopeFor is what a challenge asks for: the scopes for that request.
func (q *requirement) scopeFor(r *http.Request) string {
	if n, err := q.rule(r); n >= 0 && err == nil {
		return q.ScopeRules[n].challenge()
	}
	return joinScope(q.offered)
}

// askClient: the token was issued to one of the clients.
func (q *requirement) askClient(v *visit) *refusal {
	if !slices.Contains(q.Clients, v.token.ClientID) {
		return forbidden("the token was issued to a client that may not call this resource", nil)
	}
	return nil
}

// askSubject: the token speaks for one of the subjects.
func (q *requirement) askSubject(v *visit) *refusal {
	if !slices.Contains(q.Subjects, v.token.Subject) {
		return forbidden("the token speaks for somebody who may not call this resource", nil)
	}
	return nil
}

// askActor: who acts for the subject (RFC 8693 §4.1). Only the current actor
// counts; those before are informational. The actors of the rule are clients of
// the token's issuer: one that another issuer has named is not one of them,
// whatever its name.
func (q *requirement) askActor(v *visit) *refusal {
	actor := v.token.Actor
	if actor != nil && (actor.Issuer == "" || actor.Issuer == v.token.Issuer) && slices.Contains(q.Actors, actor.Subject) {
		return nil
	}
	return forbidden("the token does not name an actor who may call this resource", nil)
}

// askSubjectIssuer: who has vouched for the subject.
func (q *requirement) askSubjectIssuer(v *visit) *refusal {
	if !slices.Contains(q.SubjectIssuers, subjectIssuer(v)) {
		return forbidden("the subject of the token comes from an issuer that this resource does not accept", nil)
	}
	return nil
}

// subjectIssuer is who has vouched for the subject: another issuer, where a token
// of its was exchanged, else the one that issued the token. Only an issuer of
// this server is believed when it says that somebody else did.
func subjectIssuer(v *visit) string {
	if v.source.builtIn {
		if issuer, ok := claimText(v.token, "subject_issuer"); ok {
			return issuer
		}
	}
	return v.token.Issuer
}

// joinScope is a scope as one text (RFC 6749 §3.3).
func joinScope(scope []string) string { return strings.Join(scope, " ") }
