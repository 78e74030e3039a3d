package issuer

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// withDevices adds clients that have no browser:
//
//	tv       public
//	box      confidential
func withDevices(c *Config) {
	c.LocalLogin = true
	flows := []string{oauth.GrantDeviceCode, oauth.GrantRefreshToken}
	scope := append(slices.Clone(oauth.PersonalScopes), "read", "write")
	c.Clients = append(c.Clients,
		clients.Client{Metadata: clients.Metadata{ID: "tv", Name: "Television", Type: clients.Public, GrantTypes: flows, Scope: scope}},
		clients.Client{Metadata: clients.Metadata{ID: "box", Type: clients.Confidential, GrantTypes: flows, Scope: scope},
			Secrets: []clients.Secret{{Hash: clients.HashSecret("canary-box")}}})
}

var asBox = withBasic("box", "canary-box")

func (f *fixture) device(body string, as ...fixtureRequest) deviceResponse {
	f.t.Helper()
	w := f.post("/device-authorization", body, as...)
	expect(f.t, w, 200, "")
	var response deviceResponse
	if err := json.Unmarshal(w.Body.Bytes(), &response); err != nil {
		f.t.Fatal(err)
	}
	return response
}

func (f *fixture) poll(deviceCode string, as ...fixtureRequest) *httptest.ResponseRecorder {
	body := url.Values{"grant_type": {oauth.GrantDeviceCode}, "device_code": {deviceCode}}
	if len(as) == 0 {
		body.Set("client_id", "tv")
	}
	return f.post("/token", body.Encode(), as...)
}

// confirm enters the code and stops at the question.
func (v *visitor) confirm(userCode string) *shown {
	return v.get("/device").press(pages.ActionContinue, pages.FieldUserCode, userCode)
}

// TestDevice is the whole flow, RFC 8628 §3.
func TestDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withDevices)
		alice := f.person(fixtureProfile)
		d := f.device("client_id=tv&scope=openid+offline_access+read+unknown")
		if d.VerificationURI != fixtureURL+"/device" || d.VerificationURIComplete != fixtureURL+"/device?user_code="+d.UserCode {
			t.Errorf("verification URIs %q and %q: they follow from the issuer's URL (§3.2)", d.VerificationURI, d.VerificationURIComplete)
		}
		if d.ExpiresIn != 600 || d.Interval != 5 || len(d.UserCode) != 9 || d.UserCode[4] != '-' {
			t.Errorf("unexpected answer %+v", d)
		}
		expect(t, f.poll(d.DeviceCode), 400, oauth.AuthorizationPending)

		page := f.signedIn(alice).confirm(strings.ToLower(strings.ReplaceAll(d.UserCode, "-", "")))
		for _, text := range []string{"Television", d.UserCode, "alice", "read"} {
			if !strings.Contains(page.Body.String(), text) {
				t.Errorf("the confirmation does not show %q (§3.3, §5.4)", text)
			}
		}
		time.Sleep(5 * time.Second)
		expect(t, f.poll(d.DeviceCode), 400, oauth.AuthorizationPending)
		page.press(pages.ActionAllow).expectStatus(200, "the decision is confirmed")

		time.Sleep(5 * time.Second)
		tokens := f.tokens(f.poll(d.DeviceCode))
		if tokens.Scope != "openid offline_access read" || tokens.RefreshToken == "" || tokens.IDToken == "" {
			t.Errorf("tokens %+v: want what was approved", tokens)
		}
		if facts := f.facts(tokens.AccessToken); facts.Subject != alice.ID || facts.ClientID != "tv" {
			t.Errorf("the token is for %s by %s", facts.Subject, facts.ClientID)
		}
		time.Sleep(5 * time.Second)
		expect(t, f.poll(d.DeviceCode), 400, oauth.InvalidGrant) // §3.5: redeemed once
	})
}

// TestDevicePace: RFC 8628 §3.5, slow_down adds five seconds from then on, and a
// device that keeps to it is answered again.
func TestDevicePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withDevices)
		d := f.device("client_id=tv&scope=read")
		for _, step := range []struct {
			after time.Duration
			want  oauth.ErrorCode
		}{
			{0, oauth.AuthorizationPending},
			{5 * time.Second, oauth.AuthorizationPending},
			{4 * time.Second, oauth.SlowDown},              // now 10 s
			{9 * time.Second, oauth.SlowDown},              // now 15 s
			{15 * time.Second, oauth.AuthorizationPending}, // recovered
			{10 * time.Second, oauth.SlowDown},
			{20 * time.Second, oauth.AuthorizationPending},
		} {
			time.Sleep(step.after)
			expect(t, f.poll(d.DeviceCode), 400, step.want)
		}
		time.Sleep(10 * time.Minute)
		expect(t, f.poll(d.DeviceCode), 400, oauth.ExpiredToken)
	})
}

