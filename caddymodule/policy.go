package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// Policy says which tokens are good for an API. It is the part that the handler
// oauth_protect and the authentication provider oauth have in common.
//
// All that it asks for must hold. Within one option, any of the values will do.
type Policy struct {
	// Resource is the URI of the API: the audience a token must have. Required.
	Resource string `json:"resource"`

	// Issuers of this server whose tokens are accepted, by URL. With one issuer
	// configured, and no trusted ones, it can be left out.
	Issuers []string `json:"issuers,omitempty"`

	// TrustedIssuers are issuers elsewhere whose tokens are accepted.
	TrustedIssuers []*ForeignIssuer `json:"trusted_issuers,omitempty"`

	// ScopeRules say which scopes a request needs, by method and path. The first
	// rule for the request decides; when there are rules and none is for it, the
	// request is refused. Without rules any token for the resource passes.
	ScopeRules []ScopeRule `json:"scope_rules,omitempty"`

	// Clients to which the token must have been issued, by client_id.
	Clients []string `json:"clients,omitempty"`

	// Subjects that the token must speak for, by sub.
	Subjects []string `json:"subjects,omitempty"`

	// Actors are the clients of which one must act for the subject (RFC 8693
	// delegation). Empty: tokens with and without an actor pass.
	Actors []string `json:"actors,omitempty"`

	// SubjectIssuers are the issuers of which one must have vouched for the
	// subject: a trusted issuer whose token was exchanged, or the issuer itself.
	SubjectIssuers []string `json:"subject_issuers,omitempty"`

	// ClaimRules must all hold.
	ClaimRules []ClaimRule `json:"claim_rules,omitempty"`

	// Expression is a CEL expression, as in Caddy's expression matcher, that must
	// be true. The claims of the token stand in {http.auth.user.claims.<name>}.
	Expression *caddyhttp.MatchExpression `json:"expression,omitempty" placeholders:"MatchExpression"`

	// AllowTarget names kinds of request targets that are passed though the API
	// may understand them otherwise than the gate: encoded_slash,
	// encoded_backslash, dot_segment, double_slash, double_encoding,
	// path_parameter, control_character, absolute_form. All are refused with 400
	// by default.
	AllowTarget []string `json:"allow_target,omitempty"`

	// BareToken accepts `Authorization: <token>` without a scheme. Default on.
	BareToken *bool `json:"bare_token,omitempty"`

	// Lines tell where each option stands in the Caddyfile, for explanations
	// and logs.
	Lines map[string]string `json:"lines,omitempty" placeholders:"nobody, and nobody asks"`

	app         *App
	sources     sources
	bare        bool
	requirement requirement
}

// provisionPolicy finds the issuers and checks the rules.
func (p *Policy) provisionPolicy(ctx caddy.Context) (err error) {
	p.bare = p.BareToken == nil || *p.BareToken
	if err := refusePlaceholders(p); err != nil {
		return err
	}
	if p.requirement, err = newRequirement(p); err != nil {
		return err
	}
	if err := validateAllowed(p.AllowTarget); err != nil {
		return err
	}
	for n := range p.ScopeRules {
		if err := p.ScopeRules[n].provision(ctx); err != nil {
			return fmt.Errorf("scope: path: %w", err)
		}
	}
	for _, rule := range p.ClaimRules {
		if rule.Name == "" || len(rule.Values) == 0 {
			return errors.New("claim: want the name of a claim and the values of which it must have one")
		}
	}
	if p.Expression != nil {
		if err := p.Expression.Provision(ctx); err != nil {
			return fmt.Errorf("expression: %w", err)
		}
	}
	return p.provisionSources(ctx)
}

// cleanUpPolicy gives back what provisionPolicy took.
func (p *Policy) cleanUpPolicy() error { return p.sources.release() }

// checks are the questions about the token, in order. passAnonymous lets requests
// without a token through.
func (p *Policy) checks(passAnonymous bool) gate {
	asked := gate{
		{"a bearer token", "bare_token", func(v *visit) *refusal { return p.askToken(v, passAnonymous) }},
		{"one token only", "", askQuery},
		{"the token is active", "issuers", p.askActive},
		{"its audience", "resource", p.requirement.askAudience},
	}
	for _, rule := range []struct {
		configured bool
		check
	}{
		{len(p.SubjectIssuers) > 0, check{"who vouched for its subject", "subject_issuers", p.requirement.askSubjectIssuer}},
		{len(p.Clients) > 0, check{"its client", "clients", p.requirement.askClient}},
		{len(p.Subjects) > 0, check{"its subject", "subjects", p.requirement.askSubject}},
		{len(p.Actors) > 0, check{"who acts", "actors", p.requirement.askActor}},
	} {
		if rule.configured {
			asked = append(asked, rule.check)
		}
	}
	for n := range p.ClaimRules {
		rule := &p.ClaimRules[n]
		asked = append(asked, check{"its claim " + rule.Name, fmt.Sprintf("claim_rules/%d", n), rule.ask})
	}
	if p.Expression != nil {
		asked = append(asked, check{"the expression", "expression", p.askExpression})
	}
	if len(p.ScopeRules) > 0 {
		asked = append(asked, check{"its scopes", "scope_rules", p.requirement.askScope})
	}
	return asked
}

