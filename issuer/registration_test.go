package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// goodMetadata is what a web application registers with.
const goodMetadata = `{"redirect_uris":["https://app.test/cb"],"client_name":"Self"}`

// withRegistration lets clients register, each test request from its own budget
// unless it says otherwise.
func withRegistration(mode RegistrationMode) func(*Config) {
	return func(c *Config) {
		withPeople(c)
		c.Registration = RegistrationConfig{Mode: mode, Rate: 1000}
	}
}

// registered is a client information response (RFC 7591 §3.2.1, RFC 7592 §3).
type registered struct {
	ID              string   `json:"client_id"`
	Secret          string   `json:"client_secret"`
	IssuedAt        int64    `json:"client_id_issued_at"`
	SecretExpiresAt *int64   `json:"client_secret_expires_at"`
	AccessToken     string   `json:"registration_access_token"`
	URI             string   `json:"registration_client_uri"`
	Name            string   `json:"client_name"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	RedirectURIs    []string `json:"redirect_uris"`
	PostLogoutURIs  []string `json:"post_logout_redirect_uris"`
	Scope           string   `json:"scope"`
	Algorithm       string   `json:"id_token_signed_response_alg"`
}

func (c *registered) as() fixtureRequest { return withBasic(c.ID, c.Secret) }

func withBearer(token string) fixtureRequest { return withHeader("Authorization", "Bearer "+token) }

// postMetadata sends client metadata.
func (f *fixture) postMetadata(body string, changes ...fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	asJSON := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	return f.post("/register", body, append([]fixtureRequest{asJSON}, changes...)...)
}

// selfRegistered is a client that has registered itself.
func (f *fixture) selfRegistered(body string, changes ...fixtureRequest) *registered {
	f.t.Helper()
	w := f.postMetadata(body, changes...)
	if w.Code != http.StatusCreated {
		f.t.Fatalf("not registered: %d %s", w.Code, w.Body)
	}
	return f.registered(w)
}

// registered reads a client information response.
func (f *fixture) registered(w *httptest.ResponseRecorder) *registered {
	f.t.Helper()
	checkNotStored(f.t, w)
	client := new(registered)
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields() // nothing is echoed that was not accepted
	if err := decoder.Decode(client); err != nil {
		f.t.Fatalf("%v: %s", err, w.Body)
	}
	return client
}

// authenticates tells whether the client's credentials are good.
func (f *fixture) authenticates(c *registered) bool {
	f.t.Helper()
	return errorOf(f.t, f.post("/token", "grant_type=authorization_code&code=x", c.as())) == oauth.InvalidGrant
}

// RFC 7591 §3: off by default, and then there is nothing; metadata says where it
// is when it is on (RFC 8414 §2).
func TestRegistrationModes(t *testing.T) {
	for mode, want := range map[RegistrationMode]int{RegistrationOff: 404, RegistrationOpen: 201, RegistrationByToken: 401, RegistrationByApproval: 201} {
		t.Run("mode "+string(mode), func(t *testing.T) {
			f := newFixture(t, withRegistration(mode))
			if w := f.postMetadata(goodMetadata); w.Code != want {
				t.Errorf("answer %d %s, want %d", w.Code, w.Body, want)
			}
			var document struct {
				Endpoint string `json:"registration_endpoint"`
			}
			if err := json.Unmarshal(f.get("/.well-known/openid-configuration").Body.Bytes(), &document); err != nil {
				t.Fatal(err)
			}
			if served := f.Serves("/register"); served != (mode != RegistrationOff) || served != f.Serves("/register/x") || served != (document.Endpoint == fixtureURL+"/register") {
				t.Errorf("served %v, registration_endpoint %q", served, document.Endpoint)
			}
			for _, path := range []string{"/register/x/y", "/register//", "/registers/x", "/device/x", "/token/x"} {
				if f.Serves(path) {
					t.Errorf("%s is served", path)
				}
			}
		})
	}
}

func TestRegistrationConfig(t *testing.T) {
	for name, config := range map[string]RegistrationConfig{
		"an unknown mode":                  {Mode: "everybody"},
		"a scope that is not declared":     {Mode: RegistrationOpen, Scopes: oauth.Scope{"nothing"}},
		"a resource that is no URI":        {Mode: RegistrationOpen, Resources: []string{"api"}},
		"a negative rate":                  {Mode: RegistrationOpen, Rate: -1},
		"a negative number of clients":     {Mode: RegistrationOpen, Unused: -1},
		"more clients than can be counted": {Mode: RegistrationOpen, Unused: 1 << 20},
	} {
		if err := (Config{URL: fixtureURL, Registration: config}).Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// RFC 7591 §3.2.1: what the answer holds, and that it is true.
func TestRegister(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(goodMetadata)
	if len(c.ID) < 20 || len(c.Secret) < 43 || len(c.AccessToken) < 43 || c.SecretExpiresAt == nil || *c.SecretExpiresAt != 0 ||
		c.URI != fixtureURL+"/register/"+c.ID || time.Since(time.Unix(c.IssuedAt, 0)).Abs() > time.Minute {
		t.Errorf("answer %+v", c)
	}
	if c.Name != "Self" || c.AuthMethod != clientSecretBasic || !slices.Equal(c.GrantTypes, []string{"authorization_code"}) ||
		!slices.Equal(c.ResponseTypes, []string{"code"}) || !slices.Equal(c.RedirectURIs, []string{"https://app.test/cb"}) ||
		c.Scope != "openid profile email offline_access" {
		t.Errorf("metadata %+v", c)
	}
	if !f.authenticates(c) {
		t.Error("the secret does not work")
	}
	f.restart()
	if !f.authenticates(c) {
		t.Error("the client is gone after a restart")
	}
	if events := f.log.event("client_registered"); len(events) != 1 || events[0]["client_id"] != c.ID {
		t.Errorf("audit %v", events)
	}
	f.unknown(c.Secret, c.AccessToken)
}

// unknown: neither the log nor the storage has the secrets.
func (f *fixture) unknown(secrets ...string) {
	f.t.Helper()
	text := strings.Join(f.log.lines(), "\n")
	err := f.store.View(f.t.Context(), func(tx storage.Tx) error {
		for _, kind := range []string{kindClient, kindUnused, kindRegistrationToken} {
			err := tx.List(kind, "", func(key string, value []byte) error { text += key + string(value); return nil })
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, secret := range secrets {
		if err != nil || secret == "" || strings.Contains(text, secret) {
			f.t.Errorf("a secret is kept: %v", err)
		}
	}
}

// A client that registered itself gets a person's consent, and then tokens, as
// any other; its resources are those of the configuration.
func TestRegisteredClientWorks(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) {
		c.Registration.Scopes = oauth.Scope{"openid", "read", "offline_access"}
		c.Registration.Resources = []string{fixtureFiles}
	})
	c := f.selfRegistered(`{"redirect_uris":["https://app.test/cb"],"grant_types":["authorization_code","refresh_token"],"scope":"openid read offline_access"}`)
	v := f.signedIn(f.person(fixtureProfile))
	p := v.authorize(authorization("client_id", c.ID, "scope", "openid read offline_access"))
	if !strings.Contains(p.Body.String(), "app.test") {
		t.Error("the consent page does not show where the answer goes")
	}
	code := p.press(pages.ActionAllow).answerTo("https://app.test/cb").Get("code")
	tokens := f.tokens(f.post("/token", redeemForm(code), c.as()))
	if facts := f.facts(tokens.AccessToken); !slices.Contains(facts.Audience, fixtureFiles) || slices.Contains(facts.Audience, fixtureAPI) {
		t.Errorf("audience %v", facts.Audience)
	}
	f.tokens(f.post("/token", refreshForm(tokens.RefreshToken), c.as()))
	expect(t, f.post("/token", "grant_type=client_credentials", c.as()), 400, oauth.UnauthorizedClient)
}

// OpenID Connect RP-Initiated Logout §3.1: a client says itself where it wants the
// browser back after signing out, and changes its mind (RFC 7592 §2.2).
func TestRegisteredClientSignsOut(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	const bye = "https://app.test/bye"
	c := f.selfRegistered(with(`"post_logout_redirect_uris":["` + bye + `"]`))
	if !slices.Equal(c.PostLogoutURIs, []string{bye}) {
		t.Errorf("registered with %v", c.PostLogoutURIs)
	}
	v := f.signedIn(f.person(fixtureProfile))
	code := v.code("client_id", c.ID, "scope", "openid")
	signOut := url.Values{"id_token_hint": {f.tokens(f.post("/token", redeemForm(code), c.as())).IDToken}, "post_logout_redirect_uri": {bye}}
	v.get("/end-session?"+signOut.Encode()).expectStatus(303, "back to the client")
	expect(t, f.update(c, with(`"client_id":"`+c.ID+`"`)), 200, "")
	v.get("/end-session?"+signOut.Encode()).expectStatus(400, "an address that is no longer registered")
}

// Clients that cannot ask for offline_access get refresh tokens where the policy
// says so: those that register for them, and no other.
func TestRegisteredClientAlwaysRefreshes(t *testing.T) {
	for name, test := range map[string]struct {
		always, grant, want bool
	}{
		"always":                 {true, true, true},
		"always, without grant":  {true, false, false},
		"only when asked for it": {false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) {
				c.Registration.Scopes = oauth.Scope{"read"}
				c.Registration.RefreshTokenAlways = test.always
			})
			body := with(`"refresh_token_always":true`) // is not the client's to say
			if test.grant {
				body = with(`"grant_types":["authorization_code","refresh_token","` + oauth.GrantDeviceCode + `"]`)
			}
			c := f.selfRegistered(body)
			v := f.signedIn(f.person(fixtureProfile))
			p := v.authorize(authorization("client_id", c.ID, "scope", "read"))
			if said := strings.Contains(p.Body.String(), "Stays connected"); said != test.want {
				t.Errorf("the person is told that it stays connected: %v", said)
			}
			code := p.press(pages.ActionAllow).answerTo("https://app.test/cb").Get("code")
			if said := strings.Contains(v.get("/account").Body.String(), "Stays connected"); said != test.want {
				t.Errorf("and is told again where connections are listed: %v", said)
			}
			tokens := f.tokens(f.post("/token", redeemForm(code), c.as()))
			if got := tokens.RefreshToken != ""; got != test.want {
				t.Fatalf("a refresh token: %v", got)
			}
			if test.want {
				f.tokens(f.post("/token", refreshForm(tokens.RefreshToken), c.as()))
			}
			if test.grant {
				page := v.confirm(f.device("scope=read", c.as()).UserCode)
				if said := strings.Contains(page.Body.String(), "Stays connected"); said != test.want {
					t.Errorf("the person is told at a device: %v", said)
				}
			}
		})
	}
}

// A client that nobody consents to is forgotten after seven days, one that
// somebody did is not, and the room it took is free again.
func TestUnusedClientIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) { c.Registration.Unused = 2 })
		user := f.person(fixtureProfile)
		used, unused := f.selfRegistered(goodMetadata), f.selfRegistered(goodMetadata)
		expect(t, f.postMetadata(goodMetadata), 429, oauth.TemporarilyUnavailable)
		f.signedIn(user).code("client_id", used.ID, "scope", "openid")
		f.selfRegistered(goodMetadata) // there is room again
		expect(t, f.postMetadata(goodMetadata), 429, oauth.TemporarilyUnavailable)

		time.Sleep(unusedLifetime - time.Hour)
		if !f.authenticates(unused) {
			t.Error("gone too early")
		}
		time.Sleep(2 * time.Hour)
		if err := f.state.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, f.post("/token", "grant_type=authorization_code&code=x", unused.as()), 401, oauth.InvalidClient)
		expect(t, f.get("/register/"+unused.ID, withBearer(unused.AccessToken)), 401, oauth.InvalidToken)
		if !f.authenticates(used) {
			t.Error("a client that somebody consented to is forgotten")
		}
		f.selfRegistered(goodMetadata)
		f.selfRegistered(goodMetadata)
	})
}

// A secret that an operator rotates, and an update by the client, do not make an
// unused client last.
func TestUnusedClientStaysUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withRegistration(RegistrationOpen))
		c := f.selfRegistered(goodMetadata)
		if _, err := f.RotateSecret(t.Context(), c.ID, 0); err != nil {
			t.Fatal(err)
		}
		f.registered(f.update(c, fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://app.test/cb"]}`, c.ID)))
		time.Sleep(unusedLifetime + time.Second)
		if _, err := f.Client(t.Context(), c.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the client is still there: %v", err)
		}
	})
}

