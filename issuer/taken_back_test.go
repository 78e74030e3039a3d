package issuer

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// What a person or an operator takes back stays taken back, whatever is on its
// way at that moment. Each of these was open once.

const newPassword = "canary staple of the new one"

// A code and an approved device are granted, but no authorization stands in the
// account yet that disconnecting or signing out could end.
func TestTakenBackBeforeItIsRedeemed(t *testing.T) {
	takeBack := map[string]func(f *fixture, v *visitor, client string){
		"disconnected": func(_ *fixture, v *visitor, _ string) { v.get("/account").press(pages.ActionDisconnect) },
		"signed out":   func(_ *fixture, v *visitor, _ string) { v.get("/account").press(pages.ActionLogout) },
	}
	for name, take := range takeBack {
		t.Run("code, "+name, func(t *testing.T) {
			f := newFixture(t, withPeople)
			v := f.signedIn(f.person(fixtureProfile))
			code := v.code("scope", "openid read offline_access")
			take(f, v, "web")
			expect(t, f.post("/token", redeemForm(code), asWeb), 400, oauth.InvalidGrant)
		})
		t.Run("device, "+name, func(t *testing.T) {
			f := newFixture(t, withDevices)
			v := f.signedIn(f.person(fixtureProfile))
			d := f.device("client_id=tv&scope=openid+offline_access+read")
			v.confirm(d.UserCode).press(pages.ActionAllow)
			take(f, v, "tv")
			expect(t, f.poll(d.DeviceCode), 400, oauth.InvalidGrant)
		})
	}
	t.Run("device, approved for an earlier client of the same id", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, withPeople)
			metadata := clients.Metadata{ID: "again", Type: clients.Public, GrantTypes: []string{oauth.GrantDeviceCode}, Scope: oauth.Scope{"read"}}
			add := func() {
				if _, _, err := f.AddClient(t.Context(), metadata); err != nil {
					t.Fatal(err)
				}
			}
			add()
			d := f.device("client_id=again")
			f.signedIn(f.person(fixtureProfile)).confirm(d.UserCode).press(pages.ActionAllow)
			if err := f.RemoveClient(t.Context(), "again"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			add()
			expect(t, f.post("/token", "client_id=again&grant_type="+oauth.GrantDeviceCode+"&device_code="+d.DeviceCode), 400, oauth.InvalidGrant)
		})
	})
}

// The page showed one scope; meanwhile the client may have another. What is agreed
// to is what was shown (RFC 6749 §10.13 in spirit, RFC 7592 §2.2).
func TestConsentIsToWhatWasShown(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) {
		c.Registration.Scopes = oauth.Scope{"openid", "read", "write", "offline_access"}
	})
	const metadata = `{"client_id":%q,"client_name":%q,"redirect_uris":["https://app.test/cb"],"scope":%q,"grant_types":["authorization_code","refresh_token"]}`
	c := f.selfRegistered(`{"redirect_uris":["https://app.test/cb"],"client_name":"Self","scope":"openid","grant_types":["authorization_code","refresh_token"]}`)
	v := f.signedIn(f.person(users.User{Username: "alice"}))
	page := v.authorize(authorization("client_id", c.ID, "scope", "openid read write offline_access"))
	if strings.Contains(page.Body.String(), "<code>write</code>") {
		t.Fatal("the page shows more than the client may have")
	}
	f.registered(f.update(c, fmt.Sprintf(metadata, c.ID, "Another name", "openid read write offline_access")))
	again := page.press(pages.ActionAllow).expectPage(pages.ActionAllow, "the person is asked again")
	if !strings.Contains(again.Body.String(), "<code>write</code>") {
		t.Error("the new question does not show what is new")
	}
	code := again.press(pages.ActionAllow).answerTo("https://app.test/cb").Get("code")
	if tokens := f.tokens(f.post("/token", redeemForm(code), c.as())); tokens.Scope != "openid read write offline_access" {
		t.Errorf("scope %q", tokens.Scope)
	}
}

// A sign-in that was proven by the old password, and is written after the new one
// was set, is none.
func TestSignInRacesNewPassword(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(users.User{Username: "alice"}, alicePassword)
	stale, err := f.realm.users.Authenticate(t.Context(), "alice", alicePassword, "192.0.2.1")
	must(t, err)
	must(t, f.SetPassword(t.Context(), stale.ID, newPassword))
	v := f.visitor()
	w := httptest.NewRecorder()
	if _, _, err := f.signin.SignIn(w, v.request("GET", "/login", ""), stale, signin.ByPassword()); err == nil {
		t.Error("a session was made by the old password")
	}
	if len(w.Result().Cookies()) != 0 {
		t.Error("and the browser was given cookies")
	}
}

