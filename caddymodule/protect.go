package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

func init() { caddy.RegisterModule(new(Protect)) }

// Protect lets a request pass to the API behind it if it shows an access token
// that is good for that API, and tells the API who calls.
//
// The token stands in the Authorization header, as `Bearer <token>` or, unless
// BareToken is off, as the token alone. It is looked for nowhere else. Without
// one the answer is 401 with a challenge (RFC 6750); with one that is expired,
// revoked, forged or meant for another resource it is 401 invalid_token; with
// one that lacks a scope, 403 insufficient_scope naming the scope; and 503 when
// the gate cannot tell. Refusals are Caddy errors: handle_errors can dress them.
//
// The API needs to know nothing of OAuth. It reads the caller from identity
// headers (X-Auth-Subject, X-Auth-Client, X-Auth-Scope and, where somebody acts for
// the subject, X-Auth-Actor) and can trust them: whatever a client sends under these names, or under a name that a server
// might take for one of them, is removed first. The token itself is removed too,
// unless ForwardToken is set.
//
// After it, {http.auth.user.id}, {http.auth.user.client_id},
// {http.auth.user.scope}, {http.auth.user.actor}, {http.auth.user.issuer} and
// {http.auth.user.token_id} are set.
type Protect struct {
	// Resource is the URI of the API: the audience a token must have. Required.
	Resource string `json:"resource"`

	// Issuers whose tokens are accepted, by URL. With one issuer configured it
	// can be left out.
	Issuers []string `json:"issuers,omitempty"`

	// ScopeRules say which scopes a request needs, by method. The first rule
	// that names the method decides; when there are rules and none does, the
	// request is refused. Without rules any token for the resource passes.
	ScopeRules []ScopeRule `json:"scope_rules,omitempty"`

	// Actors are the clients of which one must act for the subject (RFC 8693
	// delegation). Empty: tokens with and without an actor pass.
	Actors []string `json:"actors,omitempty"`

	// SubjectIssuers are the issuers of which one must have vouched for the
	// subject: a trusted issuer whose token was exchanged, or the issuer itself.
	SubjectIssuers []string `json:"subject_issuers,omitempty"`

	// Public are paths of the API that need no token, as Caddy's path matcher has
	// them. Identity headers are removed there too.
	Public caddyhttp.MatchPath `json:"public,omitempty"`

	// AllowTarget names kinds of request targets that are passed though the API
	// may understand them otherwise than the gate: encoded_slash,
	// encoded_backslash, dot_segment, double_slash, double_encoding,
	// path_parameter, control_character, absolute_form. All are refused with 400
	// by default.
	AllowTarget []string `json:"allow_target,omitempty"`

	// IdentityHeaders the API is given. Default: X-Auth-Subject from sub,
	// X-Auth-Client from client_id, X-Auth-Scope from scope, X-Auth-Actor from
	// act.
	IdentityHeaders []IdentityHeader `json:"identity_headers,omitempty"`

	// ForwardToken leaves the Authorization header to the API.
	ForwardToken bool `json:"forward_token,omitempty"`

	// BareToken accepts `Authorization: <token>` without a scheme. Default on.
	BareToken *bool `json:"bare_token,omitempty"`

	app         *App
	bare        bool
	requirement requirement
	identity    identity
}

// CaddyModule returns the Caddy module information.
func (*Protect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oauth_protect", New: func() caddy.Module { return new(Protect) }}
}

