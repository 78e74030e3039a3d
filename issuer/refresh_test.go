package issuer

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// refuseRefresh fails unless the refresh token is refused.
func (f *fixture) refuseRefresh(token string, what string) {
	f.t.Helper()
	w := f.post("/token", refreshForm(token), asWeb)
	if got := errorOf(f.t, w); w.Code != http.StatusBadRequest || got != oauth.InvalidGrant {
		f.t.Errorf("%s: %d %q, want invalid_grant", what, w.Code, got)
	}
}

// Who gets a refresh token (OpenID Connect Core §11; RFC 6749 §1.5).
func TestRefreshTokenGiven(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	if f.redeemed(v.code()).RefreshToken != "" {
		t.Error("a refresh token without offline_access")
	}
	if f.redeemed(v.code("scope", "openid offline_access")).RefreshToken == "" {
		t.Error("no refresh token with offline_access")
	}
	always := v.code("client_id", "always", "redirect_uri", "https://always.test/cb", "scope", "read")
	if f.tokens(f.post("/token", redeemForm(always, "redirect_uri", "https://always.test/cb"), asAlways)).RefreshToken == "" {
		t.Error("no refresh token for a client that always gets one")
	}
	f.reconfigure(func(c *clients.Client) { c.GrantTypes = []string{"authorization_code"} })
	tokens := f.redeemed(v.code("scope", "openid offline_access"))
	if tokens.RefreshToken != "" || tokens.Scope != "openid" {
		t.Errorf("a client without the grant: refresh token %v, scope %q", tokens.RefreshToken != "", tokens.Scope)
	}
	svc := f.post("/token", ccGrant+"&scope=offline_access", asSvc)
	expect(t, svc, http.StatusBadRequest, oauth.InvalidScope) // RFC 6749 section 4.4.3: no refresh token for a client itself
}

// Rotation (RFC 9700 §4.14.2): each is used once; a lost answer may be asked for
// again within the grace and gets the same successor.
func TestRefreshTokenRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		first := f.signedIn(f.person(fixtureProfile)).offline()
		second := f.refreshed(first.RefreshToken)
		if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
			t.Fatal("no rotation")
		}
		time.Sleep(DefaultRefreshTokenGrace - time.Second)
		if again := f.refreshed(first.RefreshToken); again.RefreshToken != second.RefreshToken {
			t.Error("within the grace: another successor")
		}
		f.restart()
		if again := f.refreshed(first.RefreshToken); again.RefreshToken != second.RefreshToken {
			t.Error("within the grace, after a restart: another successor")
		}
		third := f.refreshed(second.RefreshToken)
		f.judge(first.AccessToken, true, "access tokens outlive a rotation")
		f.judge(third.AccessToken, true, "the newest access token")
	})
}

// Reuse ends the family with its access tokens (RFC 9700 §4.14.2: MUST detect).
func TestRefreshTokenReuse(t *testing.T) {
	for name, reuse := range map[string]func(f *fixture, r [3]fixtureTokens){
		"after the grace": func(f *fixture, r [3]fixtureTokens) {
			time.Sleep(DefaultRefreshTokenGrace)
			f.refuseRefresh(r[1].RefreshToken, "reuse")
		},
		"within the grace, when the successor was used": func(f *fixture, r [3]fixtureTokens) { f.refuseRefresh(r[0].RefreshToken, "reuse") },
		"after a restart": func(f *fixture, r [3]fixtureTokens) {
			f.restart()
			f.refuseRefresh(r[0].RefreshToken, "reuse")
		},
		"long after": func(f *fixture, r [3]fixtureTokens) {
			time.Sleep(50 * time.Minute)
			f.refuseRefresh(r[0].RefreshToken, "reuse")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observer := new(fixtureObserver)
				f := newFixture(t, withPeople, withObserver(observer))
				v := f.signedIn(f.person(fixtureProfile))
				other := v.offline()
				r := [3]fixtureTokens{v.offline()}
				r[1] = f.refreshed(r[0].RefreshToken)
				r[2] = f.refreshed(r[1].RefreshToken)
				reuse(f, r)
				for _, tokens := range r {
					f.judge(tokens.AccessToken, false, "an access token of the family")
				}
				f.refuseRefresh(r[2].RefreshToken, "the newest of the family")
				f.restart()
				f.judge(r[2].AccessToken, false, "after a restart")
				f.judge(other.AccessToken, true, "another family")
				f.refreshed(other.RefreshToken)
				if n := len(f.log.event("refresh_token_replayed")); n != 1 {
					t.Errorf("%d events refresh_token_replayed, want 1", n)
				}
				if told := observer.take(); !slices.ContainsFunc(told, func(line string) bool { return strings.HasPrefix(line, "reused ") }) {
					t.Errorf("nobody was told of the reuse: %q", told)
				}
			})
		})
	}
}

