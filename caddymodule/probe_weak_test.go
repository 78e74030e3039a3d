package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule/probe"
)

// weakGate stands before the gate and does what gates have been seen to do. What
// no weakness is about goes to the gate, byte for byte.
type weakGate struct {
	address    string
	gate, api  string // where to send what
	weaknesses []weakness

	mu    sync.Mutex
	token string         // the first
	good  map[string]any // its claims
	worn  bool           // the last of the broken heads came by
}

// weakness is one thing that a gate does wrong, and the check that must find it.
type weakness struct {
	check string
	// is tells whether a request meets the weakness.
	is func(*weakRequest) bool
	// passes is what the API then gets; nil: the request as it is.
	passes func(*weakRequest) string
	// answers instead of the API, if it is not empty.
	answers string
}

// weakRequest is a request as a weak gate reads it.
type weakRequest struct {
	gate           *weakGate
	raw, head      string
	line           string // method, target and version
	method, target string
	token          string // behind the first Bearer
	header, claims map[string]any
}

func startWeakGate(t *testing.T, s *server, weaknesses ...weakness) *weakGate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, gate, _ := strings.Cut(s.url, "://")
	g := &weakGate{address: listener.Addr().String(), gate: gate, api: s.backend, weaknesses: weaknesses}
	var open sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { g.serve(conn) })
		}
	})
	return g
}

// serve finds the first weakness of a connection's first request.
func (g *weakGate) serve(conn net.Conn) {
	defer conn.Close()
	r := g.read(conn)
	for _, w := range g.weaknesses {
		switch {
		case !w.is(r):
		case w.answers != "":
			_, _ = io.WriteString(conn, w.answers)
			return
		case w.passes != nil:
			splice(conn, g.api, w.passes(r))
			return
		default:
			splice(conn, g.api, r.raw)
			return
		}
	}
	splice(conn, g.gate, r.raw)
}

