package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// gateWith is the usual Caddyfile with these options in the gate instead of its
// scopes.
func gateWith(options ...string) string {
	return strings.Replace(usualCaddyfile, "scope GET,HEAD api:read\n\t\tscope * api:write", strings.Join(options, "\n\t\t"), 1)
}

// gatesWith is one server with as many gates of one API, gate n at /gate/n/.
func gatesWith(gates ...string) string {
	var text strings.Builder
	for n, options := range gates {
		fmt.Fprintf(&text, "\toauth_protect /gate/%d/* {\n\t\tresource $GATE/api\n\t\t%s\n\t}\n", n, options)
	}
	return strings.Replace(usualCaddyfile, "\treverse_proxy /api/*", text.String()+"\treverse_proxy /gate/*", 1)
}

// TestScopeRules: the first rule for the method and the path of a request decides
// which scopes it needs, and a refusal names them (RFC 6750 §3.1).
func TestScopeRules(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	type request struct {
		must   string
		method string
		path   string
		scope  string // of the token
		needs  string // what the challenge asks for; "" if it passes, "-" if nothing would help
	}
	for _, set := range []struct {
		name     string
		options  []string
		requests []request
	}{
		{"by method and path", []string{"scope GET,HEAD /api/orders/* orders:read", "scope * /api/orders/* orders:write", "scope GET /api/a /api/b ab", "scope GET /api/c/ c", "scope GET any"}, []request{
			{"a rule is for its paths", "GET", "/api/orders/7", "orders:read", ""},
			{"the next rule is for other methods", "POST", "/api/orders/7", "orders:write", ""},
			{"a scope of another rule is not enough", "POST", "/api/orders/7", "orders:read", "orders:write"},
			{"the first rule decides, and no other", "GET", "/api/orders/7", "orders:write any", "orders:read"},
			{"/x/* is for /x as well: most servers take both for one place", "GET", "/api/orders", "any", "orders:read"},
			{"/x/* is for /x/", "GET", "/api/orders/", "any", "orders:read"},
			{"/x/* is for what is deep below", "DELETE", "/api/orders/7/lines/1", "any", "orders:write"},
			{"/x/* is not for what begins the same", "GET", "/api/ordersandmore", "any", ""},
			{"/x/* is not for /x?", "GET", "/api/other?p=/api/orders/", "any", ""},
			{"letters of a path have no case in a rule, since some servers see none", "GET", "/API/Orders/7", "any", "orders:read"},
			{"nor percent-encoded ones", "GET", "/api/%4frders/7", "any", "orders:read"},
			{"a path without a star is that path alone", "GET", "/api/a/b", "any", ""},
			{"but for a slash at its end: most servers take both for one place", "GET", "/api/a/", "any", "ab"},
			{"and for letters, which some servers see no case in", "GET", "/api/A/", "any", "ab"},
			{"a path with a slash at its end is for the one without", "GET", "/api/c", "any", "c"},
			{"any of several paths", "GET", "/api/b", "any", "ab"},
			{"HEAD is not GET", "HEAD", "/api/x", "any", "-"},
			{"no rule for it: nothing is allowed that nobody has thought of", "PUT", "/api/x", "any orders:read orders:write ab", "-"},
		}},
		{"all of", []string{"scope * a b c"}, []request{
			{"all of them", "GET", "/api/x", "c a b", ""},
			{"one is missing", "GET", "/api/x", "a b", "a b c"},
			{"none", "GET", "/api/x", "d", "a b c"},
		}},
		{"any of", []string{"any_scope GET /api/x a b", "any_scope * c d"}, []request{
			{"the one", "GET", "/api/x", "a", ""},
			{"the other", "GET", "/api/x", "x b", ""},
			{"none: the challenge asks for the first, because it cannot say `one of`", "GET", "/api/x", "c d", "a"},
			{"the rule for the rest", "POST", "/api/x", "d", ""},
			{"none of the rule for the rest", "POST", "/api/x", "a b", "c"},
		}},
		{"order", []string{"scope GET /api/* low", "scope * /api/admin/* high"}, []request{
			{"a rule that stands too late has no say: the order is the operator's", "GET", "/api/admin/x", "low", ""},
		}},
	} {
		t.Run(set.name, func(t *testing.T) {
			if err := s.load(gateWith(set.options...)); err != nil {
				t.Fatal(err)
			}
			for _, r := range set.requests {
				t.Run(r.must, func(t *testing.T) {
					a := s.send(r.method, r.path, "", bearer(s.forge("at+jwt", map[string]any{"scope": r.scope})))
					if r.needs == "" {
						a.want(t, 200)
						b.one(t)
						return
					}
					a.want(t, 403)
					b.none(t)
					challenge := a.Header.Get("WWW-Authenticate")
					contains(t, challenge, `error="insufficient_scope"`)
					if r.needs == "-" {
						if strings.Contains(challenge, "scope=") {
							t.Errorf("no scope would help, and it names one: %s", challenge)
						}
						return
					}
					contains(t, challenge, `, scope="`+r.needs+`"`)
					// Who has no token yet learns at once what to ask for.
					anonymous := s.send(r.method, r.path, "")
					anonymous.want(t, 401)
					b.none(t)
					contains(t, anonymous.Header.Get("WWW-Authenticate"), `, scope="`+r.needs+`"`)
				})
			}
		})
	}
}

// TestScopeRuleTargets: a path that two readers could understand differently
// matches no rule, because it is refused before anybody reads the rules.
func TestScopeRuleTargets(t *testing.T) {
	b := startBackend(t)
	s := start(t, gateWith("scope * /api/open/* low", "scope * high"), b.address)
	low := s.forge("at+jwt", map[string]any{"scope": "low"})
	s.send("GET", "/api/open/x", "", bearer(low)).want(t, 200)
	b.one(t)
	for _, path := range []string{
		"/api/open/../admin", "/api/open/%2e%2e/admin", "/api/open/..;/admin", "/api/open/..%2fadmin", "/api/open/..%5cadmin", "/api/open//../admin",
		"/api/open/%252e%252e/admin", "/api/open/;/../admin", "/api/open/.%00./admin",
	} {
		s.raw(t, s.rawRequest("GET", path, bearer(low)), 1)[0].want(t, 400)
		b.none(t)
	}
}

// TestGateWithUnknownScope: what asks for a scope that no issuer declares is closed to
// everybody, and the log says so.
func TestGateWithUnknownScope(t *testing.T) {
	s := start(t, usualCaddyfile, "")
	const says = "the gate asks for a scope that its issuer does not declare"
	if strings.Contains(s.log(), says) {
		t.Error("it is said of scopes that are declared")
	}
	if err := s.load(gateWith("scope GET api:read profile", "scope * api:wriet")); err != nil {
		t.Fatal(err)
	}
	contains(t, s.log(), says, `"scope":"api:wriet"`)
	if strings.Contains(s.log(), `"scope":"profile"`) {
		t.Error("it is said of a scope that every issuer has")
	}
}
