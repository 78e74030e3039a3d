package issuer

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// storageFailures are the ways in which a storage cannot tell.
var storageFailures = []error{
	storage.ErrUnavailable, storage.ErrBusy, fmt.Errorf("%w: record", storage.ErrDamaged),
}

const inactive = `{"active":false}`

// TestIntrospection: RFC 7662 §2.2. Whatever is not active, or not the caller's
// business, has the same answer: active false, nothing else.
func TestIntrospection(t *testing.T) {
	f := newFixture(t)
	own := f.issue(asSvc, "scope=read")
	files := f.issue(asSvc, "resource="+url.QueryEscape(fixtureFiles))
	revoked := f.issue(asSvc, "")
	expect(t, f.post("/revoke", "token="+revoked, asSvc), 200, "")
	foreign := newFixture(t, func(c *Config) { c.URL = "https://elsewhere.test" }).issue(asSvc, "")
	sameName := newFixture(t).issue(asSvc, "") // same issuer, keys of another storage
	unsigned := "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + strings.Split(own, ".")[1] + "."

	tests := []struct {
		name, token string
		as          fixtureRequest
		active      bool
	}{
		{"its own", own, asSvc, true},
		{"the resource server's", own, asRS, true},
		{"for another resource", files, asRS, false},
		{"of another client", own, asOther, false},
		{"revoked", revoked, asSvc, false},
		{"revoked, to the resource server", revoked, asRS, false},
		{"garbage", "canary", asSvc, false},
		{"control characters", "%00%0a%ff", asSvc, false},
		{"60 KB", strings.Repeat("a", 60_000), asSvc, false},
		{"cut off by a character", own[:len(own)-1], asSvc, false},
		{"a character more", own + "A", asSvc, false},
		{"with a space", own + "%20", asSvc, false},
		{"of another issuer", foreign, asSvc, false},
		{"signed with an unknown key", sameName, asSvc, false},
		{"alg none", unsigned, asSvc, false},
	}
	for _, test := range tests {
		for _, hint := range []string{"", "&token_type_hint=access_token", "&token_type_hint=refresh_token", "&token_type_hint=unknown"} {
			t.Run(test.name+hint, func(t *testing.T) {
				w := f.post("/introspect", "token="+test.token+hint, test.as)
				expect(t, w, 200, "")
				checkNotStored(t, w)
				if got := w.Body.String(); (got != inactive) != test.active {
					t.Errorf("answer %s, want active %v", got, test.active)
				}
			})
		}
	}

	t.Run("members", func(t *testing.T) {
		w := f.post("/introspect", "token="+own, asRS)
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		_, want := decodeToken(t, own)
		want["active"], want["token_type"] = true, "Bearer"
		if fmt.Sprint(answer) != fmt.Sprint(want) {
			t.Errorf("answer %v, want exactly %v", answer, want)
		}
	})

	for _, refusal := range []struct {
		name, body string
		changes    []fixtureRequest
		status     int
		code       oauth.ErrorCode
	}{
		{"§2.1 not authenticated", "token=" + own, nil, 401, oauth.InvalidClient},
		{"§2.1 a public client", "client_id=spa&token=" + own, nil, 401, oauth.InvalidClient},
		{"§2.1 the token as credentials", "token=" + own, []fixtureRequest{withHeader("Authorization", "Bearer "+own)}, 401, oauth.InvalidClient},
		{"§2.1 no token", "", []fixtureRequest{asSvc}, 400, oauth.InvalidRequest},
		{"§2.1 an empty token", "token=", []fixtureRequest{asSvc}, 400, oauth.InvalidRequest},
		{"two tokens", "token=a&token=" + own, []fixtureRequest{asSvc}, 400, oauth.InvalidRequest},
	} {
		t.Run(refusal.name, func(t *testing.T) {
			expect(t, f.post("/introspect", refusal.body, refusal.changes...), refusal.status, refusal.code)
		})
	}
	t.Run("§2.1 a token in the query", func(t *testing.T) {
		expect(t, f.post("/introspect?token="+own, "", asSvc), 400, oauth.InvalidRequest)
		expect(t, f.get("/introspect?token="+own, asSvc), 405, oauth.InvalidRequest)
	})
}

// RFC 7519 §4.1.4: on exp it is over, also for a token that is remembered.
func TestIntrospectionOfExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.AccessTokenLifetime = time.Minute })
		token := f.issue(asSvc, "")
		time.Sleep(time.Minute - 1)
		if w := f.post("/introspect", "token="+token, asSvc); w.Body.String() == inactive {
			t.Error("inactive before exp")
		}
		time.Sleep(1)
		if w := f.post("/introspect", "token="+token, asSvc); w.Body.String() != inactive {
			t.Errorf("at exp: %s", w.Body)
		}
		f.judge(token, false, "at exp")
	})
}

// A rotation ends no token before its time (OpenID Connect Core §10.1.1).
func TestIntrospectionAcrossRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		if err := f.RotateKeys(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*jwksMaxAge - 1)
		last := f.issue(asSvc, "") // the last that the first key signs
		time.Sleep(1)
		next := f.issue(asSvc, "")
		a, _ := decodeToken(t, last)
		b, _ := decodeToken(t, next)
		if a["kid"] == b["kid"] {
			t.Fatal("the key did not change")
		}
		time.Sleep(DefaultAccessTokenLifetime - 2*time.Second)
		if err := f.state.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.judge(last, true, "a token of the key before, while it lasts")
		f.restart()
		f.judge(last, true, "the same after a restart")
		f.judge(next, true, "a token of the new key")
		time.Sleep(2 * time.Minute)
		if err := f.state.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(f.Keys()) != 1 {
			t.Errorf("keys %+v", f.Keys())
		}
	})
}
