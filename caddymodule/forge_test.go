package caddymodule

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// forge signs claims with the key of the running issuer, which is how a test
// comes by tokens that the issuer itself would never give: expired ones, ones
// for nobody. changes are laid over the claims of a good token; nil takes one
// away.
func (s *server) forge(typ string, changes map[string]any) string {
	s.t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": s.url, "sub": "app", "aud": s.url + "/api", "client_id": "app", "scope": "api:read api:write",
		"iat": now - 60, "exp": now + 600, "jti": "forged-" + time.Now().Format(time.RFC3339Nano),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := signingRing(s.t, s.url).Sign(typ, text)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// signingRing opens the keys of the running issuer a second time.
func signingRing(t testing.TB, issuerURL string) *keys.Ring {
	t.Helper()
	ring := keys.NewRing(activeApp(t).vault.opened.Load().store, issuerURL)
	policy := keys.Policy{Algorithm: keys.ES256, RotateEvery: 90 * 24 * time.Hour, PublishAhead: 10 * time.Minute, MaxLifetime: time.Hour}
	if err := ring.Open(context.Background(), policy); err != nil {
		t.Fatal(err)
	}
	return ring
}

// decodePart reads a part of a JWS: 0 its header, 1 its claims.
func decodePart(t testing.TB, token string, part int, into any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
