package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// TestProbeTokens: one token is good, each other one is bad in one way and no
// more, and all can be told from those that clients ask for.
func TestProbeTokens(t *testing.T) {
	f := newFixture(t)
	given, err := f.MintProbeTokens(t.Context(), "svc", fixtureAPI)
	if err != nil {
		t.Fatal(err)
	}
	good, err := f.Introspect(t.Context(), given.Good)
	if err != nil {
		t.Fatal("the good token:", err)
	}
	if good.Subject != "svc" || good.ClientID != "svc" || !good.HasAudience(fixtureAPI) || strings.Join(good.Scope, " ") != "read write" || len(good.Audience) != 1 {
		t.Errorf("the good token: %+v", good)
	}
	if left := time.Until(good.Expiry); left > ProbeTokenLifetime {
		t.Errorf("the good token lives for %s", left)
	}
	if given.Subject != good.Subject || given.Scope.String() != "read write" || !strings.Contains(string(given.JWKS), `"kty"`) {
		t.Errorf("what is said about the tokens: %s, %s, %s", given.Subject, given.Scope, given.JWKS)
	}
	for _, other := range []struct {
		name, token, audience string
		scope                 []string
	}{
		{"for another resource", given.OtherAudience, probeElsewhere, good.Scope},
		{"for a longer resource", given.MoreAudience, fixtureAPI + ".probe.invalid", good.Scope},
		{"without scope", given.WithoutScope, fixtureAPI, nil},
	} {
		facts, err := f.Introspect(t.Context(), other.token)
		if err != nil || len(facts.Audience) != 1 || facts.Audience[0] != other.audience || len(facts.Scope) != len(other.scope) {
			t.Errorf("%s: %v, %+v", other.name, err, facts)
		}
	}
	for _, bad := range []struct{ name, token, reason string }{
		{"expired", given.Expired, "expired"},
		{"of another type", given.OtherType, "typ"},
		{"revoked", given.Revoked, "revoked"},
	} {
		var inactive *introspect.InactiveError
		if _, err := f.Introspect(t.Context(), bad.token); !errors.As(err, &inactive) || !strings.Contains(inactive.Reason+errorText(inactive.Cause), bad.reason) {
			t.Errorf("%s: %v", bad.name, err)
		}
	}
	for _, token := range []string{given.Good, given.Expired, given.OtherAudience, given.MoreAudience, given.WithoutScope, given.OtherType, given.Revoked} {
		var claims struct {
			ID string `json:"jti"`
		}
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil || json.Unmarshal(text, &claims) != nil || !strings.HasPrefix(claims.ID, "probe-") {
			t.Errorf("jti %q, %v", claims.ID, err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestProbeTokensPersonal: scopes that are about people are in no token that a
// client has for itself.
func TestProbeTokensPersonal(t *testing.T) {
	f := newFixture(t)
	_, _, err := f.AddClient(t.Context(), clients.Metadata{
		ID: "web", GrantTypes: []string{"authorization_code"}, RedirectURIs: []string{"https://web.test/"}, Scope: oauth.Scope{"openid", "read", "email"},
	})
	if err != nil {
		t.Fatal(err)
	}
	given, err := f.MintProbeTokens(t.Context(), "web", fixtureAPI)
	if err != nil {
		t.Fatal(err)
	}
	if given.Scope.String() != "read" {
		t.Errorf("scope %q, want read", given.Scope)
	}
}

// TestProbeTokensRefused: nobody gets a token for a probe that the client could
// not have.
func TestProbeTokensRefused(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		name, client, resource string
		want                   error
	}{
		{"unknown client", "nobody", fixtureAPI, storage.ErrNotFound},
		{"disabled client", "off", fixtureAPI, ErrProbeClientDisabled},
		{"resource that is not the client's", "rs", fixtureFiles, ErrProbeResource},
		{"resource that nobody protects", "svc", "https://elsewhere.test", ErrProbeResource},
	} {
		if given, err := f.MintProbeTokens(t.Context(), test.client, test.resource); !errors.Is(err, test.want) || given != nil {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
}

// TestProbeTokensUnwritten: when the revocation could not be written there are no
// tokens, since one of them would be good for what it is not meant to be.
func TestProbeTokensUnwritten(t *testing.T) {
	f := newFixture(t)
	f.store.fail(storage.ErrUnavailable)
	defer f.store.recover()
	if given, err := f.MintProbeTokens(t.Context(), "svc", fixtureAPI); !errors.Is(err, storage.ErrUnavailable) || given != nil {
		t.Errorf("error %v", err)
	}
}