// Without a grace, the first repetition is a reuse.
func TestRefreshTokenWithoutGrace(t *testing.T) {
	f := newFixture(t, withPeople, func(c *Config) { c.RefreshTokenGrace = -1 })
	first := f.signedIn(f.person(fixtureProfile)).offline()
	second := f.refreshed(first.RefreshToken)
	f.refuseRefresh(first.RefreshToken, "no grace")
	f.judge(second.AccessToken, false, "the family")
}

// Idle and absolute lifetime (RFC 9700 §4.14.2: refresh tokens SHOULD expire).
func TestRefreshTokenLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		v := f.signedIn(f.person(fixtureProfile))
		idle := v.offline()
		kept := f.tokens(f.post("/token", redeemForm(v.code("scope", "openid offline_access")), asWeb))
		begun := time.Now()
		time.Sleep(DefaultRefreshTokenIdleLifetime - time.Minute)
		kept = f.refreshed(kept.RefreshToken)
		time.Sleep(2 * time.Minute)
		f.refuseRefresh(idle.RefreshToken, "unused for the idle lifetime")
		for time.Since(begun) < DefaultRefreshTokenLifetime-13*24*time.Hour {
			time.Sleep(12 * 24 * time.Hour)
			kept = f.refreshed(kept.RefreshToken)
		}
		time.Sleep(DefaultRefreshTokenLifetime - time.Since(begun) - time.Minute)
		kept = f.refreshed(kept.RefreshToken)
		if kept.ExpiresIn > 180 {
			t.Errorf("an access token for %d s outlives its authorization", kept.ExpiresIn)
		}
		time.Sleep(3 * time.Minute)
		f.refuseRefresh(kept.RefreshToken, "older than the absolute lifetime")
		f.judge(kept.AccessToken, false, "its access token")
	})
}

// A refresh may ask for less and never for more (RFC 6749 §6: MUST NOT include
// any scope not originally granted; RFC 8707 §2.2).
func TestRefreshTokenScopeAndResource(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	tokens := v.offline()
	narrow := f.refreshed(tokens.RefreshToken, "scope", "read")
	if narrow.Scope != "read" || oauth.Scope(f.facts(narrow.AccessToken).Scope).String() != "read" || narrow.IDToken != "" {
		t.Errorf("scope %q, id_token %v", narrow.Scope, narrow.IDToken != "")
	}
	whole := f.refreshed(narrow.RefreshToken)
	if whole.Scope != "openid read write offline_access" {
		t.Errorf("scope %q: narrowing one token does not narrow the grant", whole.Scope)
	}
	current := whole.RefreshToken
	for _, test := range []struct {
		name, value string
		want        oauth.ErrorCode
	}{
		{"scope", "admin", oauth.InvalidScope},
		{"scope", "read profile", oauth.InvalidScope},
		{"scope", `a"b`, oauth.InvalidScope},
		{"resource", fixtureFiles, oauth.InvalidTarget},
		{"resource", "https://other.test", oauth.InvalidTarget},
	} {
		if got := errorOf(t, f.post("/token", refreshForm(current, test.name, test.value), asWeb)); got != test.want {
			t.Errorf("%s=%s: error %q, want %q", test.name, test.value, got, test.want)
		}
	}
	one := f.refreshed(current, "resource", fixtureAPI) // the refusals have not spent it
	if got := f.facts(one.AccessToken).Audience; !slices.Equal(got, []string{fixtureAPI}) {
		t.Errorf("audience %v", got)
	}
	f.reconfigure(func(c *clients.Client) {
		c.Scope = slices.DeleteFunc(slices.Clone(c.Scope), func(s string) bool { return s == "write" })
	})
	if lost := f.refreshed(one.RefreshToken); lost.Scope != "openid read offline_access" {
		t.Errorf("scope %q: what the client has lost is not given", lost.Scope)
	}
}

// A resource that was taken from the client is not given any more.
func TestRefreshTokenWithoutItsResource(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	withOpenID := v.offline()
	without := f.redeemed(v.code("scope", "read offline_access"))
	f.reconfigure(func(c *clients.Client) { c.Resources = []string{fixtureFiles} })
	expect(t, f.post("/token", refreshForm(without.RefreshToken), asWeb), http.StatusBadRequest, oauth.InvalidTarget)
	if got := f.facts(f.refreshed(withOpenID.RefreshToken).AccessToken).Audience; !slices.Equal(got, []string{fixtureURL}) {
		t.Errorf("audience %v: want userinfo alone", got)
	}
}

