package caddymodule

import (
	"fmt"
	"testing"
)

// TestExpression: a CEL expression over the claims must be true. One that cannot
// be evaluated is not true: 403, never 500 and never a pass.
func TestExpression(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	rules := []struct {
		option string
		claims []claimCase
	}{
		{"expression `{http.auth.user.claims.level} >= 3`", []claimCase{
			{"true", map[string]any{"level": 3}, true},
			{"false", map[string]any{"level": 2.5}, false},
			{"the claim is missing", nil, false},
			{"the claim is null", map[string]any{"level": rawNull{}}, false},
			{"the claim has another type", map[string]any{"level": "9"}, false},
		}},
		{"expression `\"admin\" in {http.auth.user.claims.realm_access.roles}`", []claimCase{
			{"in a claim within another", map[string]any{"realm_access": map[string]any{"roles": []any{"user", "admin"}}}, true},
			{"a claim that has the dot in its name", map[string]any{"realm_access.roles": []any{"admin"}}, true},
			{"not in it", map[string]any{"realm_access": map[string]any{"roles": []any{"user"}}}, false},
			{"missing", nil, false},
			{"a string is no list", map[string]any{"realm_access": map[string]any{"roles": "admin"}}, false},
		}},
		{"expression {http.auth.user.claims.dept} == \"it\" && {http.auth.user.client_id} == \"app\"", []claimCase{
			{"words without quotes around them all", map[string]any{"dept": "it"}, true},
			{"one half is false", map[string]any{"dept": "it", "client_id": "other"}, false},
			{"a value is a value and no code", map[string]any{"dept": `x" || true || "`}, false},
			{"a value is no placeholder", map[string]any{"dept": "{http.auth.user.claims.other}", "other": "it"}, false},
		}},
		{"expression `{http.auth.user.claims.admin} == true`", []claimCase{
			{"a claim that is true", map[string]any{"admin": true}, true},
			{"a claim that is false", map[string]any{"admin": false}, false},
			{"the text true is no boolean", map[string]any{"admin": "true"}, false},
			{"a missing one is not true", nil, false},
		}},
		{"expression `{http.auth.user.id} == \"alice\" && method(\"GET\") && path(\"/gate/*\")`", []claimCase{
			{"the request, too, as in Caddy's matcher", map[string]any{"sub": "alice"}, true},
			{"somebody else", map[string]any{"sub": "bob"}, false},
		}},
	}
	var gates []string
	for _, rule := range rules {
		gates = append(gates, rule.option)
	}
	if err := s.load(gatesWith(gates...)); err != nil {
		t.Fatal(err)
	}
	s.addClient("other", "api:read")
	for n, rule := range rules {
		t.Run(rule.option, func(t *testing.T) {
			for _, test := range rule.claims {
				t.Run(test.must, func(t *testing.T) { test.check(t, s, b, fmt.Sprintf("/gate/%d/x", n)) })
			}
		})
	}
}
