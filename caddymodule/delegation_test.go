package caddymodule

import (
	"strings"
	"testing"
)

// TestDelegation: the gate enforces who acts, and who has vouched for whom they
// act for (RFC 8693 §4.1). Each refusal is 403, and the backend hears nothing.
func TestDelegation(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(usualCaddyfile, "resource $GATE/api", `resource $GATE/api
		actor agent
		subject_issuer https://idp.test $GATE`, 1), b.address)
	actor := func(claims ...string) map[string]any {
		act := map[string]any{"sub": claims[0]}
		if len(claims) > 1 {
			act["iss"] = claims[1]
		}
		return act
	}
	for _, test := range []struct {
		must    string
		changes map[string]any
		status  int
	}{
		{"the actor that is named passes", map[string]any{"act": actor("agent")}, 200},
		{"the issuer's own name makes no difference", map[string]any{"act": actor("agent", s.url)}, 200},
		{"a subject that the trusted issuer vouched for passes", map[string]any{"act": actor("agent"), "subject_issuer": "https://idp.test"}, 200},
		{"nobody acts", nil, 403},
		{"another actor", map[string]any{"act": actor("other")}, 403},
		{"an actor that another issuer has named", map[string]any{"act": actor("agent", "https://idp.test")}, 403},
		{"only the current actor counts", map[string]any{"act": map[string]any{"sub": "other", "act": actor("agent")}}, 403},
		{"a subject of an issuer that is not accepted", map[string]any{"act": actor("agent"), "subject_issuer": "https://evil.test"}, 403},
	} {
		t.Run(test.must, func(t *testing.T) {
			a := s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", test.changes)))
			a.want(t, test.status)
			if test.status == 200 {
				b.one(t)
				return
			}
			b.none(t)
			contains(t, a.Header.Get("Www-Authenticate"), `error="insufficient_scope"`)
		})
	}

	t.Run("the chain reaches the backend, and no other", func(t *testing.T) {
		chain := map[string]any{"act": map[string]any{"sub": "agent", "act": actor("a, b")}}
		s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", chain)), "X-Auth-Actor: admin", "X_auth.actor: admin").want(t, 200)
		if got := fields(b.one(t), "X-Auth-Actor"); len(got) != 1 || got[0] != "agent, a%2C b" {
			t.Errorf("X-Auth-Actor %q", got)
		}
	})
}

// TestForeignActorInOurToken: of an actor whom another issuer has named, an
// impersonation makes a token of ours; the API is not told that our client of that
// name acts.
func TestForeignActorInOurToken(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(usualCaddyfile, "resource $GATE/api", `resource $GATE/api
		identity_header X-Actor act
		identity_header X-Actor-Subject /act/sub
		identity_header X-Actor-Before /act/act/sub`, 1), b.address)
	foreign := map[string]any{"sub": "agent", "iss": "https://idp.test"}
	for _, test := range []struct {
		act  map[string]any
		want []string
	}{
		{foreign, []string{"https://idp.test|agent", "https://idp.test|agent", ""}},
		{map[string]any{"sub": "agent", "act": foreign}, []string{"agent, https://idp.test|agent", "agent", "https://idp.test|agent"}},
		{map[string]any{"sub": "agent", "iss": s.url}, []string{"agent", "agent", ""}},
	} {
		s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"act": test.act}))).want(t, 200)
		got := b.one(t)
		for n, name := range []string{"X-Actor", "X-Actor-Subject", "X-Actor-Before"} {
			if value := strings.Join(fields(got, name), "; "); value != test.want[n] {
				t.Errorf("%v: %s is %q, want %q", test.act, name, value, test.want[n])
			}
		}
	}
}
