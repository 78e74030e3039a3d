package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// fixtureObserver remembers what it was told, one line for each call.
type fixtureObserver struct {
	mu   sync.Mutex
	told []string
}

func (o *fixtureObserver) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, fmt.Sprintf(format, args...))
}

// take returns what was told since it was called last.
func (o *fixtureObserver) take() (told []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	told, o.told = o.told, nil
	return told
}

func (o *fixtureObserver) TokenIssued(_ context.Context, grantType, clientID string) {
	o.note("issued %s %s", grantType, clientID)
}

func (o *fixtureObserver) TokenRefused(_ context.Context, grantType, clientID string, code oauth.ErrorCode) {
	o.note("refused %q %q %s", grantType, clientID, code)
}
func (o *fixtureObserver) TokenVerified(_ time.Duration, err error) {
	o.note("verified %v", err == nil)
}
func (o *fixtureObserver) RefreshTokenReused(clientID, _ string) { o.note("reused %s", clientID) }
func (o *fixtureObserver) LoginFailed(reason string)             { o.note("login failed %s", reason) }
func (o *fixtureObserver) KeyActivated(string)                   { o.note("key") }

func withObserver(o *fixtureObserver) func(*Config) { return func(c *Config) { c.Observer = o } }

// TestTokenRefused: every refusal is counted; one that is an event has one line,
// with nothing in it that was not checked before.
func TestTokenRefused(t *testing.T) {
	observer := new(fixtureObserver)
	f := newFixture(t, withObserver(observer))
	for _, test := range []struct {
		name, body string
		as         fixtureRequest
		counted    string
		event      audit.Event
		fields     map[string]any
	}{
		{"a scope that there is not", ccGrant + "&scope=nope", asSvc, `refused "client_credentials" "svc" invalid_scope`,
			audit.TokenRefused, map[string]any{"client_id": "svc", "grant_type": "client_credentials", "error": "invalid_scope"}},
		{"a grant type that there is not", "grant_type=password", asSvc, `refused "" "svc" unsupported_grant_type`,
			audit.TokenRefused, map[string]any{"client_id": "svc", "grant_type": nil, "error": "unsupported_grant_type"}},
		{"a grant type of another client", "grant_type=authorization_code&code=x", asSvc, `refused "authorization_code" "svc" unauthorized_client`,
			audit.TokenRefused, map[string]any{"client_id": "svc", "grant_type": "authorization_code", "error": "unauthorized_client"}},
		{"no client is named", ccGrant, func(*http.Request) {}, `refused "client_credentials" "" invalid_client`,
			audit.TokenRefused, map[string]any{"client_id": nil, "error": "invalid_client"}},
		{"a wrong secret has its own line", ccGrant, withBasic("svc", canary), `refused "client_credentials" "" invalid_client`,
			audit.ClientAuthenticationFailed, map[string]any{"client_id": "svc", "method": "client_secret_basic"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(f.trail("")) // of all events
			f.post("/token", test.body, test.as)
			if told := observer.take(); !slices.Equal(told, []string{test.counted}) {
				t.Errorf("counted %q, want %q", told, test.counted)
			}
			lines := f.trail("")[before:]
			if len(lines) != 1 || lines[0]["event"] != string(test.event) || lines[0]["reason"] == nil {
				t.Fatalf("written: %v", lines)
			}
			for field, want := range test.fields {
				if got := lines[0][field]; got != want {
					t.Errorf("%s is %v, want %v", field, got, want)
				}
			}
		})
	}
}