// Of two changes proven by the same old password, one counts.
func TestPasswordChangesRace(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(users.User{Username: "alice"}, alicePassword)
	proven, err := f.realm.users.Authenticate(t.Context(), "alice", alicePassword, "192.0.2.1")
	must(t, err)
	var won atomic.Int32
	var wg sync.WaitGroup
	f.store.hold(2)
	for n := range 2 {
		wg.Go(func() {
			if f.realm.people.ChangePassword(t.Context(), proven, fmt.Sprintf("%s %d", newPassword, n)) == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 2 changes won", won.Load())
	}
}

// delayedStorage lets something happen between the call of an Update and its
// transaction: the writer was busy.
type delayedStorage struct {
	storage.Storage
	meanwhile atomic.Pointer[func()]
}

func (s *delayedStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if meanwhile := s.meanwhile.Swap(nil); meanwhile != nil {
		(*meanwhile)()
	}
	return s.Storage.Update(ctx, fn)
}

// delayed puts a delayedStorage under the fixture. What it returns has the next
// Update wait for more than a second, and then for do.
func (f *fixture) delayed() (duringUpdate func(do func())) {
	store := &delayedStorage{Storage: f.store.Storage}
	f.store.Storage = store
	return func(do func()) {
		meanwhile := func() { time.Sleep(1100 * time.Millisecond); do() }
		store.meanwhile.Store(&meanwhile)
	}
}

// A token that is made while its client is removed, or while its person sets a
// new password, and a second later than that began, ends with the rest.
func TestTokensOfTheNextSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		duringUpdate := f.delayed()
		alice := f.personWithPassword(users.User{Username: "alice"}, alicePassword)
		before := f.signedIn(alice).offline()
		var late fixtureTokens
		duringUpdate(func() { late = f.refreshed(before.RefreshToken) })
		must(t, f.SetPassword(t.Context(), alice.ID, newPassword))
		f.judge(late.AccessToken, false, "after the new password")

		made, secret, err := f.AddClient(t.Context(), clients.Metadata{GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"read"}})
		must(t, err)
		var own string
		duringUpdate(func() { own = f.issue(withBasic(made.ID, secret), "") })
		must(t, f.RemoveClient(t.Context(), made.ID))
		f.judge(own, false, "after its client was removed")
	})
}

// An exchange is no way to turn a token into one for an API that neither the token
// nor the client's proof was for (RFC 8693 §1.1, §5; RFC 9700 §2.3).
func TestExchangeWidensNothing(t *testing.T) {
	f, _ := newExchange(t, withPeople)
	v := f.signedIn(f.person(users.User{Username: "alice"}))
	person := f.redeemed(v.code("scope", "read write", "resource", fixtureAPI)).AccessToken
	foreign := f.redeemed(v.code("scope", "read write", "resource", fixtureAdmin)).AccessToken

	expect(t, f.exchange(foreign, url.Values{"audience": {fixtureFiles}}), 400, oauth.InvalidRequest)
	f.tokens(f.exchange(person, url.Values{"audience": {fixtureFiles}}))

	narrow := f.issue(asAgent, "scope=read&resource="+url.QueryEscape(fixtureAPI))
	byToken := withHeader("Authorization", "Bearer "+narrow)
	expect(t, f.exchange(person, url.Values{"actor_token": {narrow}, "audience": {fixtureFiles}}, byToken), 400, oauth.InvalidTarget)
	expect(t, f.exchange(person, url.Values{"actor_token": {narrow}, "scope": {"write"}}, byToken), 400, oauth.InvalidScope)
	expect(t, f.exchange(person, url.Values{"actor_token": {narrow}, "scope": {"write"}}), 400, oauth.InvalidScope)
	if got := f.tokens(f.exchange(person, url.Values{"actor_token": {narrow}}, byToken)); got.Scope != "read" {
		t.Errorf("scope %q: want no more than the client's own token has", got.Scope)
	}
}

// What the issuer of a subject token has laid down about who may act holds for
// what comes of the token, however often it is exchanged (RFC 8693 §4.4).
func TestExchangeAgain(t *testing.T) {
	f, p := newExchange(t, func(c *Config) { c.TrustedIssuers[0].Clients = []string{"agent", "imp"} })
	second := withBasic("second", "canary-second")
	again := func(token string, as fixtureRequest) *httptest.ResponseRecorder {
		return f.exchange(token, url.Values{"actor_token": {f.issue(as, "")}}, as)
	}
	first := exchangedOf(t, f.exchange(p.token(nil, nil), nil)).AccessToken
	exchangedOf(t, again(first, asAgent))
	expect(t, again(first, second), 400, oauth.InvalidRequest) // not a client for that issuer's tokens

	bound := exchangedOf(t, f.exchange(p.token(nil, map[string]any{"may_act": map[string]any{"sub": "agent"}}), nil)).AccessToken
	exchangedOf(t, again(bound, asAgent))
	expect(t, again(bound, withBasic("imp", "canary-imp")), 400, oauth.InvalidRequest)
}