// read takes what comes at once.
func (g *weakGate) read(conn net.Conn) *weakRequest {
	buffer, n := make([]byte, 256<<10), 0
	for n < len(buffer) && !strings.Contains(string(buffer[:n]), "\r\n\r\n") && !strings.Contains(string(buffer[:n]), "\n\n") {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		more, err := conn.Read(buffer[n:])
		if n += more; err != nil {
			break
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	r := &weakRequest{gate: g, raw: string(buffer[:n])}
	r.head, _, _ = strings.Cut(r.raw, "\r\n\r\n")
	r.line, _, _ = strings.Cut(r.raw, "\r\n")
	r.method, r.target, _ = strings.Cut(r.line, " ")
	r.target, _, _ = strings.Cut(r.target, " ")
	_, r.token, _ = strings.Cut(r.head, "\r\nAuthorization: Bearer ")
	r.token, _, _ = strings.Cut(r.token, "\r\n")
	r.header, r.claims = tokenPart(r.token, 0), tokenPart(r.token, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.good == nil && r.claims != nil {
		g.token, g.good = r.token, r.claims
	}
	g.worn = g.worn || strings.HasPrefix(r.raw, "GET  ")
	return r
}

// isWorn tells whether the gate has seen what wears it out.
func (g *weakGate) isWorn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.worn
}

func tokenPart(token string, n int) (members map[string]any) {
	parts := strings.Split(token, ".")
	if n >= len(parts) {
		return nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[n])
	_ = json.Unmarshal(text, &members) // anything may stand there
	return members
}

// splice sends what was read, and then all that comes, to address and back.
func splice(conn net.Conn, address, read string) {
	behind, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer behind.Close()
	_, _ = io.WriteString(behind, read)
	go func() {
		_, _ = io.Copy(behind, conn)
		_ = behind.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, behind)
}

// has tells whether a field begins so, as it stands.
func (r *weakRequest) has(field string) bool { return strings.Contains(r.head, "\r\n"+field) }

// bare: it shows no token.
func (r *weakRequest) bare() bool { return !r.has("Authorization") }

// shows: its token is another one of the issuer's, with these claims.
func (r *weakRequest) shows(changed ...string) bool {
	if r.claims == nil || r.claims["jti"] == r.gate.good["jti"] {
		return false
	}
	for name, value := range r.gate.good {
		if name != "jti" && (value == r.claims[name]) == slices.Contains(changed, name) {
			return false
		}
	}
	return true
}

// asGate is the request as the gate would pass it on, but for what a stranger
// said.
func (r *weakRequest) asGate() string {
	return strings.Replace(r.raw, "Authorization: Bearer "+r.token, "X-Auth-Subject: app\r\nX-Auth-Client: app\r\nX-Auth-Scope: api:read api:write", 1)
}

// hidden is the request that another one hides.
func (r *weakRequest) hidden() string {
	at := strings.LastIndex(r.raw, "GET ")
	if at <= 0 {
		return ""
	}
	return r.raw[at:]
}

func (r *weakRequest) hides() bool { return r.hidden() != "" }

// said is a weakness that believes a header in a spelling.
func said(check, field string) weakness {
	return weakness{
		check: "identity: said as " + check,
		is: func(r *weakRequest) bool {
			return !r.bare() && strings.Count(r.raw, "\r\n"+field+": spoof") == 1 && !r.has("X-Probe")
		},
		passes: (*weakRequest).asGate,
	}
}

// at is a weakness that takes a target for an open one.
func at(check, target string) weakness {
	return weakness{check: "path: " + check, is: func(r *weakRequest) bool { return r.bare() && r.target == target }}
}

// lacks is a weakness of requests without a token.
func lacks(check string, is func(*weakRequest) bool) weakness {
	return weakness{check: check, is: func(r *weakRequest) bool { return r.bare() && is(r) }}
}

func anyOf(fields ...string) func(*weakRequest) bool {
	return func(r *weakRequest) bool { return slices.ContainsFunc(fields, r.has) }
}

// weaknesses are of the route at /api/orders, which GET calls.
var weaknesses = []weakness{
	lacks("token: none", func(r *weakRequest) bool {
		return r.line == "GET /api/orders HTTP/1.1" && strings.Count(r.raw, "\r\n") == 4 && r.has("Host: 127.0.0.1") && !r.has("Host: probe")
	}),
	{check: "token: expired", is: func(r *weakRequest) bool { return r.shows("exp", "iat") }},
	{check: "token: revoked", is: func(r *weakRequest) bool { return r.shows() && r.header["typ"] == "at+jwt" }},
	{check: "token: for another resource", is: func(r *weakRequest) bool { return r.claims["aud"] == "https://probe.invalid/" }},
	{check: "token: for a resource whose name begins with this one's", is: func(r *weakRequest) bool {
		audience, _ := r.claims["aud"].(string)
		return strings.HasSuffix(audience, "/api.probe.invalid")
	}},
	{check: "token: typ JWT, such as an ID token", is: func(r *weakRequest) bool { return r.shows() && r.header["typ"] == "JWT" }},
	{check: "token: signed with a foreign key", is: func(r *weakRequest) bool { return r.header["jwk"] != nil }},
	{check: "token: alg none", is: func(r *weakRequest) bool { return r.header["alg"] == "nOnE" }},
	{check: "token: HS256 with a secret that is a file's", is: func(r *weakRequest) bool { return r.header["kid"] == "/dev/null" }},
	{check: "token: HS256 with the public key as its secret", is: func(r *weakRequest) bool {
		kid, _ := r.header["kid"].(string)
		return r.header["alg"] == "HS256" && len(kid) > 20 && !strings.ContainsAny(kid, "/ ")
	}},
	{check: "token: claims altered under the old signature", is: func(r *weakRequest) bool { return r.claims["sub"] == "admin" }},
	{check: "token: header altered under the old signature", is: func(r *weakRequest) bool { return r.header["crit"] != nil }},
	{check: "token: signature missing or wrong", is: func(r *weakRequest) bool { return r.header["alg"] == "ES256" && strings.HasSuffix(r.token, ".") }},
	{check: "token: not a token at all", is: func(r *weakRequest) bool { return r.token == "probe" }},
	{check: "token: the good token, spelled otherwise", is: func(r *weakRequest) bool { return strings.HasSuffix(r.token, "==") }},
	{check: "token: the good token in another scheme", is: func(r *weakRequest) bool { return r.has("Authorization: DPoP ") }},

	{check: "place: in the header and in the query", is: func(r *weakRequest) bool { return !r.bare() && strings.Contains(r.line, "access_token=") }},
	lacks("place: in the query", func(r *weakRequest) bool { return strings.Contains(r.line, "?access_token=") }),
	lacks("place: in a cookie", anyOf("Cookie: access_token=")),
	lacks("place: in the body", func(r *weakRequest) bool { return r.method == "GET" && r.has("Content-Type: application/x-www") }),
	lacks("place: in the body of a POST", func(r *weakRequest) bool { return r.method == "POST" && r.has("Content-Type: application/x-www") }),
	lacks("place: in another header", anyOf("X-Authorization: Bearer")),
	lacks("place: in a trailer", func(r *weakRequest) bool { return r.method == "GET" && r.has("Trailer: Authorization") }),
	{check: "place: two of them", is: func(r *weakRequest) bool { return strings.Count(r.raw, "\r\nAuthorization: ") > 1 }},

	{check: "scope: a token without scope, another method", is: func(r *weakRequest) bool { return r.shows("scope") && r.method == "get" }},
	{check: "scope: a token without scope, a scope in the request", is: func(r *weakRequest) bool { return r.shows("scope") && r.has("X-Auth-Scope: ") }},
	{check: "scope: a token without scope", is: func(r *weakRequest) bool { return r.shows("scope") && r.method == "GET" }},

	lacks("identity: said without a token", anyOf("X-User: spoof")),
	{check: "identity: said twice", is: func(r *weakRequest) bool { return strings.Count(r.raw, "\r\nX-User: spoof") > 1 }, passes: (*weakRequest).asGate},
	{check: "identity: removed by Connection", is: anyOf("Connection: close, X-User"), passes: func(r *weakRequest) string {
		return strings.Replace(r.raw, "Authorization: ", "X-Nothing: ", 1)
	}},
	{check: "identity: said in a trailer", is: anyOf("Trailer: X_Auth_Subject"), passes: (*weakRequest).asGate},
	said("it is", "X-Auth-Subject"),
	{check: "identity: said in lower case", is: anyOf("x-auth-subject: "), passes: (*weakRequest).asGate},
	{check: "identity: said in upper case", is: anyOf("X-AUTH-SUBJECT: "), passes: (*weakRequest).asGate},
	said("X_Auth_Subject", "X_Auth_Subject"), said("x_auth_subject", "x_auth_subject"), said("X.Auth.Subject", "X.Auth.Subject"),
	said("X-Auth_Subject", "X-Auth_Subject"), said("X--Auth--Subject", "X--Auth--Subject"), said("X_-Auth_-Subject", "X_-Auth_-Subject"),
	said("XAuthSubject", "XAuthSubject"), said("X-Auth-Subject_", "X-Auth-Subject_"), said("X~Auth~Subject", "X~Auth~Subject"),
	{check: "identity: said in a broken field", is: anyOf("X-Auth-Subject : "), passes: func(r *weakRequest) string {
		return strings.Replace(r.asGate(), "Subject : ", "Subject: ", 1)
	}},

	{check: "path: out of /public", is: func(r *weakRequest) bool { return r.bare() && strings.HasPrefix(r.target, "/public") }},
	at("double slash", "//api/orders"), at("dot segments", "/./api/orders"), at("encoded dot segments", "/%2e/api/orders"),
	at("encoded slash", "/%2fapi/orders"), at("backslash", `/\api/orders`), at("double encoding", "/%252e/api/orders"),
	at("path parameters", "/;/api/orders"), at("control characters", "/api/orders%00"), at("not UTF-8", "/api/orders%ff"),
	at("encoded letters and other case", "/API/ORDERS"), at("endings", "/api/orders/"),
	lacks("path: absolute form", func(r *weakRequest) bool { return strings.HasPrefix(r.target, "https://") }),

	lacks("method: HEAD and OPTIONS without a token", func(r *weakRequest) bool { return r.method == "HEAD" }),
	lacks("method: lower case without a token", func(r *weakRequest) bool { return r.method == "Get" }),
	lacks("method: TRACE and TRACK", func(r *weakRequest) bool { return r.method == "TRACE" }),
	{check: "method: TRACE and TRACK with a good token", is: func(r *weakRequest) bool { return !r.bare() && r.method == "TRACE" }},
	{check: "method: CONNECT", is: func(r *weakRequest) bool { return r.method == "CONNECT" }, passes: (*weakRequest).hidden},
	{check: "method: OPTIONS *", is: func(r *weakRequest) bool { return r.target == "*" }, answers: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nAPI"},
	lacks("method: others without a token", func(r *weakRequest) bool { return r.method == "DELETE" }),
	lacks("method: others in lower case without a token", func(r *weakRequest) bool { return r.method == "delete" }),

	lacks("header: another URL", anyOf("X-Original-URL: /")),
	lacks("header: another method", anyOf("X-HTTP-Method: OPTIONS")),
	lacks("header: another client", anyOf("X-Forwarded-For: 127.0.0.1")),
	lacks("header: another host", anyOf("X-Forwarded-Host: localhost")),
	{check: "header: upgrade to h2c without a token", is: func(r *weakRequest) bool { return r.bare() && r.has("Upgrade: h2c") },
		answers: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
	lacks("header: upgrade to a websocket without a token", anyOf("Upgrade: websocket")),
	{check: "header: Expect without a token", is: func(r *weakRequest) bool { return r.bare() && r.has("Expect: ") },
		answers: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"},
	{check: "header: preflight of a foreign page", is: anyOf("Origin: https://probe.invalid"),
		answers: "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://probe.invalid\r\nAccess-Control-Allow-Credentials: true\r\n\r\n"},
	{check: "header: a request without a token behind one with", is: func(r *weakRequest) bool {
		return !r.bare() && r.method == "GET" && r.hides() && !r.has("Content-Length") && !r.has("Transfer-Encoding")
	}},
	{check: "header: upgrade to h2c with a good token", is: func(r *weakRequest) bool { return r.has("Upgrade: H2C") }, passes: (*weakRequest).asGate},
	{check: "header: another method with a good token", is: anyOf("X-HTTP-Method: DELETE"), passes: (*weakRequest).asGate},
	{check: "header: another URL with a good token", is: func(r *weakRequest) bool { return !r.bare() && r.has("X-Original-URL: /") }, passes: (*weakRequest).asGate},

	{check: "framing: broken heads", is: func(r *weakRequest) bool { return !strings.Contains(r.raw, "\r") }, passes: func(r *weakRequest) string {
		return strings.ReplaceAll(r.raw, "\n", "\r\n")
	}},
}

// framings are the checks of requests that hide another one.
var framings = []string{
	"Content-Length and chunked", "chunked and Content-Length", "two Content-Length", "a list of Content-Length", "Content-Length with a sign",
	"negative Content-Length", "unknown Transfer-Encoding", "Transfer-Encoding behind a vertical tab", "space before the colon",
	"chunked and identity", "two Transfer-Encoding", "Transfer-Encoding on two lines", "Transfer-Encoding behind a bare CR",
	"a chunk size that is no number", "a chunk size beyond all bounds", "a negative chunk size", "a chunk longer than its size",
	"a chunk extension behind a bare LF",
}

// framingWeaknesses take every request that hides for its own.
func framingWeaknesses() (all []weakness) {
	framed := func(r *weakRequest) bool {
		return r.hides() && (r.has("Content-Length") || r.has("Transfer-Encoding") || r.has("X-Probe"))
	}
	for _, name := range framings {
		all = append(all,
			weakness{check: "framing: " + name, is: func(r *weakRequest) bool { return r.bare() && framed(r) }, passes: (*weakRequest).hidden},
			weakness{check: "framing: " + name + ", with a good token", is: func(r *weakRequest) bool { return !r.bare() && framed(r) }, passes: (*weakRequest).hidden},
		)
	}
	return all
}

// checksOf are the checks that must find weaknesses, in order.
func checksOf(weaknesses []weakness) []string {
	checks := map[string]bool{}
	for _, w := range weaknesses {
		checks[w.check] = true
	}
	return slices.Sorted(maps.Keys(checks))
}

// TestProbeFindsWeaknesses: each check fails if the gate has the weakness that
// it is about, and no other check does.
func TestProbeFindsWeaknesses(t *testing.T) {
	all := slices.Concat(weaknesses, framingWeaknesses())
	found := map[string]bool{"control: a good token passes": true} // without it there is no probe
	tests := []struct {
		name       string
		weaknesses []weakness
	}{
		{"at once", all},
		{"the wrong caller", []weakness{{
			check: "identity: the API is told who calls",
			is:    plain,
			passes: func(r *weakRequest) string {
				return strings.Replace(r.raw, "Authorization: Bearer "+r.token, "X-Auth-Subject: admin", 1)
			},
		}}},
		{"another caller", []weakness{{
			check: "identity: removed by Connection", is: anyOf("Connection: close, X-User"),
			passes: func(r *weakRequest) string {
				return strings.Replace(r.asGate(), "X-Auth-Subject: app", "X-Auth-Subject: admin", 1)
			},
		}}},
		{"two callers", []weakness{{
			check: "identity: removed by Connection", is: anyOf("Connection: close, X-User"),
			passes: func(r *weakRequest) string {
				return strings.Replace(r.asGate(), "X-Auth-Subject: app", "X-Auth-Subject: app\r\nX-Auth-Subject: app", 1)
			},
		}}},
		{"the token goes on", []weakness{{
			check: "identity: the token stays at the gate",
			is:    plain,
			passes: func(r *weakRequest) string {
				return strings.Replace(r.asGate(), "\r\n\r\n", "\r\nAuthorization: Bearer "+r.token+"\r\n\r\n", 1)
			},
		}}},
		{"a scope that nobody names", []weakness{{
			check:   "scope: a token without scope",
			is:      func(r *weakRequest) bool { return r.shows("scope") && r.method == "GET" && !r.has("X-Auth-Scope") },
			answers: "HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\"\r\nContent-Length: 0\r\n\r\n",
		}}},
		{"no challenge", []weakness{{
			check:   "token: expired",
			is:      func(r *weakRequest) bool { return r.shows("exp", "iat") },
			answers: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
		}}},
		{"the code of a token that was not shown", []weakness{{
			check:   "token: none",
			is:      weaknesses[0].is,
			answers: "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\n\r\n",
		}}},
		{"two lengths", []weakness{{
			check: "framing: chunked and Content-Length, with a good token",
			is: func(r *weakRequest) bool {
				return !r.bare() && r.hides() && r.has("Transfer-Encoding: chunked\r\nContent-Length")
			},
			passes: func(r *weakRequest) string { return strings.TrimSuffix(r.raw, r.hidden()) },
		}}},
		{"worn out", []weakness{{
			check:   "control: a good token still passes",
			is:      func(r *weakRequest) bool { return r.gate.isWorn() && r.method == "GET" && !r.bare() },
			answers: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		}}},
	}
	for _, test := range tests {
		for _, check := range checksOf(test.weaknesses) {
			found[check] = true
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			backend := freeAddress(t)
			s := start(t, usualCaddyfile, backend)
			weak := startWeakGate(t, s, test.weaknesses...)
			report, err := s.runProbe(s.url+"/api/orders", "--backend", backend, "--resolve", "127.0.0.1:"+weak.address)
			if err == nil {
				t.Error("the probe says that the gate holds")
			}
			report.failed(t, checksOf(test.weaknesses))
			for _, f := range report.Checks {
				if check := f.Class + ": " + f.Check; !found[check] {
					t.Errorf("no weakness shows that this check can fail: %s", check)
				}
			}
		})
	}
}

// plain: a request with the good token and nothing else.
func plain(r *weakRequest) bool {
	return r.line == "GET /api/orders HTTP/1.1" && r.token == r.gate.token && strings.Count(r.raw, "\r\n") == 5
}

// failed fails the test if other checks failed than wanted.
func (p *probed) failed(t *testing.T, wanted []string) {
	t.Helper()
	failed, details := p.list(probe.Failed)
	for _, check := range wanted {
		if !slices.Contains(failed, check) {
			t.Errorf("not found: %s", check)
		}
	}
	for n, check := range failed {
		if !slices.Contains(wanted, check) {
			t.Errorf("failed, too: %s", details[n])
		}
	}
}

// TestProbeFindsWeaknessesBeforeTheAPI: the same with nothing but answers to look
// at, where they show it.
func TestProbeFindsWeaknessesBeforeTheAPI(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	all := slices.Concat(weaknesses, framingWeaknesses())
	weak := startWeakGate(t, s, all...)
	found, err := s.runProbe(s.url+"/api/orders", "--resolve", "127.0.0.1:"+weak.address)
	if err == nil {
		t.Error("the probe says that the gate holds")
	}
	unseen, _ := found.list(probe.NotSeen)
	found.failed(t, slices.DeleteFunc(checksOf(all), func(check string) bool { return slices.Contains(unseen, check) }))
}
