package caddymodule

import (
	"strings"
	"testing"
)

// TestPlaceholdersOfRefused: whoever a gate refuses is nobody to what comes after
// it, though the token is genuine: it was made for another resource, or lacks what
// the route asks for.
func TestPlaceholdersOfRefused(t *testing.T) {
	const seen = "{http.auth.user.id}|{http.auth.user.client_id}|{http.auth.user.scope}|{http.auth.user.issuer}|{http.auth.user.token_id}|{http.auth.user.claims.sub}"
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	reported := gateWith("report_only", "scope * api:read")
	reported = strings.Replace(reported, "reverse_proxy /api/* $BACKEND", "reverse_proxy /api/* $BACKEND {\n\t\theader_up X-Seen \""+seen+"\"\n\t}", 1)
	handled := strings.Replace(gateWith("scope * api:read"), "\treverse_proxy", "\thandle_errors {\n\t\treverse_proxy $BACKEND {\n\t\t\theader_up X-Seen \""+seen+"\"\n\t\t}\n\t}\n\treverse_proxy", 1)
	for name, text := range map[string]string{"where refusals are reported": reported, "on the way of an error": handled} {
		t.Run(name, func(t *testing.T) {
			if err := s.load(text); err != nil {
				t.Fatal(err)
			}
			for what, claims := range map[string]map[string]any{
				"for another resource": {"sub": "alice", "aud": "https://other.example"},
				"without the scope":    {"sub": "alice", "scope": "api:write"},
				"expired":              {"sub": "alice", "exp": 1},
			} {
				s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", claims)))
				// Caddy leaves a placeholder without a value as it is.
				if got := fields(b.one(t), "X-Seen"); len(got) != 1 || got[0] != seen {
					t.Errorf("%s: the API is told %q", what, got)
				}
			}
		})
	}
}
