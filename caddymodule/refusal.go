package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// refusal is a request that the gate does not let pass (RFC 6750 §3.1).
type refusal struct {
	status      int
	code        string // RFC 6750 error, empty when the request showed no token
	description string
	scope       string
	cause       error
}

func (r *refusal) Error() string {
	text := strings.Trim(r.code+": "+r.description, ": ")
	if r.cause != nil && r.cause.Error() != r.description {
		text += ": " + r.cause.Error()
	}
	return text
}

func (r *refusal) Unwrap() error { return r.cause }

func badRequest(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", description: description}
}

func invalidToken(cause error) *refusal {
	r := &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "the token is not active", cause: cause}
	var inactive *introspect.InactiveError
	if errors.As(cause, &inactive) {
		r.description = inactive.Reason
	}
	return r
}

func insufficientScope(needed, description string) *refusal {
	return &refusal{status: http.StatusForbidden, code: "insufficient_scope", scope: needed, description: description}
}

// refuseHeader answers a request whose Authorization header gives no token.
func (p *Protect) refuseHeader(w http.ResponseWriter, r *http.Request, err error) error {
	switch {
	case errors.Is(err, introspect.ErrNoToken):
		// No error code: the client may simply not know yet (RFC 6750 §3.1).
		return p.refuse(w, r, &refusal{status: http.StatusUnauthorized, scope: p.requirement.scopeFor(r.Method),
			cause: err})
	case errors.Is(err, introspect.ErrMalformedRequest):
		return p.refuse(w, r, badRequest(err.Error()))
	}
	return p.refuse(w, r, invalidToken(err))
}

// refuse sets the challenge and hands the refusal to Caddy's error handling,
// where the header survives.
func (p *Protect) refuse(w http.ResponseWriter, r *http.Request, why *refusal) error {
	challenge := introspect.Challenge{Realm: p.Resource, Scope: why.scope, Error: why.code, ErrorDescription: why.description}
	w.Header().Set("WWW-Authenticate", challenge.String())
	w.Header().Set("Cache-Control", "no-store")
	doNotAwaitBody(w, r)
	return caddyhttp.Error(why.status, why)
}

// awaitedBody is as much of an unread body as net/http takes before it answers,
// to keep the connection.
const awaitedBody = 256 << 10

// doNotAwaitBody gives the connection up where keeping it would mean to wait for
// a body that nobody wants: a large one, or one that the client holds back until
// it is asked for (RFC 9110 §10.1.1), and which it would be asked for in vain.
func doNotAwaitBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ContentLength > awaitedBody || r.Header.Get("Expect") != "") {
		w.Header().Set("Connection", "close")
	}
}

// unavailable answers a request that cannot be judged now. It does not pass.
func unavailable(w http.ResponseWriter, r *http.Request, err error) error {
	w.Header().Set("Retry-After", "2")
	w.Header().Set("Cache-Control", "no-store")
	doNotAwaitBody(w, r)
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// refuseMethod keeps away what has no meaning behind a gate and more meanings
// than one on the way: TRACE shows a client's headers to its scripts (RFC 9110
// §9.3.8), CONNECT asks for a tunnel.
func refuseMethod(method string) error {
	if method == http.MethodTrace || method == http.MethodConnect || method == "TRACK" {
		return caddyhttp.Error(http.StatusMethodNotAllowed, errors.New("method "+method+" is not passed to a protected resource"))
	}
	return nil
}

// queryHasToken tells whether a query has an access_token parameter, however
// its name is escaped. A request must not show tokens in two ways (RFC 6750 §2),
// and the backend might believe the other one.
func queryHasToken(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(pair, "=")
		if strings.EqualFold(name, "access_token") {
			return true
		}
		if strings.Contains(name, "%") {
			if plain, err := url.QueryUnescape(name); err == nil && strings.EqualFold(plain, "access_token") {
				return true
			}
		}
	}
	return false
}
