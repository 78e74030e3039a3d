package caddymodule

import (
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
// one that lacks a scope or another right, 403 insufficient_scope naming the
// scope; and 503 when the gate cannot tell. Refusals are Caddy errors, so that
// handle_errors can dress them. The X-Request-Id of the answer stands in the log
// line about it, too.
//
// The API needs to know nothing of OAuth. It reads the caller from identity
// headers (X-Auth-Subject, X-Auth-Client, X-Auth-Scope and, where somebody acts
// for the subject, X-Auth-Actor) and can trust them: whatever a client sends
// under these names, or under a name that a server might take for one of them,
// is removed first. The token itself is removed too, unless ForwardToken is set.
//
// A response that goes on (a websocket, a stream of events, a long download) is
// ended when its token expires, and within a second when it is revoked.
//
// After it, {http.auth.user.id}, {http.auth.user.client_id},
// {http.auth.user.scope}, {http.auth.user.actor}, {http.auth.user.issuer},
// {http.auth.user.token_id} and {http.auth.user.claims.<name>} are set.
type Protect struct {
	Policy

	// Optional lets requests without a token pass, with no identity headers. One
	// with a token that is not good is refused all the same.
	Optional bool `json:"optional,omitempty"`

	// Public are paths of the API that need no token, as Caddy's path matcher has
	// them. Identity headers are removed there too.
	Public caddyhttp.MatchPath `json:"public,omitempty"`

	// CORS answers browsers that ask whether pages of other origins may call the
	// API. Without it the API has to, and preflight requests need a token, which
	// they never have.
	CORS *CORS `json:"cors,omitempty"`

	// IdentityHeaders the API is given. Default: X-Auth-Subject from sub,
	// X-Auth-Client from client_id, X-Auth-Scope from scope, X-Auth-Actor from
	// act.
	IdentityHeaders []IdentityHeader `json:"identity_headers,omitempty"`

	// IdentityToken is the name of a header with a short-lived JWT in it, by
	// which an API can verify who calls, instead of trusting the way.
	IdentityToken string `json:"identity_token,omitempty"`

	// ForwardToken leaves the Authorization header to the API.
	ForwardToken bool `json:"forward_token,omitempty"`

	// StreamGrace is how long a response may go on after its token has expired.
	// Revocation has no grace. Default: 0.
	StreamGrace caddy.Duration `json:"stream_grace,omitempty"`

	// PublishMetadata names the metadata of the resource (RFC 9728) in challenges
	// and lets the handler oauth_resource_metadata serve it.
	PublishMetadata bool `json:"publish_metadata,omitempty"`

	// ReportOnly decides, logs and counts, and refuses nothing: for putting a gate
	// before an API that is in use. Requests that would be refused pass as they
	// came, without identity headers.
	ReportOnly bool `json:"report_only,omitempty"`

	gate           gate
	identity       identity
	identityTokens *identityTokens
	live           *liveRequests
	liveTaken      bool // to be given back
	decisions      *decisions
	metadataURL    string
	metadata       *bool // as it stands in the Caddyfile
}

// CaddyModule returns the Caddy module information.
func (*Protect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oauth_protect", New: func() caddy.Module { return new(Protect) }}
}

// Provision finds the issuers and tells them what is protected here.
func (p *Protect) Provision(ctx caddy.Context) error {
	err := p.provision(ctx)
	switch line := p.Lines[wholeGate]; {
	case err != nil && line != "":
		return fmt.Errorf("oauth_protect at %s: %w", line, err)
	case err != nil:
		return fmt.Errorf("oauth_protect: %w", err)
	}
	return nil
}

func (p *Protect) provision(ctx caddy.Context) (err error) {
	if err := refusePlaceholders(p); err != nil {
		return err
	}
	if err := p.provisionPolicy(ctx); err != nil {
		return err
	}
	if p.identity, err = newIdentity(p.IdentityHeaders, p.IdentityToken, !p.ReportOnly); err != nil {
		return err
	}
	if err := validatePaths(p.Public); err != nil {
		return fmt.Errorf("public: %w", err)
	}
	if err := p.Public.Provision(ctx); err != nil {
		return fmt.Errorf("public: %w", err)
	}
	if err := p.CORS.provision(); err != nil {
		return fmt.Errorf("cors: %w", err)
	}
	if p.StreamGrace < 0 {
		return errors.New("stream_grace is negative")
	}
	if p.identityTokens, err = newIdentityTokens(p); err != nil {
		return err
	}
	p.gate = append(gate{
		{"the handshake", "", askHandshake},
		{"the method", "", askMethod},
		{"the target", "allow_target", p.askTarget},
		{"an open path", "public", p.askPublic},
	}, p.checks(p.Optional)...)
	if p.identityTokens != nil {
		p.gate = append(p.gate, check{"a token for the API", "identity_token", p.identityTokens.set})
	}
	p.metadataURL = publishMetadata(p)
	p.decisions = newDecisions(ctx, p)
	p.live, p.liveTaken = takeLiveRequests(), true
	return nil
}

// Cleanup gives back what Provision took. Requests that are on their way through
// the gate outlive it.
func (p *Protect) Cleanup() error {
	err := p.cleanUpPolicy()
	if p.liveTaken {
		p.liveTaken = false
		err = errors.Join(err, giveLiveRequestsBack())
	}
	return err
}

// ServeHTTP is the way of a request through the gate.
func (p *Protect) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// 1. What strangers may not say, whether they have a token or not.
	p.identity.strip(r)
	v := newVisit(r)
	defer v.end()
	if explained(p, v) {
		return nil
	}
	// 2. May it pass?
	if p.CORS.isPreflight(r) {
		p.CORS.answerPreflight(w, r)
		return nil
	}
	w = p.CORS.allow(w, r)
	refused := p.gate.decide(v)
	p.decisions.note(v, refused)
	switch {
	case refused != nil && p.ReportOnly:
		return next.ServeHTTP(w, r)
	case refused != nil:
		p.hideToken(v) // from what handle_errors may ask
		return p.refuse(w, r, refused)
	case !p.ReportOnly:
		p.hideToken(v)
	}
	if v.token == nil {
		return next.ServeHTTP(w, r)
	}
	// 3. Tell the API who calls.
	p.identity.set(r, v.token)
	// 4. Pass, for as long as the token is good.
	if !p.ReportOnly {
		p.live.add(v, w, p.StreamGrace)
		defer p.live.remove(v)
	}
	return next.ServeHTTP(w, r)
}

