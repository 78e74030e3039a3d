package issuer

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// What was taken back stays so when it is given again, and what is given lasts no
// longer, and covers no more, than the person who gave it was told. Each of these
// was open once.

// A code, or a device, that was agreed to before the person disconnected the client
// is not what they agree to afterwards: whoever holds it may be why they did.
func TestAgreedAgainSince(t *testing.T) {
	t.Run("code", func(t *testing.T) {
		f := newFixture(t, withPeople)
		v := f.signedIn(f.person(fixtureProfile))
		before := v.code("scope", "openid read offline_access")
		v.get("/account").press(pages.ActionDisconnect)
		after := v.code("scope", "openid read offline_access")
		expect(t, f.post("/token", redeemForm(before), asWeb), 400, oauth.InvalidGrant)
		f.redeemed(after)
		f.redeemed(v.code("scope", "openid read")) // nobody is asked
	})
	t.Run("code that nobody was asked for", func(t *testing.T) {
		f := newFixture(t, withPeople)
		v := f.signedIn(f.person(fixtureProfile))
		f.redeemed(v.code())
		before := v.code()
		v.get("/account").press(pages.ActionDisconnect)
		v.code()
		expect(t, f.post("/token", redeemForm(before), asWeb), 400, oauth.InvalidGrant)
	})
	t.Run("device", func(t *testing.T) {
		f := newFixture(t, withDevices)
		v := f.signedIn(f.person(fixtureProfile))
		before := f.device("client_id=tv&scope=openid+read")
		v.confirm(before.UserCode).press(pages.ActionAllow)
		v.get("/account").press(pages.ActionDisconnect)
		after := f.device("client_id=tv&scope=openid+read")
		v.confirm(after.UserCode).press(pages.ActionAllow)
		expect(t, f.poll(before.DeviceCode), 400, oauth.InvalidGrant)
		f.tokens(f.poll(after.DeviceCode))
	})
}

// The page about a device showed one name; meanwhile the client may have another, and
// other places where it is answered. What is agreed to is what was shown.
func TestDeviceIsToWhatWasShown(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	const grants = `"grant_types":["authorization_code","` + oauth.GrantDeviceCode + `"],"scope":"openid"`
	c := f.selfRegistered(`{"redirect_uris":["https://app.test/cb"],"client_name":"Before",` + grants + `}`)
	v := f.signedIn(f.person(users.User{Username: "alice"}))
	page := v.confirm(f.device("scope=openid", c.as()).UserCode)
	if !strings.Contains(page.Body.String(), "Before") {
		t.Fatal("the page does not show the client's name")
	}
	f.registered(f.update(c, fmt.Sprintf(`{"client_id":%q,"client_name":"After","redirect_uris":["https://evil.test/cb"],%s}`, c.ID, grants)))
	again := page.press(pages.ActionAllow).expectPage(pages.ActionAllow, "the person is asked again")
	if !strings.Contains(again.Body.String(), "After") {
		t.Error("the new question does not show what is new")
	}
	q := authorization("client_id", c.ID, "redirect_uri", "https://evil.test/cb", "scope", "openid")
	v.authorize(q).expectPage(pages.ActionAllow, "nobody has agreed to the new description")
	again.press(pages.ActionAllow).expectStatus(200, "agreed")
}

// What is agreed to is what was shown, also when the client changes itself between the
// person's answer and the transaction that writes it, which may wait for others.
func TestAgreementIsToWhatWasShownMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withRegistration(RegistrationOpen))
		c := f.selfRegistered(`{"redirect_uris":["https://app.test/cb"],"client_name":"Before","scope":"openid"}`)
		v := f.signedIn(f.person(fixtureProfile))
		q := authorization("client_id", c.ID, "scope", "openid")
		page := v.authorize(q)
		f.store.hold(2)
		answered := make(chan *shown)
		go func() { answered <- page.press(pages.ActionAllow) }()
		synctest.Wait()
		must(t, f.store.Storage.Update(t.Context(), func(tx storage.Tx) error {
			client, err := clients.Get(tx, fixtureURL, c.ID)
			if err != nil {
				return err
			}
			client.Name, client.Registration.Changed = "After", record.Now()
			return clients.Put(tx, fixtureURL, client)
		}))
		time.Sleep(2 * time.Second)
		must(t, f.store.Update(t.Context(), func(storage.Tx) error { return nil }))
		again := (<-answered).expectPage(pages.ActionAllow, "it is another question now")
		if !strings.Contains(again.Body.String(), "After") {
			t.Error("the new question does not show what is new")
		}
		v.authorize(q).expectPage(pages.ActionAllow, "nobody has agreed to the new description")
	})
}

