package caddymodule

import (
	"fmt"
	"testing"
)

// TestClaimRules: a claim has one of the values. A string is compared as it is,
// anything else as JSON, an array by its elements.
func TestClaimRules(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	type list = []any
	rules := []claimRuleCase{
		{"claim role admin owner", []claimCase{
			{"a string", map[string]any{"role": "owner"}, true},
			{"an element of an array", map[string]any{"role": list{"guest", "admin"}}, true},
			{"another string", map[string]any{"role": "guest"}, false},
			{"a string that begins the same", map[string]any{"role": "administrator"}, false},
			{"a string with both in it is neither", map[string]any{"role": "admin owner"}, false},
			{"another case", map[string]any{"role": "Admin"}, false},
			{"space around it", map[string]any{"role": " admin"}, false},
			{"missing", nil, false},
			{"null", map[string]any{"role": rawNull{}}, false},
			{"an empty array", map[string]any{"role": list{}}, false},
			{"an array of null", map[string]any{"role": list{nil}}, false},
			{"an array in an array: what it means, only its issuer knows", map[string]any{"role": list{list{"admin"}}}, false},
			{"an object", map[string]any{"role": map[string]any{"admin": true}}, false},
			{"a boolean", map[string]any{"role": true}, false},
		}},
		{"claim level 3", []claimCase{
			{"a number", map[string]any{"level": 3}, true},
			{"a string of digits", map[string]any{"level": "3"}, true},
			{"a number in an array", map[string]any{"level": list{1, 3}}, true},
			{"another number", map[string]any{"level": 33}, false},
			{"a fraction", map[string]any{"level": 3.5}, false},
		}},
		{"claim email_verified true", []claimCase{
			{"true", map[string]any{"email_verified": true}, true},
			{"false", map[string]any{"email_verified": false}, false},
			{"1 is not true", map[string]any{"email_verified": 1}, false},
			{"missing is not true", nil, false},
		}},
		{"claim nothing null", []claimCase{
			{"null is no value, also where a rule spells it", map[string]any{"nothing": rawNull{}}, false},
			{"a string that says null", map[string]any{"nothing": "null"}, true},
		}},
		{"claim /realm_access/roles admin", []claimCase{
			{"within an object, RFC 6901", map[string]any{"realm_access": map[string]any{"roles": list{"admin"}}}, true},
			{"the object lacks it", map[string]any{"realm_access": map[string]any{"other": list{"admin"}}}, false},
			{"no object", map[string]any{"realm_access": "admin"}, false},
			{"the same name outside", map[string]any{"roles": list{"admin"}}, false},
		}},
		{"claim /a~1b/c~0d x", []claimCase{
			{"escapes of RFC 6901", map[string]any{"a/b": map[string]any{"c~d": "x"}}, true},
		}},
		{`claim https://example.com/roles admin`, []claimCase{
			{"a name that is a URL", map[string]any{"https://example.com/roles": list{"admin"}}, true},
		}},
		{"claim role admin\n\t\tclaim dept it", []claimCase{
			{"both hold", map[string]any{"role": "admin", "dept": "it"}, true},
			{"every rule must hold", map[string]any{"role": "admin"}, false},
		}},
		{"client app other", []claimCase{
			{"the client", nil, true},
			{"another client", map[string]any{"client_id": "evil"}, false},
			{"a client that begins the same", map[string]any{"client_id": "app2"}, false},
			{"azp is not client_id", map[string]any{"client_id": "evil", "azp": "app"}, false},
		}},
		{"subject alice", []claimCase{
			{"the subject", map[string]any{"sub": "alice"}, true},
			{"another subject", map[string]any{"sub": "bob"}, false},
			{"another case", map[string]any{"sub": "Alice"}, false},
			{"who acts is not the subject", map[string]any{"sub": "bob", "act": map[string]any{"sub": "alice"}}, false},
		}},
	}
	checkClaimRules(t, s, b, rules)
}

// rawNull is null, which forge takes for "leave it out" when it is nil.
type rawNull struct{}

func (rawNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// claimRuleCase is an option of a gate, and the tokens that it decides on.
type claimRuleCase struct {
	option string
	claims []claimCase
}

// checkClaimRules gives each option a gate of its own.
func checkClaimRules(t *testing.T, s *server, b *backend, rules []claimRuleCase) {
	t.Helper()
	var gates []string
	for _, rule := range rules {
		gates = append(gates, rule.option)
	}
	if err := s.load(gatesWith(gates...)); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"evil", "app2", "other"} { // a token of a client that there is not is no token
		s.addClient(other, "api:read")
	}
	for n, rule := range rules {
		t.Run(rule.option, func(t *testing.T) {
			for _, test := range rule.claims {
				t.Run(test.must, func(t *testing.T) { test.check(t, s, b, fmt.Sprintf("/gate/%d/x", n)) })
			}
		})
	}
}

// claimCase is a token with these claims, which passes or is refused with 403.
type claimCase struct {
	must   string
	claims map[string]any
	passes bool
}

func (c claimCase) check(t *testing.T, s *server, b *backend, path string) {
	t.Helper()
	a := s.send("GET", path, "", bearer(s.forge("at+jwt", c.claims)))
	if c.passes {
		a.want(t, 200)
		b.one(t)
		return
	}
	a.want(t, 403)
	b.none(t)
	contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope", error_description="`)
}