// An address has a budget that refills; a flood leaves a bounded number of
// clients, and says when to come back (RFC 6585 §4).
func TestRegistrationFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := "192.0.2.1"
		f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) {
			c.Registration.Rate, c.Registration.Unused = 4, 10
			c.ClientIP = func(*http.Request) string { return address }
		})
		flood := func(want int) {
			t.Helper()
			made := 0
			for range 50 {
				switch w := f.postMetadata(goodMetadata); w.Code {
				case 201:
					made++
				case 429:
					if w.Header().Get("Retry-After") == "" || w.Header().Get("Retry-After") == "2" {
						t.Fatalf("Retry-After %q", w.Header().Get("Retry-After"))
					}
				default:
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			if made != want {
				t.Errorf("%d clients were registered, want %d", made, want)
			}
		}
		flood(4)
		time.Sleep(15 * time.Minute)
		flood(1)
		for n, want := range []int{4, 1, 0} { // ten in all, from wherever
			address = fmt.Sprintf("192.0.2.%d", n+2)
			flood(want)
		}
		address = "2001:db8::1"
		time.Sleep(unusedLifetime)
		flood(4)
		address = "2001:db8::2" // the same customer
		flood(0)
	})
}

// One address does not fill all the places for clients that nobody uses, however
// much time it takes: others can still register.
func TestRegistrationFloodInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := "192.0.2.1"
		f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) {
			c.Registration.Unused = 100
			c.ClientIP = func(*http.Request) string { return address }
		})
		made := 0
		for range 200 {
			if w := f.postMetadata(goodMetadata); w.Code == 201 {
				made++
			}
			time.Sleep(3 * time.Minute)
		}
		if made != 25 {
			t.Errorf("%d clients of one address, want a quarter of the places", made)
		}
		address = "192.0.2.2"
		f.selfRegistered(goodMetadata)
	})
}