// Refresh tokens are bound to the client (RFC 6749 §6: MUST), and what is not
// one ends nothing: a guess must not sign people out.
func TestRefreshTokenIsBound(t *testing.T) {
	f := newFixture(t, withPeople)
	tokens := f.signedIn(f.person(fixtureProfile)).offline()
	form := refreshForm(tokens.RefreshToken)
	for _, test := range []struct {
		must, form string
		as         fixtureRequest
		want       oauth.ErrorCode
	}{
		{"MUST be the client's own", form, asWeb2, oauth.InvalidGrant},
		{"MUST be the client's own, a public one", form + "&client_id=spa", func(*http.Request) {}, oauth.InvalidGrant},
		{"a confidential client MUST authenticate", form + "&client_id=web", func(*http.Request) {}, oauth.InvalidClient},
		{"with the right secret", form, withBasic("web", "canary"), oauth.InvalidClient},
		{"refresh_token is required", "grant_type=refresh_token", asWeb, oauth.InvalidRequest},
		{"refresh_token once", form + "&refresh_token=x", asWeb, oauth.InvalidRequest},
		{"a client without the grant", form, asSvc, oauth.UnauthorizedClient},
	} {
		if got := errorOf(t, f.post("/token", test.form, test.as)); got != test.want {
			t.Errorf("%s: error %q, want %q", test.must, got, test.want)
		}
	}
	for name, mutated := range mutations(tokens.RefreshToken) {
		if mutated != tokens.RefreshToken {
			f.refuseRefresh(mutated, name)
		}
	}
	f.judge(tokens.AccessToken, true, "the family after all those refusals")
	next := f.refreshed(tokens.RefreshToken)
	expect(t, f.post("/token", form, asWeb2), http.StatusBadRequest, oauth.InvalidGrant) // a used one, in a stranger's hands
	f.judge(next.AccessToken, true, "a stranger's reuse ends nothing")
}

// What has changed since ends the chain.
func TestRefreshTokenAfterAChange(t *testing.T) {
	for _, test := range []struct {
		must   string
		change func(*fixture, *users.User)
	}{
		{"the person was removed", func(f *fixture, u *users.User) { must(f.t, f.RemoveUser(f.t.Context(), u.ID)) }},
		{"the person was disabled", func(f *fixture, u *users.User) { f.change(u, func(u *users.User) { u.Disabled = true }) }},
		{"the password was changed", func(f *fixture, u *users.User) { must(f.t, f.SetPassword(f.t.Context(), u.ID, bobPassword)) }},
		{"the application was disconnected", func(f *fixture, u *users.User) { must(f.t, f.Disconnect(f.t.Context(), u.ID, "web")) }},
		{"an operator ended the authorization", func(f *fixture, u *users.User) {
			all, err := f.Authorizations(f.t.Context(), u.ID)
			must(f.t, err)
			for _, a := range all {
				must(f.t, f.RevokeAuthorization(f.t.Context(), a.ID))
			}
		}},
		{"the client may not have offline_access any more", func(f *fixture, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.Scope = oauth.Scope{"openid", "read", "write"} })
		}},
		{"the client lost the grant", func(f *fixture, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.GrantTypes = []string{"authorization_code"} })
		}},
		{"the client was disabled", func(f *fixture, _ *users.User) { f.reconfigure(func(c *clients.Client) { c.Disabled = true }) }},
		{"the client was made anew", func(f *fixture, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.Created = time.Now().Add(time.Second) })
		}},
		{"the secret was changed", func(f *fixture, _ *users.User) {
			f.reconfigure(func(c *clients.Client) { c.Secrets = []clients.Secret{{Hash: clients.HashSecret("canary-new")}} })
		}},
	} {
		for _, when := range []string{"unused", "within the grace"} {
			t.Run(test.must+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFixture(t, withPeople)
					alice := f.person(fixtureProfile)
					tokens := f.signedIn(alice).offline()
					if when != "unused" {
						f.refreshed(tokens.RefreshToken)
					}
					test.change(f, alice)
					w := f.post("/token", refreshForm(tokens.RefreshToken), asWeb)
					if w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized {
						t.Errorf("status %d: %s, and the refresh token is good", w.Code, test.must)
					}
				})
			})
		}
	}
}