// TestDeviceRefusals: what a device, or somebody else's device, must not do.
func TestDeviceRefusals(t *testing.T) {
	f := newFixture(t, withDevices)
	alice := f.person(fixtureProfile)

	t.Run("confidential clients authenticate (§3.1)", func(t *testing.T) {
		expect(t, f.post("/device-authorization", "client_id=box&scope=read"), 401, oauth.InvalidClient)
	})
	t.Run("clients without the grant are refused", func(t *testing.T) {
		expect(t, f.post("/device-authorization", "scope=read", withBasic("other", "canary-other")), 400, oauth.UnauthorizedClient)
	})
	t.Run("none of the scopes can be granted", func(t *testing.T) {
		expect(t, f.post("/device-authorization", "client_id=tv&scope=admin"), 400, oauth.InvalidScope)
	})
	t.Run("a device code is bound to its client (§3.4)", func(t *testing.T) {
		d := f.device("client_id=tv&scope=read")
		f.signedIn(alice).confirm(d.UserCode).press(pages.ActionAllow)
		expect(t, f.poll(d.DeviceCode, asBox), 400, oauth.InvalidGrant)
		f.tokens(f.poll(d.DeviceCode)) // and the attempt has cost its owner nothing
	})
	t.Run("a user code, a mutation and garbage are no device code", func(t *testing.T) {
		d := f.device("client_id=tv&scope=read")
		for _, code := range []string{d.UserCode, d.DeviceCode + "A", d.DeviceCode[1:], d.DeviceCode + "=", "x"} {
			expect(t, f.poll(code), 400, oauth.InvalidGrant)
		}
		expect(t, f.post("/token", "client_id=tv&grant_type="+url.QueryEscape(oauth.GrantDeviceCode)), 400, oauth.InvalidRequest)
	})
	t.Run("denied stays denied", func(t *testing.T) {
		d := f.device("client_id=tv&scope=read")
		v := f.signedIn(alice)
		question := v.confirm(d.UserCode)
		again := v.confirm(d.UserCode)
		question.press(pages.ActionDeny)
		again.press(pages.ActionAllow).expectStatus(400, "a decision is final")
		expect(t, f.poll(d.DeviceCode), 400, oauth.AccessDenied)
	})
	t.Run("who approved and is gone approves nothing", func(t *testing.T) {
		carol := f.person(users.User{Username: "carol"})
		d := f.device("client_id=tv&scope=read")
		f.signedIn(carol).confirm(d.UserCode).press(pages.ActionAllow)
		f.change(carol, func(u *users.User) { u.Disabled = true })
		expect(t, f.poll(d.DeviceCode), 400, oauth.InvalidGrant)
	})
}

// TestDevicePage: opening a link decides nothing, and a stranger's site neither.
func TestDevicePage(t *testing.T) {
	f := newFixture(t, withDevices, withPeople)
	alice := f.person(fixtureProfile)
	d := f.device("client_id=tv&scope=read")
	v := f.signedIn(alice)

	page := v.get("/device?user_code=" + d.UserCode)
	if !strings.Contains(page.Body.String(), `value="`+d.UserCode+`"`) {
		t.Error("verification_uri_complete does not fill the code in (§3.3.1)")
	}
	expect(t, f.poll(d.DeviceCode), 400, oauth.AuthorizationPending) // §3.3.1: the link alone approves nothing
	hostile := v.get("/device?user_code=" + url.QueryEscape(`"><script>alert(1)</script>`))
	if strings.Contains(hostile.Body.String(), "<script") {
		t.Error("the user code of the URL stands unescaped in the page")
	}
	question := page.press(pages.ActionContinue)
	form := question.form(pages.ActionAllow)
	form.fields.Set(pages.FieldCSRF, v.get("/device").form(pages.ActionContinue).fields.Get(pages.FieldCSRF))
	v.post("/device", form.fields).expectStatus(403, "the CSRF token of another form does not approve")
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"} {
		v.post("/device", question.form(pages.ActionAllow).fields, withHeader(header, value)).expectStatus(403, "a cross-site post does not approve")
	}
	f.visitor().post("/device", question.form(pages.ActionAllow).fields).expectStatus(400, "another browser cannot go on with the question")
	expect(t, f.poll(d.DeviceCode), 400, oauth.SlowDown)

	// Nobody signed in: the sign-in comes between, and then the question.
	anonymous := f.visitor()
	anonymous.confirm(d.UserCode).expectPage(pages.ActionLogin, "who decides must be known (§3.3)")
}

// TestUserCodeGuesses: RFC 8628 §5.1. A right code gives no guess back, and other
// addresses are not held up.
func TestUserCodeGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withDevices)
		alice := f.person(fixtureProfile)
		d := f.device("client_id=tv&scope=read")
		v := f.signedIn(alice)
		for range signin.FreeGuesses - 1 {
			v.confirm("BBBB-BBBB").expectStatus(400, "a wrong code is refused")
		}
		v.confirm(d.UserCode).expectStatus(200, "a right code is found")
		v.confirm("BBBB-BBBC").expectStatus(400, "a wrong code is refused")
		v.confirm(d.UserCode).expectStatus(429, "too many guesses are refused, right ones too")
		time.Sleep(signin.GuessRefill)
		v.confirm(d.UserCode).expectStatus(200, "after a while one may try again")
	})
}