// Many at once do not pass the cap together.
func TestRegistrationFloodAtOnce(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) { c.Registration.Unused = 3 })
	const racers = 8
	f.store.hold(racers)
	codes := make([]int, racers)
	var wait sync.WaitGroup
	for n := range racers {
		wait.Go(func() { codes[n] = f.postMetadata(goodMetadata).Code })
	}
	wait.Wait()
	slices.Sort(codes)
	if want := []int{201, 201, 201, 429, 429, 429, 429, 429}; !slices.Equal(codes, want) {
		t.Errorf("answers %v, want %v", codes, want)
	}
}

// A storage that fails: nothing is handed out (RFC 7591 §3.2.1), and no token
// is spent.
func TestRegistrationWithoutStorage(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	f.store.fail(storage.ErrUnavailable)
	expect(t, f.postMetadata(goodMetadata), 503, oauth.TemporarilyUnavailable)
	f.store.recover()
	c := f.selfRegistered(goodMetadata)
	f.store.fail(storage.ErrUnavailable)
	expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 503, oauth.TemporarilyUnavailable)
	f.store.recover()
}

// A person is asked again after the client has described itself anew: what they
// agreed to had another name, or was answered elsewhere.
func TestConsentAfterUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withRegistration(RegistrationOpen))
		c := f.selfRegistered(goodMetadata)
		v := f.signedIn(f.person(users.User{Username: "alice"}))
		q := authorization("client_id", c.ID, "scope", "openid")
		v.authorize(q).press(pages.ActionAllow)
		time.Sleep(time.Second)
		v.authorize(q).answerTo("https://app.test/cb")
		f.registered(f.update(c, fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://app.test/cb","https://evil.test/cb"]}`, c.ID)))
		moved := url.Values{}
		for name, values := range q {
			moved[name] = values
		}
		moved.Set("redirect_uri", "https://evil.test/cb")
		v.authorize(moved).expectPage(pages.ActionAllow, "an agreement does not cover a later description of the client")
		time.Sleep(time.Second)
		v.authorize(q).press(pages.ActionAllow)
		v.authorize(q).answerTo("https://app.test/cb")
	})
}
