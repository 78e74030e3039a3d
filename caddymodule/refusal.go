package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// refusal is a request that the gate does not let pass (RFC 6750 §3.1).
type refusal struct {
	status      int
	outcome     string // as the log and the metrics call it
	code        string // RFC 6750 error, empty when the request showed no token
	challenged  bool   // the answer has a WWW-Authenticate
	description string // for the client's developer
	scope       string // what would suffice
	cause       error  // for the operator, may be nil

	check  *check // who refused
	option string // the part of the configuration that decided, where the check's is too coarse
}

func (r *refusal) Error() string {
	text := strings.Trim(r.code+": "+r.description, ": ")
	if r.cause != nil && r.cause.Error() != r.description {
		text = strings.TrimPrefix(text+": "+r.cause.Error(), ": ")
	}
	return text
}

func (r *refusal) Unwrap() error { return r.cause }

// noToken: no error code, because the client may simply not know yet (RFC 6750
// §3.1).
func noToken(scope string, cause error) *refusal {
	return &refusal{status: http.StatusUnauthorized, outcome: "no_token", challenged: true, scope: scope, cause: cause}
}

func badRequest(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, outcome: "invalid_request", code: "invalid_request", challenged: true, description: description}
}

func invalidToken(cause error) *refusal {
	r := &refusal{
		status: http.StatusUnauthorized, outcome: "invalid_token", code: "invalid_token", challenged: true,
		description: "the token is not active", cause: cause,
	}
	var inactive *introspect.InactiveError
	if errors.As(cause, &inactive) {
		r.description = inactive.Reason
	}
	return r
}

func insufficientScope(needed, description string) *refusal {
	return &refusal{
		status: http.StatusForbidden, outcome: "insufficient_scope", code: "insufficient_scope", challenged: true,
		scope: needed, description: description,
	}
}

// forbidden is a token that no scope would help. RFC 6750 has no code of its own
// for it: insufficient_scope is "higher privileges than provided by the token".
func forbidden(description string, cause error) *refusal {
	r := insufficientScope("", description)
	r.cause = cause
	return r
}

// unavailable is a request that cannot be judged now. It does not pass.
func unavailable(cause error) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, outcome: "unavailable", cause: cause}
}

// badTarget is a request that no token makes acceptable.
func badTarget(status int, description string) *refusal {
	return &refusal{status: status, outcome: "bad_target", description: description}
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

// askMethod keeps away what has no meaning behind a gate and more meanings than
// one on the way: TRACE shows a client's headers to its scripts (RFC 9110 §9.3.8),
// CONNECT asks for a tunnel.
func askMethod(v *visit) *refusal {
	if method := v.request.Method; method == http.MethodTrace || method == http.MethodConnect || method == "TRACK" {
		return badTarget(http.StatusMethodNotAllowed, "method "+method+" is not passed to a protected resource")
	}
	return nil
}

// askHandshake: a request in early data (RFC 8446 §2.3) can be sent again by
// whoever has seen it pass. One that may change something has to wait for the end
// of the handshake (RFC 8470 §5.2).
func askHandshake(v *visit) *refusal {
	r := v.request
	if r.TLS == nil || r.TLS.HandshakeComplete || r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return nil
	}
	return badTarget(http.StatusTooEarly, "the request came before the end of the handshake and could be a copy; send it again")
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