// Provision finds the issuers and tells them what is protected here.
func (p *Protect) Provision(ctx caddy.Context) (err error) {
	if p.app, err = oauthApp(ctx); err != nil {
		return err
	}
	if len(p.Issuers) == 0 {
		p.Issuers = []string{""}
	}
	for n, url := range p.Issuers {
		if p.Issuers[n], err = p.app.named(url); err != nil {
			return fmt.Errorf("oauth_protect: %w", err)
		}
	}
	p.bare = p.BareToken == nil || *p.BareToken
	if p.requirement, err = newRequirement(p.Resource, p.ScopeRules); err != nil {
		return fmt.Errorf("oauth_protect: %w", err)
	}
	p.requirement.actors, p.requirement.subjectIssuers = p.Actors, p.SubjectIssuers
	if p.identity, err = newIdentity(p.IdentityHeaders); err != nil {
		return fmt.Errorf("oauth_protect: %w", err)
	}
	if err := validateAllowed(p.AllowTarget); err != nil {
		return fmt.Errorf("oauth_protect: %w", err)
	}
	if err := p.Public.Provision(ctx); err != nil {
		return fmt.Errorf("oauth_protect: public: %w", err)
	}
	for _, url := range p.Issuers {
		p.app.protect(url, p.Resource)
	}
	return nil
}

// ServeHTTP is the way of a request through the gate.
func (p *Protect) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// 1. What strangers may not say, whether they have a token or not.
	p.identity.strip(r)
	if err := refuseMethod(r.Method); err != nil {
		return err
	}
	if err := refuseTarget(r, p.AllowTarget); err != nil {
		return err
	}
	if len(p.Public) > 0 {
		switch open, err := p.Public.MatchWithError(r); {
		case err != nil:
			return err
		case open:
			p.hideToken(r)
			return next.ServeHTTP(w, r)
		}
	}
	// 2. The token.
	text, err := introspect.FromHeader(r.Header, p.bare)
	if err != nil {
		return p.refuseHeader(w, r, err)
	}
	if queryHasToken(r.URL.RawQuery) {
		return p.refuse(w, r, badRequest("the request has a token in its header and another in its query; use the header alone"))
	}
	// 3. What is it?
	token, err := p.introspect(r.Context(), text)
	switch {
	case errors.Is(err, introspect.ErrInactive):
		return p.refuse(w, r, invalidToken(err))
	case err != nil:
		return unavailable(w, r, err)
	}
	// 4. Is it good for this request?
	if refused := p.requirement.check(token, r.Method); refused != nil {
		return p.refuse(w, r, refused)
	}
	// 5. Tell the backend.
	p.hideToken(r)
	p.identity.set(r, token)
	setPlaceholders(r, token)
	return next.ServeHTTP(w, r)
}

// hideToken keeps the token from the API, which could use it elsewhere. Credentials
// that are no token, on an open path, are the API's own business.
func (p *Protect) hideToken(r *http.Request) {
	if _, err := introspect.FromHeader(r.Header, p.bare); !p.ForwardToken && !errors.Is(err, introspect.ErrNoToken) {
		r.Header.Del("Authorization")
	}
}

// introspect asks the issuers in turn. An issuer that cannot tell makes the
// answer "cannot tell", unless another one knows the token.
func (p *Protect) introspect(ctx context.Context, text string) (*introspect.Token, error) {
	issuers, err := p.app.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", introspect.ErrUnavailable, err)
	}
	var inactive, unknown error
	for _, url := range p.Issuers {
		token, err := issuers[url].Introspect(ctx, text)
		switch {
		case err == nil:
			return token, nil
		case errors.Is(err, introspect.ErrInactive):
			inactive = err
		default:
			unknown = err
		}
	}
	if unknown != nil {
		return nil, unknown
	}
	return nil, inactive
}

// setPlaceholders makes the caller known to whatever comes after, the access
// log included (it reads http.auth.user.id). Values are looked up only when
// somebody asks.
func setPlaceholders(r *http.Request, token *introspect.Token) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) {
		switch key {
		case "http.auth.user.id":
			return token.Subject, true
		case "http.auth.user.client_id":
			return token.ClientID, true
		case "http.auth.user.scope":
			return joinScope(token.Scope), true
		case "http.auth.user.actor":
			return actorText(token.Actor), true
		case "http.auth.user.issuer":
			return token.Issuer, true
		case "http.auth.user.token_id":
			return token.ID, true
		}
		return nil, false
	})
}

var (
	_ caddy.Provisioner           = (*Protect)(nil)
	_ caddyhttp.MiddlewareHandler = (*Protect)(nil)
)