// One customer's network takes nobody else's place among the waiting devices.
func TestDevicesOfOneNetwork(t *testing.T) {
	var p device.Pending
	taken := 0
	for n := range 2 * device.MaxPerAddress {
		q := device.Request{ID: "x", UserCode: device.NewUserCode(), Address: fmt.Sprintf("2001:db8:1:2::%x", n), Expiry: time.Now().Add(time.Minute)}
		if ok, err := p.Add(q); ok && err == nil {
			taken++
		}
	}
	if taken != device.MaxPerAddress {
		t.Errorf("%d requests of one /64 were taken in, want %d", taken, device.MaxPerAddress)
	}
}

// Nor do all the networks of one customer.
func TestDevicesOfOneSite(t *testing.T) {
	var p device.Pending
	add := func(address string) bool {
		ok, err := p.Add(device.Request{ID: "x", UserCode: device.NewUserCode(), Address: address, Expiry: time.Now().Add(time.Minute)})
		return ok && err == nil
	}
	taken := 0
	for n := range 20_000 {
		if add(fmt.Sprintf("2001:db8:1:%x::1", n)) {
			taken++
		}
	}
	if want := limit.NetworksOfSite * device.MaxPerAddress; taken != want {
		t.Errorf("%d requests of one /48 were taken in, want %d", taken, want)
	}
	if !add("192.0.2.1") {
		t.Error("there is no room for others")
	}
}

// A replayed code ends what it gave once; a thousand replays are not a thousand
// writes.
func TestReplaysWriteOnce(t *testing.T) {
	f := newFixture(t, withPeople)
	code := f.signedIn(f.person(fixtureProfile)).code()
	f.redeemed(code)
	writes := f.countCommits(kindRevoked)
	for range 20 {
		expect(t, f.post("/token", redeemForm(code), asWeb), 400, oauth.InvalidGrant)
	}
	if n := writes(); n != 1 {
		t.Errorf("%d revocations were written", n)
	}
}

// countCommits counts the records of a kind that are written from now on.
func (f *fixture) countCommits(kind string) func() int64 {
	counting := &kindCounter{Storage: f.store.Storage, kind: kind}
	f.store.Storage = counting
	return counting.puts.Load
}

type kindCounter struct {
	storage.Storage
	kind string
	puts atomic.Int64
}

func (s *kindCounter) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.Update(ctx, func(tx storage.Tx) error { return fn(kindCountingTx{tx, s}) })
}

type kindCountingTx struct {
	storage.Tx
	counter *kindCounter
}

func (tx kindCountingTx) Put(kind, key string, value []byte, expiry time.Time) error {
	if kind == tx.counter.kind {
		tx.counter.puts.Add(1)
	}
	return tx.Tx.Put(kind, key, value, expiry)
}

// Where answers never go: to Caddy's admin endpoint, to a port in a spelling that
// browsers read otherwise, or to a client that nobody has agreed to yet.
func TestNoRelay(t *testing.T) {
	for _, uri := range []string{"http://127.0.0.1:02019/load", "http://127.0.0.1:/cb", "http://127.0.0.1:0/cb", "https://app.test:0443/cb"} {
		if clients.ValidateRedirectURI(uri) == nil {
			t.Errorf("%s was accepted", uri)
		}
	}
	native := &clients.Client{Metadata: clients.Metadata{RedirectURIs: []string{"http://127.0.0.1/stop"}}}
	if _, err := native.ProvenRedirectURI("http://127.0.0.1:2019/stop", true); err == nil {
		t.Error("the free loopback port reaches the admin endpoint")
	}
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(`{"redirect_uris":["https://evil.test/phish"]}`)
	for _, change := range [][]string{{"scope", "bogus"}, {"prompt", "none"}, {"response_type", "token"}} {
		p := f.visitor().authorize(authorization(append([]string{"client_id", c.ID, "redirect_uri", "https://evil.test/phish"}, change...)...))
		if p.Code != 400 || p.Header().Get("Location") != "" {
			t.Errorf("%v: status %d, Location %q: an anonymous client's error is a page (RFC 9700 section 4.11.2)", change, p.Code, p.Header().Get("Location"))
		}
	}
}