// A device that polls is answered with an error every few seconds: that is no
// event, but it is counted (RFC 8628 §3.5).
func TestPollingIsNoEvent(t *testing.T) {
	observer := new(fixtureObserver)
	f := newFixture(t, withObserver(observer))
	w := f.post("/device-authorization", "scope=read", asSvc)
	var asked struct {
		DeviceCode string `json:"device_code"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &asked); err != nil || asked.DeviceCode == "" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	for _, want := range []string{"authorization_pending", "slow_down"} {
		f.post("/token", "grant_type="+oauth.GrantDeviceCode+"&device_code="+asked.DeviceCode, asSvc)
		if told := observer.take(); len(told) != 1 || !strings.HasSuffix(told[0], want) {
			t.Errorf("counted %q, want %s", told, want)
		}
	}
	if lines := f.trail(audit.TokenRefused); len(lines) != 0 {
		t.Errorf("written: %v", lines)
	}
}

// TestFloodOfRefusals: nobody fills the log with refusals, and all are counted.
func TestFloodOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := new(fixtureObserver)
		f := newFixture(t, withObserver(observer))
		for range 250 {
			f.post("/token", ccGrant+"&scope=nope", asSvc)
		}
		if n := len(observer.take()); n != 250 {
			t.Errorf("%d are counted", n)
		}
		if n := len(f.trail(audit.TokenRefused)); n != 25 { // the share of one address
			t.Errorf("%d lines, want 25", n)
		}
	})
}

// TestRefusedQuestions: who asks about tokens of others, and is told nothing.
func TestRefusedQuestions(t *testing.T) {
	f := newFixture(t)
	token := f.issue(asSvc, "scope=read")
	f.post("/introspect", "token="+token, asSvc)
	f.post("/introspect", "token="+token, asRS)
	if lines := f.trail(audit.IntrospectionRefused); len(lines) != 0 {
		t.Errorf("answers are no events: %v", lines)
	}
	f.post("/introspect", "token="+token, asOther)
	f.post("/introspect", "token="+token+"&client_id=spa")
	lines := f.trail(audit.IntrospectionRefused)
	if len(lines) != 2 || lines[0]["owner"] != "svc" || lines[0]["client_id"] != "other" || lines[1]["client_id"] != "spa" {
		t.Errorf("written: %v", lines)
	}
}

// TestVerificationIsObserved: the first time a token is shown, and no more.
func TestVerificationIsObserved(t *testing.T) {
	observer := new(fixtureObserver)
	f := newFixture(t, withObserver(observer))
	token := f.issue(asSvc, "")
	observer.take()
	for range 3 {
		f.judge(token, true, "a token")
	}
	f.judge("garbage", false, "no token")
	if told := observer.take(); !slices.Equal(told, []string{"verified true", "verified false"}) {
		t.Errorf("told %q", told)
	}
	if v := f.state.Vitals(); len(v) != 1 || v[0].Issuer != fixtureURL || v[0].CacheHits != 2 || v[0].CacheMisses != 2 || v[0].SigningSince.IsZero() {
		t.Errorf("vitals %+v", v)
	}
}

// TestOperatorsAreOnTheTrail: what an operator changes says so, and who it was.
func TestOperatorsAreOnTheTrail(t *testing.T) {
	f := newFixture(t, withPeople)
	ctx := audit.ByOperator(t.Context(), audit.Operator{Via: "admin", RemoteIP: "192.0.2.9"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client, _, err := f.AddClient(ctx, clients.Metadata{ID: "new", Name: "New", GrantTypes: []string{oauth.GrantClientCredentials}, Scope: oauth.Scope{"read"}})
	must(err)
	_, err = f.RotateSecret(ctx, client.ID, time.Hour)
	must(err)
	must(f.RemoveClient(ctx, client.ID))
	person, err := f.AddUser(ctx, users.User{Username: "operated"}, canary+"-a-long-password")
	must(err)
	must(f.SetPassword(ctx, person.ID, canary+"-another-password"))
	must(f.Disconnect(ctx, person.ID, "svc"))
	must(f.RemoveUser(ctx, person.ID))
	_, err = f.RevokeToken(ctx, f.issue(asSvc, ""))
	must(err)
	_, err = f.MintProbeTokens(ctx, "svc", fixtureAPI)
	must(err)
	for _, want := range []struct {
		event  audit.Event
		fields map[string]any
	}{
		{audit.ClientAdded, map[string]any{"client_id": "new", "client_name": "New", "scope": "read"}},
		{audit.ClientSecretRotated, map[string]any{"client_id": "new", "overlap": "1h0m0s"}},
		{audit.ClientRemoved, map[string]any{"client_id": "new"}},
		{audit.UserAdded, map[string]any{"subject": person.ID, "username": "operated"}},
		{audit.UserPasswordSet, map[string]any{"subject": person.ID}},
		{audit.ClientDisconnected, map[string]any{"subject": person.ID, "client_id": "svc"}},
		{audit.UserRemoved, map[string]any{"subject": person.ID}},
		{audit.TokenRevoked, map[string]any{"client_id": "svc"}},
		{audit.ProbeTokensMinted, map[string]any{"client_id": "svc", "resource": fixtureAPI}},
	} {
		lines := f.trail(want.event)
		if len(lines) != 1 || lines[0]["via"] != "admin" || lines[0]["remote_ip"] != "192.0.2.9" {
			t.Errorf("%s: %v", want.event, lines)
			continue
		}
		for field, value := range want.fields {
			if lines[0][field] != value {
				t.Errorf("%s: %s is %v, want %v", want.event, field, lines[0][field], value)
			}
		}
	}
	// What was not done is no event of an issuer.
	if err := f.RevokeAuthorization(ctx, "nobody's"); err == nil || len(f.trail(audit.AuthorizationRevoked)) != 0 {
		t.Errorf("%v %v", err, f.trail(audit.AuthorizationRevoked))
	}
}

// TestKeyEvents: a key's life on the trail, whether an operator or time changes it.
func TestKeyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := new(fixtureObserver)
		f := newFixture(t, withObserver(observer))
		count := func(what string, made, activated, removed int) {
			t.Helper()
			for event, want := range map[audit.Event]int{audit.KeyMade: made, audit.KeyActivated: activated, audit.KeyRemoved: removed} {
				if lines := f.trail(event); len(lines) != want {
					t.Errorf("%s: %d lines %s, want %d: %v", what, len(lines), event, want, lines)
				}
			}
		}
		count("at the first start", 1, 0, 0)
		time.Sleep(time.Minute)
		f.restart()
		count("a restart changes no key", 1, 0, 0)
		if err := f.RotateKeys(audit.ByOperator(t.Context(), audit.Operator{Via: "admin"}), false); err != nil {
			t.Fatal(err)
		}
		count("an operator rotates", 2, 0, 0)
		if made := f.trail(audit.KeyMade)[1]; made["via"] != "admin" || made["kid"] == nil || made["alg"] != "ES256" || made["signs_from"] == nil {
			t.Errorf("made: %v", made)
		}
		if told := observer.take(); len(told) != 0 {
			t.Errorf("nothing signs that did not, and yet: %q", told)
		}
		f.upkeepAfter(f.config.keyPolicy().PublishAhead)
		count("its time comes", 2, 1, 0)
		if told := observer.take(); !slices.Equal(told, []string{"key"}) {
			t.Errorf("told %q", told)
		}
		f.upkeepAfter(DefaultAccessTokenLifetime + 2*time.Minute)
		count("the last token of the first has expired", 2, 1, 1)
	})
}

// upkeepAfter lets time pass, and does what it brings.
func (f *fixture) upkeepAfter(wait time.Duration) {
	f.t.Helper()
	time.Sleep(wait)
	if err := f.state.upkeep(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// trail returns the audit lines of an event, or with "" all of them.
func (f *fixture) trail(event audit.Event) []map[string]any {
	if event != "" {
		return f.log.event(string(event))
	}
	return f.log.matching(func(fields map[string]any) bool { return fields["msg"] == audit.Message })
}

// TestHealth: what an issuer and its storage need to be asked for anything.
func TestHealth(t *testing.T) {
	f := newFixture(t)
	if err := f.Health(); err != nil {
		t.Errorf("an issuer that is well: %v", err)
	}
	if err := f.state.Health(t.Context()); err != nil {
		t.Errorf("a storage that is well: %v", err)
	}
	without := &Issuer{config: f.config, state: f.state, realm: &realm{keys: keys.NewRing(f.store, fixtureURL)}}
	if err := without.Health(); err == nil || !strings.Contains(err.Error(), fixtureURL) {
		t.Errorf("an issuer without a key: %v", err)
	}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.state.Health(t.Context()); err == nil {
		t.Error("a storage that was closed is well")
	}
}