// askPublic: a path that needs no token.
func (p *Protect) askPublic(v *visit) *refusal {
	if len(p.Public) == 0 {
		return nil
	}
	switch open, err := p.Public.MatchWithError(v.request); {
	case err != nil:
		return unavailable(err)
	case open:
		v.open = "public"
	}
	return nil
}

// hideToken keeps the token from the API, which could use it elsewhere. Credentials
// that are no token, on an open path, are the API's own business.
func (p *Protect) hideToken(v *visit) {
	if p.ForwardToken {
		return
	}
	header := v.request.Header
	if v.text == "" { // there was none, or nobody has looked
		if _, err := introspect.FromHeader(header, p.bare); errors.Is(err, introspect.ErrNoToken) {
			return
		}
	}
	delete(header, "Authorization")
}

// refuse says why, with a challenge where a token, or another one, would help.
func (p *Protect) refuse(w http.ResponseWriter, r *http.Request, why *refusal) error {
	if why.challenged {
		w.Header().Set("WWW-Authenticate", p.challenge(why).String())
	}
	err := refuse(w, r, why)
	if !queryHasToken(r.URL.RawQuery) {
		return err
	}
	// A token in the query (RFC 6750 §2.3) may be good, and Caddy would log it with
	// the request's URI. The gate's own line has no query.
	keepFromAccessLog(r)
	w.WriteHeader(why.status)
	return nil
}

func (p *Protect) challenge(why *refusal) introspect.Challenge {
	return introspect.Challenge{
		Realm: p.Resource, Scope: why.scope, Error: why.code, ErrorDescription: why.description, ResourceMetadata: p.metadataURL,
	}
}

// refuse hands a refusal to Caddy's error handling, where headers survive.
func refuse(w http.ResponseWriter, r *http.Request, why *refusal) error {
	if why.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("Cache-Control", "no-store")
	doNotAwaitBody(w, r)
	return caddyhttp.HandlerError{Err: why, StatusCode: why.status, ID: id}
}

// requestID is Caddy's {http.request.uuid}, which the access log then has, too.
func requestID(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := repl.GetString("http.request.uuid")
	return id
}

var (
	_ caddy.Provisioner           = (*Protect)(nil)
	_ caddy.CleanerUpper          = (*Protect)(nil)
	_ caddyhttp.MiddlewareHandler = (*Protect)(nil)
)
