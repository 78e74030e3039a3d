package issuer

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

const shopCallback = "https://shop.test/cb"

// shop registers a client at run time that can get tokens in every way.
func (f *fixture) shop() (id string, as fixtureRequest) {
	f.t.Helper()
	client, secret, err := f.AddClient(f.t.Context(), clients.Metadata{
		ID: "shop", Name: "Shop", RedirectURIs: []string{shopCallback},
		GrantTypes: []string{oauth.GrantClientCredentials, oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantDeviceCode},
		Scope:      oauth.Scope{"openid", "offline_access", "read", "write"},
	})
	must(f.t, err)
	return client.ID, withBasic(client.ID, secret)
}

func (v *visitor) shopCode() string {
	return v.code("client_id", "shop", "redirect_uri", shopCallback, "scope", "openid read offline_access")
}

func redeemShop(code string) string { return redeemForm(code, "redirect_uri", shopCallback) }

// A disabled client has nothing and gets nothing, in no way; enabled again it has
// what it asks for anew, and nothing of before.
func TestDisableClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		id, as := f.shop()
		v := f.signedIn(f.person(fixtureProfile))
		own := f.issue(as, "scope=read")
		before := f.tokens(f.post("/token", redeemShop(v.shopCode()), as))
		code := v.shopCode()
		begun := f.device("scope=openid+offline_access+read", as)
		v.confirm(begun.UserCode).press(pages.ActionAllow)
		other := f.issue(asSvc, "scope=read")

		time.Sleep(10 * time.Second)
		client, err := f.DisableClient(t.Context(), id)
		must(t, err)
		if !client.Disabled || len(client.Secrets) != 1 {
			t.Errorf("%+v: its registration stays", client)
		}
		refused := func(when string) {
			t.Helper()
			f.judge(own, false, "its own token, "+when)
			f.judge(before.AccessToken, false, "a person's token, "+when)
		}
		refused("disabled")
		f.judge(other, true, "another client's token")
		for what, body := range map[string]string{
			"client credentials": ccGrant, "code": redeemShop(code), "refresh token": refreshForm(before.RefreshToken),
		} {
			if w := f.post("/token", body, as); w.Code != 401 {
				t.Errorf("disabled, %s: %d %s", what, w.Code, w.Body)
			}
		}
		expect(t, f.poll(begun.DeviceCode, as), 401, oauth.InvalidClient)
		expect(t, f.post("/device-authorization", "scope=read", as), 401, oauth.InvalidClient)
		expect(t, f.post("/introspect", "token="+own, as), 401, oauth.InvalidClient)
		v.authorize(authorization("client_id", id, "redirect_uri", shopCallback)).expectStatus(400, "no code for a disabled client")
		if all, err := f.Authorizations(t.Context(), ""); err != nil || len(all) != 0 {
			t.Errorf("%d authorizations are left, %v", len(all), err)
		}

		f.restart()
		refused("after a restart")
		time.Sleep(10 * time.Second)
		client, err = f.EnableClient(t.Context(), id)
		must(t, err)
		if client.Disabled {
			t.Error("it is disabled")
		}
		refused("enabled again")
		expect(t, f.post("/token", redeemShop(code), as), 400, oauth.InvalidGrant)
		expect(t, f.post("/token", refreshForm(before.RefreshToken), as), 400, oauth.InvalidGrant)
		expect(t, f.poll(begun.DeviceCode, as), 400, oauth.InvalidGrant)

		f.judge(f.issue(as, "scope=read"), true, "a token after it was enabled")
		after := f.tokens(f.post("/token", redeemShop(v.shopCode()), as))
		f.judge(after.AccessToken, true, "a person's token after it was enabled")
		f.tokens(f.post("/token", refreshForm(after.RefreshToken), as))
	})
}

// What an operator cannot switch.
func TestDisableClientRefused(t *testing.T) {
	f := newFixture(t, withApproval)
	waiting, _ := f.waiting(`{"redirect_uris":["https://app.test/cb"],"client_name":"Self"}`)
	for _, test := range []struct {
		must, id string
		want     error
	}{
		{"the configuration decides about its clients", "svc", clients.ErrDeclared},
		{"approval is the way for a client that waits", waiting.ID, clients.ErrWaiting},
		{"unknown", "nobody", storage.ErrNotFound},
		{"no id", "a b", storage.ErrNotFound},
	} {
		if client, err := f.DisableClient(t.Context(), test.id); !errors.Is(err, test.want) || client != nil {
			t.Errorf("%s: DisableClient = %v, %v", test.must, client, err)
		}
		if client, err := f.EnableClient(t.Context(), test.id); !errors.Is(err, test.want) || client != nil {
			t.Errorf("%s: EnableClient = %v, %v", test.must, client, err)
		}
	}
	if f.authenticates(waiting) {
		t.Error("a client that waits for approval was enabled")
	}
	f.issue(asSvc, "scope=read")
	if n := len(f.log.event("client_disabled")) + len(f.log.event("client_enabled")); n != 0 {
		t.Errorf("%d lines about what was not done", n)
	}
}

