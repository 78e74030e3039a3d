package issuer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// OpenID Connect Core §2 and §3.1.3.6: what an ID token says, and how it is
// signed.
func TestIDToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice := f.person(fixtureProfile)
		v := f.signedIn(alice)
		signedIn := time.Now()
		time.Sleep(time.Hour)
		tokens := f.redeemed(v.code())
		claims := idTokenOf(t, tokens.IDToken)
		sum := sha256.Sum256([]byte(tokens.AccessToken))
		for name, want := range map[string]any{
			"iss": fixtureURL, "sub": alice.ID, "aud": "web", "nonce": "nonce-of-the-client", "acr": "1",
			"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]), "iat": float64(time.Now().Unix()),
			"exp": float64(time.Now().Add(DefaultAccessTokenLifetime).Unix()), "auth_time": float64(signedIn.Unix()),
		} {
			if claims[name] != want {
				t.Errorf("%s: %v, want %v", name, claims[name], want)
			}
		}
		if amr, ok := claims["amr"].([]any); !ok || len(amr) != 1 || amr[0] != "pwd" {
			t.Errorf("amr %v", claims["amr"])
		}
		header, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens.IDToken, ".")[0])
		must(t, err)
		var jose map[string]any
		must(t, json.Unmarshal(header, &jose))
		if jose["alg"] != "ES256" || jose["typ"] != "JWT" || jose["kid"] == "" || jose["kid"] == nil {
			t.Errorf("header %v: signed with the registered algorithm, and no at+jwt", jose)
		}
		if _, err := introspect.VerifyJWS(t.Context(), tokens.IDToken, "JWT", ringKeys{f.realm.keys}); err != nil {
			t.Error(err)
		}
		f.judge(tokens.IDToken, false, "an ID token as an access token (RFC 9068 section 4)")
		if _, ok := idTokenOf(t, f.redeemed(v.code("nonce", "")).IDToken)["nonce"]; ok {
			t.Error("a nonce that was not sent (section 3.1.3.7)")
		}
	})
}

// What each scope releases (OpenID Connect Core §5.4), in the ID token and in
// userinfo alike; and the sub of both is the same (§5.3.2: MUST).
func TestPersonalClaims(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	v := f.signedIn(alice)
	byScope := map[string][]string{
		"openid":  nil,
		"profile": {"name", "given_name", "family_name", "preferred_username", "locale", "picture", "updated_at"},
		"email":   {"email", "email_verified"},
		"phone":   {"phone_number", "phone_number_verified"},
		"address": {"address"},
	}
	for _, scope := range []string{"openid", "openid profile", "openid email", "openid phone", "openid address", "address phone email profile openid"} {
		var want []string
		for _, name := range strings.Fields(scope) {
			want = append(want, byScope[name]...)
		}
		tokens := f.redeemed(v.code("scope", scope))
		w := f.get("/userinfo", withHeader("Authorization", "Bearer "+tokens.AccessToken))
		expect(t, w, http.StatusOK, "")
		var info map[string]any
		must(t, json.Unmarshal(w.Body.Bytes(), &info))
		inToken := idTokenOf(t, tokens.IDToken)
		if info["sub"] != alice.ID || inToken["sub"] != info["sub"] {
			t.Errorf("sub %v", info["sub"])
		}
		for _, claims := range []map[string]any{info, inToken} {
			for _, names := range byScope {
				for _, name := range names {
					if _, has := claims[name]; has != slices.Contains(want, name) {
						t.Errorf("scope %q: %s is there: %v", scope, name, has)
					}
				}
			}
		}
	}
}

// sub is the person's for ever and nobody else's after them (OpenID Connect Core
// §2: never reassigned).
func TestSubjectIsNotReused(t *testing.T) {
	f := newFixture(t, withPeople)
	before := f.person(fixtureProfile)
	must(t, f.RemoveUser(t.Context(), before.ID))
	if after := f.person(fixtureProfile); after.ID == before.ID {
		t.Error("the subject of somebody who was removed is used again")
	}
}

// Userinfo is a protected resource (OpenID Connect Core §5.3; RFC 6750 §2, §3).
func TestUserinfo(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	v := f.signedIn(alice)
	good := f.redeemed(v.code())
	api := f.redeemed(v.code("scope", "read"))
	gone := f.redeemed(f.signedIn(f.person(users.User{Username: "bob"})).code())
	bob, err := f.User(t.Context(), "bob")
	must(t, err)
	f.change(bob, func(u *users.User) { u.Disabled = true })
	bearer := func(token string) fixtureRequest { return withHeader("Authorization", "Bearer "+token) }
	// RFC 6750 §3.1 challenges with 400 and 403 too, unlike the endpoints that
	// fixture.send knows.
	ask := func(body string, changes ...fixtureRequest) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/userinfo", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, change := range changes {
			change(r)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		return w
	}
	form := func(body string, changes ...fixtureRequest) int { return ask(body, changes...).Code }

	expect(t, f.get("/userinfo", bearer(good.AccessToken)), 200, "")
	if w := f.get("/userinfo", bearer(good.AccessToken)); w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Error("single-page applications may call it (§5.3)")
	}
	if got := form("", bearer(good.AccessToken)); got != 200 {
		t.Errorf("POST with the header (§5.3.1): %d", got)
	}
	if got := form("access_token=" + good.AccessToken); got != 200 {
		t.Errorf("POST with the body (RFC 6750 section 2.2): %d", got)
	}
	if got := form("access_token="+good.AccessToken, bearer(good.AccessToken)); got != 400 {
		t.Errorf("two tokens (RFC 6750 section 2: MUST NOT): %d", got)
	}
	for must, request := range map[string][]fixtureRequest{
		"no token":                    nil,
		"an ID token":                 {bearer(good.IDToken)},
		"a changed token":             {bearer(good.AccessToken + "A")},
		"a token for the API alone":   {bearer(api.AccessToken)},
		"a client's own token":        {bearer(f.issue(asSvc, ""))},
		"of somebody disabled":        {bearer(gone.AccessToken)},
		"Basic":                       {asWeb},
		"a token in the query (§5.3)": {func(r *http.Request) { r.URL.RawQuery = "access_token=" + good.AccessToken }},
	} {
		w := f.get("/userinfo", request...)
		if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %q (RFC 6750 section 3: MUST challenge)", must, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	narrow := f.redeemed(v.code("scope", "openid read offline_access"))
	without := f.refreshed(narrow.RefreshToken, "scope", "read")
	w := ask("", bearer(without.AccessToken))
	expect(t, w, http.StatusForbidden, oauth.InsufficientScope)
	if !strings.Contains(w.Header().Get("WWW-Authenticate"), `scope="openid"`) {
		t.Errorf("WWW-Authenticate %q (RFC 6750 section 3.1)", w.Header().Get("WWW-Authenticate"))
	}
}