// An ID token that is refreshed speaks of the same sign-in (OpenID Connect Core
// §12.2): same iss, sub, aud and auth_time, no nonce, new iat and at_hash.
func TestRefreshedIDToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		first := f.signedIn(f.person(fixtureProfile)).offline()
		time.Sleep(time.Hour)
		second := f.refreshed(first.RefreshToken)
		before, after := idTokenOf(t, first.IDToken), idTokenOf(t, second.IDToken)
		for _, same := range []string{"iss", "sub", "aud", "auth_time", "acr"} {
			if before[same] != after[same] || after[same] == nil {
				t.Errorf("%s: %v, then %v", same, before[same], after[same])
			}
		}
		if _, ok := after["nonce"]; ok || before["nonce"] != "nonce-of-the-client" {
			t.Errorf("nonce %v, then %v", before["nonce"], after["nonce"])
		}
		if after["iat"].(float64)-before["iat"].(float64) != 3600 || after["at_hash"] == before["at_hash"] {
			t.Errorf("before %v, after %v", before, after)
		}
	})
}

// Fifty tabs refresh at once: all get the one successor (they are within the
// grace), and the chain has one living end.
func TestRefreshTokenRace(t *testing.T) {
	f := newFixture(t, withPeople)
	tokens := f.signedIn(f.person(fixtureProfile)).offline()
	for range 3 {
		successors := make(map[string]bool)
		for _, w := range f.together(50, func(int) *httptest.ResponseRecorder { return f.post("/token", refreshForm(tokens.RefreshToken), asWeb) }) {
			successors[f.tokens(w).RefreshToken] = true
		}
		if len(successors) != 1 {
			t.Fatalf("%d successors, want 1", len(successors))
		}
		for successor := range successors {
			tokens.RefreshToken = successor
		}
	}
}

// Without a grace, one of fifty wins and the reuse ends it.
func TestRefreshTokenRaceWithoutGrace(t *testing.T) {
	f := newFixture(t, withPeople, func(c *Config) { c.RefreshTokenGrace = -1 })
	tokens := f.signedIn(f.person(fixtureProfile)).offline()
	won := 0
	for _, w := range f.together(50, func(int) *httptest.ResponseRecorder { return f.post("/token", refreshForm(tokens.RefreshToken), asWeb) }) {
		if w.Code == http.StatusOK {
			won++
			f.judge(f.tokens(w).AccessToken, false, "a token of a family that was replayed")
		}
	}
	if won != 1 {
		t.Errorf("%d of 50 won, want 1", won)
	}
}

// To revoke a refresh token ends its chain and its access tokens (RFC 7009 §2.1),
// and only its client can (MUST verify).
func TestRevokeRefreshToken(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for name, pick := range map[string]func(first, second fixtureTokens) string{
		"the newest": func(_, second fixtureTokens) string { return second.RefreshToken },
		"a used one": func(first, _ fixtureTokens) string { return first.RefreshToken },
	} {
		first := v.offline()
		second := f.refreshed(first.RefreshToken)
		token := pick(first, second)
		expect(t, f.post("/revoke", "token="+token, asWeb2), http.StatusOK, "")
		f.judge(second.AccessToken, true, name+": another client revokes nothing")
		expect(t, f.post("/revoke", "token="+token+"A", asWeb), http.StatusOK, "")
		f.judge(second.AccessToken, true, name+": a guess revokes nothing")
		expect(t, f.post("/revoke", "token="+token+"&token_type_hint=access_token", asWeb), http.StatusOK, "")
		f.judge(first.AccessToken, false, name+": first access token")
		f.judge(second.AccessToken, false, name+": second access token")
		f.refuseRefresh(second.RefreshToken, name)
		f.restart()
		f.judge(second.AccessToken, false, name+": after a restart")
	}
}

// Refresh against revoke: once the revocation is answered, nothing of the family
// is alive (RFC 7009 §2.1: takes place immediately).
func TestRefreshAgainstRevoke(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for range 40 {
		first := v.offline()
		var refreshed *httptest.ResponseRecorder
		f.store.hold(2)
		var wg sync.WaitGroup
		wg.Go(func() { refreshed = f.post("/token", refreshForm(first.RefreshToken), asWeb) })
		wg.Go(func() { expect(t, f.post("/revoke", "token="+first.RefreshToken, asWeb), http.StatusOK, "") })
		wg.Wait()
		f.judge(first.AccessToken, false, "the first access token")
		f.refuseRefresh(first.RefreshToken, "the first")
		if refreshed.Code == http.StatusOK {
			second := f.tokens(refreshed)
			f.judge(second.AccessToken, false, "the second access token")
			f.refuseRefresh(second.RefreshToken, "the second")
		}
	}
}