// No token outlives the authorization that it belongs to, or there would be nothing
// left to disconnect (a device may come for its tokens minutes after the decision).
func TestTokenEndsWithItsAuthorization(t *testing.T) {
	t.Run("a device", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, withDevices)
			v := f.signedIn(f.person(fixtureProfile))
			d := f.device("client_id=tv&scope=openid+read")
			v.confirm(d.UserCode).press(pages.ActionAllow)
			time.Sleep(9 * time.Minute)
			token := f.tokens(f.poll(d.DeviceCode))
			time.Sleep(time.Duration(token.ExpiresIn)*time.Second - time.Minute)
			f.judge(token.AccessToken, true, "before its end")
			v.get("/account").press(pages.ActionDisconnect)
			f.judge(token.AccessToken, false, "after the person has disconnected the client")
		})
	})
	t.Run("a code, and a configuration with a longer life meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, withPeople)
			v := f.signedIn(f.person(fixtureProfile))
			code := v.code("scope", "openid read")
			f.config.AccessTokenLifetime = 24 * time.Hour
			f.restart()
			token := f.redeemed(code)
			time.Sleep(time.Duration(token.ExpiresIn)*time.Second - time.Minute)
			v.get("/account").press(pages.ActionDisconnect)
			f.judge(token.AccessToken, false, "after the person has disconnected the client")
		})
	})
}

// A stranger who registers a client gets no relay to anywhere by way of signing out
// either (RFC 9700 §4.11.2).
func TestNoRelayAfterLogout(t *testing.T) {
	const evil = "https://evil.test/phish"
	description := `{"redirect_uris":["https://app.test/cb"],"post_logout_redirect_uris":["` + evil + `","https://app.test/bye"]}`
	logout := func(v *visitor, id, to string) *shown {
		return v.get("/end-session?" + url.Values{"client_id": {id}, "post_logout_redirect_uri": {to}}.Encode())
	}
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(description)
	logout(f.visitor(), c.ID, evil).expectStatus(400, "nobody has agreed to the client").expectLocation("")
	v := f.signedIn(f.person(fixtureProfile))
	logout(v, c.ID, evil).expectStatus(400, "nor does it change that somebody is signed in").expectLocation("")

	f = newFixture(t, withApproval)
	c, a := f.waiting(description)
	_, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{})
	must(t, err)
	logout(f.visitor(), c.ID, evil).expectStatus(400, "no operator has seen it").expectLocation("")
	logout(f.visitor(), c.ID, "https://app.test/bye").expectStatus(303, "where the operator sends people already").expectLocation("https://app.test/bye")
}

// A sign-in is no answer to a request that it came before, though the clock of the
// node where it was is ahead of this one's.
func TestSignInByAnotherClock(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	v.code()
	key, _ := record.HandleKey(fixtureURL, v.cookies["__Host-oauth_session"])
	must(t, f.store.Update(t.Context(), func(tx storage.Tx) error {
		s, err := f.realm.people.LoadSession(tx, key)
		if err != nil {
			return err
		}
		s.AuthTime = s.AuthTime.Add(30 * time.Second)
		return record.Put(tx, "session", key, s, s.Expiry)
	}))
	for _, asked := range []string{"prompt=login", "max_age=0"} {
		name, value, _ := strings.Cut(asked, "=")
		if p := v.authorize(authorization(name, value)); p.Header().Get("Location") != "" {
			t.Errorf("%s: answered without a sign-in", asked)
		}
	}
}

// Whoever is signed in by a way that the configuration does not have any more is
// signed in no more, and what they granted is good for nothing new.
func TestLoginTakenBack(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.personWithPassword(users.User{Username: "alice"}, alicePassword))
	code, tokens := v.code(), v.offline()
	f.config.LocalLogin = false
	f.config.CaddyUser = func(*http.Request) string { return "" }
	f.restart()
	if v.get("/account").has(pages.ActionLogout) {
		t.Error("the session goes on")
	}
	expect(t, f.post("/token", redeemForm(code), asWeb), 400, oauth.InvalidGrant)
	expect(t, f.post("/token", refreshForm(tokens.RefreshToken), asWeb), 400, oauth.InvalidGrant)
}

// What still has tokens stands in the account, where it can be disconnected.
func TestConnectionOutlivesItsConsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople, func(c *Config) { c.SessionLifetime = 400 * 24 * time.Hour })
		v := f.signedIn(f.person(fixtureProfile))
		v.offline()
		time.Sleep(360 * 24 * time.Hour)
		late := v.offline()
		time.Sleep(8 * 24 * time.Hour)
		late = f.refreshed(late.RefreshToken)
		v.get("/account").press(pages.ActionDisconnect)
		expect(t, f.post("/token", refreshForm(late.RefreshToken), asWeb), 400, oauth.InvalidGrant)
		f.judge(late.AccessToken, false, "after the person has disconnected the client")
	})
}
