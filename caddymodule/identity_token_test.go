package caddymodule

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TestIdentityToken: an API verifies who calls by the keys that the issuer
// publishes, with a library that is not ours.
func TestIdentityToken(t *testing.T) {
	b := startBackend(t)
	s := start(t, gateWith("identity_token X-Identity", "scope * api:read"), b.address)
	var published jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.send("GET", "/.well-known/jwks.json", "").body), &published); err != nil {
		t.Fatal(err)
	}
	type claims struct {
		jwt.Claims
		ClientID      string          `json:"client_id"`
		Scope         string          `json:"scope"`
		TokenIssuer   string          `json:"token_issuer"`
		SubjectIssuer string          `json:"subject_issuer"`
		Actor         json.RawMessage `json:"act"`
	}
	pass := func(token string, headers ...string) string {
		t.Helper()
		s.send("GET", "/api/x", "", append(headers, bearer(token))...).want(t, 200)
		got := fields(b.one(t), "X-Identity")
		if len(got) != 1 {
			t.Fatalf("X-Identity %q", got)
		}
		return got[0]
	}
	verify := func(text string) (c claims, header jose.Header) {
		t.Helper()
		parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		header = parsed.Headers[0]
		keys := published.Key(header.KeyID)
		if len(keys) != 1 {
			t.Fatalf("key %q is not published", header.KeyID)
		}
		if err := parsed.Claims(keys[0].Key, &c); err != nil {
			t.Fatal(err)
		}
		if err := c.ValidateWithLeeway(jwt.Expected{Issuer: s.url, AnyAudience: jwt.Audience{s.url + "/api"}}, 0); err != nil {
			t.Error(err)
		}
		return c, header
	}

	t.Run("what it says", func(t *testing.T) {
		c, header := verify(pass(s.forge("at+jwt", map[string]any{
			"sub": "alice", "subject_issuer": "https://idp.test", "act": map[string]any{"sub": "agent"},
		})))
		if c.Subject != "alice" || c.ClientID != "app" || c.Scope != "api:read api:write" || c.TokenIssuer != s.url || c.SubjectIssuer != "https://idp.test" ||
			string(c.Actor) != `{"sub":"agent"}` || c.ID == "" || !slices.Equal(c.Audience, jwt.Audience{s.url + "/api"}) {
			t.Errorf("%+v %s", c, c.Actor)
		}
		// RFC 8725 §3.11: no other JWT of the issuer has this typ.
		if typ := header.ExtraHeaders["typ"]; typ != "identity+jwt" {
			t.Errorf("typ %v", typ)
		}
		if life := c.Expiry.Time().Sub(c.IssuedAt.Time()); life != time.Minute {
			t.Errorf("it lives %v", life)
		}
	})
	t.Run("it does not outlive its token", func(t *testing.T) {
		exp := time.Now().Unix() + 20
		if c, _ := verify(pass(s.forge("at+jwt", map[string]any{"exp": exp}))); c.Expiry.Time().Unix() != exp {
			t.Errorf("exp %v, want %d", c.Expiry, exp)
		}
	})
	t.Run("one for each token: signing costs as much as verifying", func(t *testing.T) {
		first, second := s.forge("at+jwt", nil), s.forge("at+jwt", map[string]any{"sub": "other"})
		once := pass(first)
		if again := pass(first); again != once {
			t.Error("the same token gets another one on the next request")
		}
		other := pass(second)
		if c, _ := verify(other); other == once || c.Subject != "other" {
			t.Error("another token gets the same one")
		}
	})
	t.Run("nobody else sets the header", func(t *testing.T) {
		for _, name := range []string{"X-Identity", "x-identity", "X_Identity", "X.Identity", "XIdentity", "X--Identity", "X-IDENTITY-"} {
			answers := s.raw(t, s.rawRequest("GET", "/api/x", bearer(s.forge("at+jwt", nil)), name+": "+evil, name+": "+evil), 1)
			answers[0].want(t, 200)
			got := b.one(t)
			if strings.Contains(got, evil) || len(fields(got, "X-Identity")) != 1 {
				t.Errorf("%s: %q", name, got)
			}
		}
	})
	t.Run("it is good for nothing else", func(t *testing.T) {
		identity := pass(s.forge("at+jwt", map[string]any{"aud": s.url + "/api"}))
		const form = "Content-Type: application/x-www-form-urlencoded"
		s.send("GET", "/api/x", "", bearer(identity)).want(t, 401)
		b.none(t)
		introspected := s.send("POST", "/introspect", url.Values{"token": {identity}}.Encode(), basic("app", appSecret), form)
		introspected.want(t, 200)
		if strings.TrimSpace(introspected.body) != `{"active":false}` {
			t.Errorf("introspection: %s", introspected.body)
		}
		s.send("GET", "/userinfo", "", bearer(identity)).want(t, 401)
		if a := s.send("GET", "/end-session?id_token_hint="+identity+"&client_id=app", ""); a.StatusCode == 302 || strings.Contains(a.body, "app") && a.StatusCode != 400 {
			t.Errorf("as a hint of who signs out: %d %.200s", a.StatusCode, a.body)
		}
		for _, kind := range []string{"access_token", "id_token", "jwt"} {
			a := s.send("POST", "/token", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {identity},
				"subject_token_type": {"urn:ietf:params:oauth:token-type:" + kind},
			}.Encode(), basic("app", appSecret), form)
			if a.StatusCode != 400 {
				t.Errorf("exchanged as %s: %d %s", kind, a.StatusCode, a.body)
			}
		}
		for line := range strings.Lines(s.log()) { // Caddy's proxy logs the headers of requests when it debugs
			if strings.Contains(line, identity) && !strings.Contains(line, `"level":"debug"`) {
				t.Errorf("it stands in the log: %s", line)
			}
		}
	})
	t.Run("a request that is refused has none", func(t *testing.T) {
		s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"scope": nil}))).want(t, 403)
		b.none(t)
	})
	t.Run("a revoked token gets none, though one was kept for it", func(t *testing.T) {
		token := s.appToken()
		pass(token)
		s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(t, 200)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 401)
		b.none(t)
	})
	t.Run("nobody calls", func(t *testing.T) {
		if err := s.load(gateWith("identity_token X-Identity", "optional", "public /api/open/*")); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/x", "/api/open/x"} {
			s.send("GET", path, "", "x.identity: "+evil).want(t, 200)
			if got := b.one(t); len(fields(got, "X-Identity")) > 0 {
				t.Errorf("%q", got)
			}
		}
	})
}

// TestIdentityTokenOfRevokedKey: an API is given nothing that a revoked key has
// signed, though the caller's own token is of another key.
func TestIdentityTokenOfRevokedKey(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy := startToyIssuer(t)
	if err := s.load(trusting("trusted_issuer "+toy.URL, "identity_token X-Identity")); err != nil {
		t.Fatal(err)
	}
	token := toy.accessToken(t, map[string]any{"aud": s.url + "/api"})
	key := func() string {
		t.Helper()
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		return keyIDOf(t, strings.Join(fields(b.one(t), "X-Identity"), ""))
	}
	before := key()
	s.adminCall("POST", "/oauth/keys/"+before+"/revoke", struct{}{}).want(t, 200)
	if key() == before {
		t.Error("the API is told who calls by a key that was revoked")
	}
}

// TestIdentityTokenPlace: no more than so many are kept.
func TestIdentityTokenPlace(t *testing.T) {
	kept := &identityTokens{kept: make(map[[32]byte]identityToken)}
	for n := range cachedIdentityTokens + 100 {
		kept.keep([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}, identityToken{})
	}
	if len(kept.kept) != cachedIdentityTokens {
		t.Errorf("%d are kept, want %d", len(kept.kept), cachedIdentityTokens)
	}
}