// TestDeviceRestart: a pending code outlives a restart, since the device brings
// it along, and an approval is a record.
func TestDeviceRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withDevices)
		alice := f.person(fixtureProfile)
		d := f.device("client_id=tv&scope=read")
		f.restart()
		expect(t, f.poll(d.DeviceCode), 400, oauth.AuthorizationPending)
		f.signedIn(alice).confirm(d.UserCode).press(pages.ActionAllow).expectStatus(200, "the code is known again")
		f.restart()
		f.tokens(f.poll(d.DeviceCode))
	})
}

// TestDeviceRace: many polls of one approval at once redeem it once.
func TestDeviceRace(t *testing.T) {
	f := newFixture(t, withDevices)
	alice := f.person(fixtureProfile)
	d := f.device("client_id=tv&scope=read")
	f.signedIn(alice).confirm(d.UserCode).press(pages.ActionAllow)
	var q device.Request
	if err := f.realm.seal.Unseal("device code", d.DeviceCode, &q); err != nil {
		t.Fatal(err)
	}
	client, err := f.Client(t.Context(), "tv")
	if err != nil {
		t.Fatal(err)
	}
	const racers = 32
	f.store.hold(racers) // every one is inside its transaction before any commits
	var wg sync.WaitGroup
	won := make(chan bool, racers)
	for range racers {
		wg.Go(func() {
			request := &tokenRequest{Request: httptest.NewRequest("POST", "/token", nil), client: client}
			_, err := f.redeemDevice(request, q)
			won <- err == nil
		})
	}
	wg.Wait()
	close(won)
	wins := 0
	for w := range won {
		if w {
			wins++
		}
	}
	if wins != 1 {
		t.Errorf("%d of %d redemptions won", wins, racers)
	}
}

// TestDeviceFlood: requests cost no write, and only so many wait.
func TestDeviceFlood(t *testing.T) {
	f := newFixture(t, withDevices)
	writes := f.countWrites()
	for range device.MaxPerAddress {
		f.device("client_id=tv&scope=read")
	}
	w := f.post("/device-authorization", "client_id=tv&scope=read")
	expect(t, w, 503, oauth.TemporarilyUnavailable)
	if n := writes(); n != 0 {
		t.Errorf("%d writes for anonymous requests", n)
	}
}

// The token of a device is for the resource it asks for with its poll (RFC 8707
// §2.2), as those of the other grants are, and for nothing that was not granted.
func TestDeviceResource(t *testing.T) {
	f := newFixture(t, withDevices)
	d := f.device("client_id=tv&scope=read")
	f.signedIn(f.person(fixtureProfile)).confirm(d.UserCode).press(pages.ActionAllow)
	poll := func(resource string) *httptest.ResponseRecorder {
		return f.post("/token", url.Values{"grant_type": {oauth.GrantDeviceCode}, "device_code": {d.DeviceCode}, "client_id": {"tv"}, "resource": {resource}}.Encode())
	}
	expect(t, poll("https://other.example/api"), 400, oauth.InvalidTarget)
}

// A device code that is decided takes none of the places of those that wait, however
// often it is polled with.
func TestDecidedDeviceCodesTakeNoPlace(t *testing.T) {
	for name, decide := range map[string]func(f *fixture, page *shown, deviceCode string){
		"redeemed": func(f *fixture, page *shown, deviceCode string) {
			page.press(pages.ActionAllow)
			f.tokens(f.poll(deviceCode))
		},
		"denied": func(f *fixture, page *shown, deviceCode string) { page.press(pages.ActionDeny) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withDevices)
			d := f.device("client_id=tv&scope=read")
			decide(f, f.signedIn(f.person(fixtureProfile)).confirm(d.UserCode), d.DeviceCode)
			for range 2 {
				if w := f.poll(d.DeviceCode); w.Code != 400 {
					t.Errorf("status %d", w.Code)
				}
			}
			for range device.MaxPerAddress {
				f.device("client_id=tv&scope=read")
			}
		})
	}
}

// TestUserCodeGuessesAtOnce: many guesses sent at once are many guesses.
func TestUserCodeGuessesAtOnce(t *testing.T) {
	l := limit.New(signin.FreeGuesses, signin.GuessRefill)
	var wg sync.WaitGroup
	passed := make(chan bool, 200)
	for range 200 {
		wg.Go(func() { passed <- l.Take("192.0.2.1") == 0 })
	}
	wg.Wait()
	close(passed)
	n := 0
	for p := range passed {
		if p {
			n++
		}
	}
	if n != signin.FreeGuesses {
		t.Errorf("%d of 200 guesses were looked at, want %d", n, signin.FreeGuesses)
	}
}