// Whatever is on its way while a client is disabled ends with the rest: a request
// that was let in before, and is answered a second later than that.
func TestDisableClientRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		during := f.delayed()
		id, as := f.shop()
		v := f.signedIn(f.person(fixtureProfile))
		enable := func() {
			t.Helper()
			_, err := f.EnableClient(t.Context(), id)
			must(t, err)
			time.Sleep(2 * time.Second)
		}
		disable := func() { must2nd(f.DisableClient(t.Context(), id))(t) }

		t.Log("a token is issued before the transaction that disables")
		var late string
		during(func() { late = f.issue(as, "scope=read") })
		disable()
		f.judge(late, false, "made while its client was being disabled")
		enable()

		t.Log("a code is redeemed by a request that proved its client before")
		code := v.shopCode()
		during(disable)
		expect(t, f.post("/token", redeemShop(code), as), 400, oauth.InvalidGrant)
		enable()

		t.Log("a code is redeemed before the transaction that disables")
		code = v.shopCode()
		var tokens fixtureTokens
		during(func() { tokens = f.tokens(f.post("/token", redeemShop(code), as)) })
		disable()
		f.judge(tokens.AccessToken, false, "redeemed while its client was being disabled")
		enable()
		expect(t, f.post("/token", refreshForm(tokens.RefreshToken), as), 400, oauth.InvalidGrant)

		t.Log("a refresh by a request that proved its client before")
		tokens = f.tokens(f.post("/token", redeemShop(v.shopCode()), as))
		during(disable)
		expect(t, f.post("/token", refreshForm(tokens.RefreshToken), as), 400, oauth.InvalidGrant)
		enable()

		t.Log("a code is redeemed by a request that proved its client before it was disabled and enabled")
		code = v.shopCode()
		during(func() { disable(); time.Sleep(time.Second); enable() })
		expect(t, f.post("/token", redeemShop(code), as), 400, oauth.InvalidGrant)

		t.Log("and before it was removed")
		code = v.shopCode()
		during(func() { must(t, f.RemoveClient(t.Context(), id)) })
		expect(t, f.post("/token", redeemShop(code), as), 400, oauth.InvalidGrant)
	})
}

// must2nd fails the test unless there is no error; what came with it is not looked at.
func must2nd[T any](_ T, err error) func(testing.TB) {
	return func(t testing.TB) { t.Helper(); must(t, err) }
}

// A disabled person is nobody: not in a browser, not by a refresh token, and not by
// the right password.
func TestDisableUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice := f.personWithPassword(users.User{Username: "alice"}, alicePassword)
		bob := f.signedIn(f.person(users.User{Username: "bob"})).offline()
		v := f.signedIn(alice)
		before, code := v.offline(), v.code("scope", "openid read offline_access")

		time.Sleep(10 * time.Second)
		user, err := f.DisableUser(t.Context(), alice.ID)
		must(t, err)
		if !user.Disabled || user.ID != alice.ID {
			t.Errorf("%+v", user)
		}
		gone := func(when string) {
			t.Helper()
			f.judge(before.AccessToken, false, "an access token, "+when)
			f.refuseRefresh(before.RefreshToken, "a refresh token, "+when)
			expect(t, f.post("/token", redeemForm(code), asWeb), 400, oauth.InvalidGrant)
			v.authorize(authorization()).expectPage(pages.ActionLogin, "the session has ended, "+when)
		}
		gone("disabled")
		login := f.visitor().authorize(authorization())
		login.press(pages.ActionLogin, "username", "alice", "password", alicePassword).expectPage(pages.ActionLogin, "the right password opens nothing")
		must(t, f.SetPassword(t.Context(), alice.ID, newPassword))
		login.press(pages.ActionLogin, "username", "alice", "password", newPassword).expectPage(pages.ActionLogin, "neither does a new one")
		f.judge(bob.AccessToken, true, "another person's token")

		time.Sleep(10 * time.Second)
		user, err = f.EnableUser(t.Context(), alice.ID)
		must(t, err)
		if user.Disabled {
			t.Error("she is disabled")
		}
		gone("enabled again")
		f.judge(f.signedIn(user).offline().AccessToken, true, "a token after she was enabled")

		for _, change := range []func() (*users.User, error){
			func() (*users.User, error) { return f.DisableUser(t.Context(), "u:nobody") },
			func() (*users.User, error) { return f.EnableUser(t.Context(), "u:nobody") },
		} {
			if user, err := change(); !errors.Is(err, storage.ErrNotFound) || user != nil {
				t.Errorf("a person who is not there: %v, %v", user, err)
			}
		}
	})
}

// Whatever is on its way while a person is disabled ends with the rest.
func TestDisableUserRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		during := f.delayed()
		alice := f.person(users.User{Username: "alice"})
		disable := func() { must2nd(f.DisableUser(t.Context(), alice.ID))(t) }
		var v *visitor
		enable := func() {
			t.Helper()
			user, err := f.EnableUser(t.Context(), alice.ID)
			must(t, err)
			time.Sleep(2 * time.Second)
			v = f.signedIn(user)
		}
		enable()

		t.Log("a refresh before the transaction that disables")
		tokens := v.offline()
		var late fixtureTokens
		during(func() { late = f.refreshed(tokens.RefreshToken) })
		disable()
		f.judge(late.AccessToken, false, "refreshed while she was being disabled")
		enable()
		f.refuseRefresh(late.RefreshToken, "refreshed while she was being disabled")

		t.Log("a refresh by a request that came before")
		tokens = v.offline()
		during(disable)
		f.refuseRefresh(tokens.RefreshToken, "disabled meanwhile")
		enable()

		t.Log("a code that is redeemed by a request that came before")
		code := v.code("scope", "openid read offline_access")
		during(disable)
		expect(t, f.post("/token", redeemForm(code), asWeb), 400, oauth.InvalidGrant)
		enable()

		t.Log("a question that is answered by a request that came before")
		q := authorization("client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1")
		page := v.authorize(q)
		during(disable)
		if to := page.press(pages.ActionAllow).Header().Get("Location"); strings.Contains(to, "code=") {
			t.Errorf("a disabled person has a code: %s", to)
		}
	})
}