// askToken: exactly one Authorization header, with a token in it (RFC 6750 §2.1).
func (p *Policy) askToken(v *visit, passAnonymous bool) *refusal {
	text, err := introspect.FromHeader(v.request.Header, p.bare)
	switch {
	case err == nil:
		v.text = text
		return nil
	case errors.Is(err, introspect.ErrNoToken) && passAnonymous:
		v.open = "anonymous"
		return nil
	case errors.Is(err, introspect.ErrNoToken):
		return noToken(p.requirement.scopeFor(v.request), err)
	case errors.Is(err, introspect.ErrMalformedRequest):
		return badRequest(err.Error())
	}
	return invalidToken(err)
}

// askQuery: a token beside that in the header (RFC 6750 §2).
func askQuery(v *visit) *refusal {
	if queryHasToken(v.request.URL.RawQuery) {
		return badRequest("the request has a token in its header and another in its query; use the header alone")
	}
	return nil
}

// askActive: what is the token? Only an issuer of this gate may tell.
func (p *Policy) askActive(v *visit) *refusal {
	token, from, err := p.sources.introspect(v.request.Context(), v.text)
	switch {
	case errors.Is(err, introspect.ErrInactive):
		return invalidToken(err)
	case err != nil:
		return unavailable(err)
	}
	v.token, v.source = token, from
	v.caller = setPlaceholders(v.request, token)
	return nil
}

// askExpression: an expression that cannot be evaluated, because a claim is
// missing or of another type, is not true.
func (p *Policy) askExpression(v *visit) *refusal {
	switch holds, err := p.Expression.MatchWithError(v.request); {
	case err != nil:
		return forbidden("the token does not fulfil what this resource asks of its claims", err)
	case !holds:
		return forbidden("the token does not fulfil what this resource asks of its claims", nil)
	}
	return nil
}

// decidedBy is where the question that decided stands in the configuration, or
// that of the whole gate.
func (p *Policy) decidedBy(refused *refusal) string {
	option := refused.option
	if option == "" && refused.check != nil {
		option = refused.check.option
	}
	if line := p.lineOf(option); line != "" {
		return line
	}
	return p.lineOf(wholeGate)
}

// wholeGate is the option under which Lines has the directive itself.
const wholeGate = "oauth_protect"

// lineOf returns the line of the Caddyfile that sets an option, if one does; of a
// configuration in JSON, the option's path in the handler.
func (p *Policy) lineOf(option string) string {
	if p.Lines == nil {
		return option
	}
	return p.Lines[option]
}

// provisionSources finds the issuers of this server and makes the others.
func (p *Policy) provisionSources(ctx caddy.Context) (err error) {
	if len(p.Issuers) == 0 && len(p.TrustedIssuers) == 0 {
		p.Issuers = []string{""}
	}
	if len(p.Issuers) > 0 {
		p.app, err = oauthApp(ctx)
	} else {
		p.app, err = oauthAppOrDefault(ctx)
	}
	if err != nil {
		return err
	}
	alone := len(p.Issuers)+len(p.TrustedIssuers) == 1
	for n, url := range p.Issuers {
		if p.Issuers[n], err = p.app.named(url); err != nil {
			return err
		}
		if slices.Contains(p.Issuers[:n], p.Issuers[n]) {
			return fmt.Errorf("issuer %s stands twice", p.Issuers[n])
		}
		p.sources = append(p.sources, p.builtIn(p.Issuers[n]))
	}
	for _, foreign := range p.TrustedIssuers {
		if slices.ContainsFunc(p.sources, func(s *source) bool { return s.url == foreign.Issuer }) {
			return fmt.Errorf("trusted_issuer %s stands twice, or is an issuer of this server", foreign.Issuer)
		}
		if _, ours := p.app.configs[foreign.Issuer]; ours {
			return fmt.Errorf("trusted_issuer %s is an issuer of this server; write issuer instead: it knows at once what was revoked", foreign.Issuer)
		}
		from, err := foreign.source(p.Resource, alone)
		if err != nil {
			return fmt.Errorf("trusted_issuer %s: %w", foreign.Issuer, err)
		}
		p.sources = append(p.sources, from)
	}
	for _, url := range p.Issuers {
		p.app.protect(url, p.Resource)
	}
	p.warnOfUnknownScopes(ctx)
	return nil
}

// warnOfUnknownScopes tells of scopes that no token can have: what asks for one of
// them is closed to everybody, which is rarely meant. What issuers elsewhere grant
// nobody knows here.
func (p *Policy) warnOfUnknownScopes(ctx caddy.Context) {
	if len(p.TrustedIssuers) > 0 {
		return
	}
	for n := range p.ScopeRules {
		for _, scope := range slices.Concat(p.ScopeRules[n].Scopes, p.ScopeRules[n].AnyScopes) {
			if !slices.ContainsFunc(p.Issuers, func(url string) bool { return p.app.configs[url].HasScope(scope) }) {
				ctx.Slogger().Warn("the gate asks for a scope that its issuer does not declare, so no token has it",
					"scope", scope, "line", p.lineOf(fmt.Sprintf("scope_rules/%d", n)), "issuers", p.Issuers)
			}
		}
	}
}

// builtIn is an issuer of this server. It is asked in the process, and knows at
// once what was revoked.
func (p *Policy) builtIn(url string) *source {
	return &source{
		url: url, audience: []string{p.Resource}, builtIn: true,
		introspector: func(ctx context.Context) (introspect.Introspector, error) {
			return p.app.issuer(ctx, url)
		},
		revoked: func(token *introspect.Token) bool {
			issuer, err := p.app.issuer(context.Background(), url)
			return err == nil && issuer.Revoked(token)
		},
		forgotten: func() uint64 {
			issuer, err := p.app.issuer(context.Background(), url)
			if err != nil { // none that it let a request pass with: it cannot have been opened
				return 1
			}
			return issuer.Forgotten()
		},
	}
}
