package issuer

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const (
	agentSecret  = "canary-agent"
	fixtureAdmin = "https://admin.test" // protected, and not for agents
)

var asAgent = withBasic("agent", agentSecret)

// newExchange makes an issuer that trusts a provider, with these clients beside
// those of the fixture:
//
//	agent     exchanges tokens for https://api.test and https://files.test/v1 (read, write)
//	second    like agent
//	imp       may do without an actor token
//	retired   disabled, of the same grants
func newExchange(t testing.TB, changes ...func(*Config)) (*fixture, *foreignIDP) {
	t.Helper()
	p := newForeignIDP(t)
	exchanging := func(id string) clients.Client {
		return clients.Client{
			Metadata: clients.Metadata{
				ID: id, Type: clients.Confidential, Scope: oauth.Scope{"read", "write"},
				GrantTypes: []string{"client_credentials", oauth.GrantTokenExchange},
				Resources:  []string{fixtureAPI, fixtureFiles},
			},
			Secrets: []clients.Secret{{Hash: clients.HashSecret("canary-" + id)}},
		}
	}
	clients := func(c *Config) {
		imp := exchanging("imp")
		imp.Impersonation = true
		c.Clients = append(c.Clients, exchanging("agent"), exchanging("second"), imp)
		c.Resources = func() []string { return []string{fixtureAPI, fixtureFiles, fixtureAdmin} }
	}
	return newFixture(t, append([]func(*Config){clients, trusting(p)}, changes...)...), p
}

// exchange asks for a token for the subject token, on behalf of agent; changed
// parameters replace, "" leaves one out.
func (f *fixture) exchange(subjectToken string, changes url.Values, as ...fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	if len(as) == 0 {
		as = []fixtureRequest{asAgent}
	}
	form := url.Values{
		"grant_type":         {oauth.GrantTokenExchange},
		"subject_token":      {subjectToken},
		"subject_token_type": {tokenTypeAccessToken},
		"actor_token_type":   {tokenTypeAccessToken},
		"audience":           {fixtureAPI},
	}
	if _, given := changes["actor_token"]; !given {
		form.Set("actor_token", f.issue(asAgent, ""))
	}
	maps.Copy(form, changes)
	return f.post("/token", form.Encode(), as...)
}

// exchanged is a successful answer (RFC 8693 §2.2.1).
type exchanged struct {
	AccessToken     string  `json:"access_token"`
	IssuedTokenType string  `json:"issued_token_type"`
	TokenType       string  `json:"token_type"`
	ExpiresIn       int64   `json:"expires_in"`
	Scope           string  `json:"scope"`
	RefreshToken    *string `json:"refresh_token"`
}

func exchangedOf(t testing.TB, w *httptest.ResponseRecorder) exchanged {
	t.Helper()
	expect(t, w, 200, "")
	var answer exchanged
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no token: %v %s", err, w.Body)
	}
	checkNotStored(t, w)
	if answer.IssuedTokenType != tokenTypeAccessToken || answer.TokenType != "Bearer" || answer.RefreshToken != nil {
		t.Errorf("answer %+v (RFC 8693 section 2.2.1)", answer)
	}
	return answer
}

// Delegation (RFC 8693 §1.1): the token speaks for alice, and tells that agent acts.
func TestTokenExchange(t *testing.T) {
	f, p := newExchange(t)
	answer := exchangedOf(t, f.exchange(p.token(nil, nil), nil))
	facts := f.facts(answer.AccessToken)
	if facts.Issuer != fixtureURL || facts.Subject != p.URL+"|alice" || facts.ClientID != "agent" || !slices.Equal(facts.Audience, []string{fixtureAPI}) {
		t.Errorf("facts %+v", facts)
	}
	if facts.Actor == nil || facts.Actor.Subject != "agent" || facts.Actor.Actor != nil {
		t.Errorf("actor %+v", facts.Actor)
	}
	if answer.ExpiresIn > 300 || answer.ExpiresIn < 290 {
		t.Errorf("expires_in %d, and the subject token lives 300 seconds", answer.ExpiresIn)
	}
}

// Whatever is wrong with the subject token is invalid_request (RFC 8693 §2.2.2).
// Every mistake is told apart in TestForeignSubjectRefusals; here it reaches the
// client, and nothing is issued.
func TestTokenExchangeSubjectToken(t *testing.T) {
	f, p := newExchange(t)
	other := newForeignIDP(t)
	good := p.token(nil, nil)
	for _, test := range []struct{ must, token string }{
		{"RFC 8725 §3.1: alg none", encode64(marshal(p.header(map[string]any{"alg": "none"}))) + "." + encode64(marshal(p.claims(nil))) + "."},
		{"RFC 8725 §2.1: HS256 with the public key", p.signHMAC(nil)},
		{"RFC 7515 §4.1.4: unknown kid", p.token(map[string]any{"kid": "k2"}, nil)},
		{"RFC 7519 §4.1.4: exp is 0", p.token(nil, map[string]any{"exp": 0})},
		{"RFC 9068 §2.2: aud missing", p.token(nil, map[string]any{"aud": nil})},
		{"RFC 9068 §4: aud is another relying party", p.token(nil, map[string]any{"aud": "https://rp.test"})},
		{"RFC 9068 §4: aud has ours among others", p.token(nil, map[string]any{"aud": []string{"a", "b", fixtureURL, "c", "d", "e"}})},
		{"RFC 9068 §4: unknown iss", p.token(nil, map[string]any{"iss": "https://evil.test"})},
		{"RFC 9068 §4: key of another issuer", other.token(nil, map[string]any{"iss": p.URL})},
		{"RFC 7516: encrypted", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA"},
		{"RFC 8693 §2.1: opaque", "opaque-alice"},
		{"RFC 7519 §4: duplicate sub", p.sign(marshal(p.header(nil)), []byte(strings.Replace(string(marshal(p.claims(nil))), "{", `{"sub":"admin",`, 1)))},
		{"RFC 9068 §2.2: sub missing", p.token(nil, map[string]any{"sub": nil})},
		{"RFC 8693 §2.1: missing", ""},
		{"RFC 8693 §4.4: may_act names another", p.token(nil, map[string]any{"may_act": map[string]any{"sub": "second"}})},
		{"RFC 8693 §4.4: may_act names a client of another issuer", p.token(nil, map[string]any{"may_act": map[string]any{"sub": "agent", "iss": "https://evil.test"}})},
		{"RFC 8693 §4.1: act of 50", p.token(nil, map[string]any{"act": nestedActor(50)})},
		{"RFC 8693 §4.1: act too deep", p.token(nil, map[string]any{"act": nestedActor(maxActors)})},
		{"RFC 8693 §1.1: a client's own token", f.issue(withBasic("second", "canary-second"), "")},
		{"its last byte", good[:len(good)-1]},
	} {
		t.Run(test.must, func(t *testing.T) {
			issued := len(f.log.event("token_issued"))
			w := f.exchange(test.token, nil)
			expect(t, w, 400, oauth.InvalidRequest)
			if text := w.Body.String(); strings.Contains(text, p.URL) || strings.Contains(text, "alice") || strings.Contains(text, "evil") {
				t.Errorf("the answer tells of the token: %s", text)
			}
			if n := len(f.log.event("token_issued")) - issued; n != 1 { // the actor's
				t.Errorf("%d tokens were issued, want the actor token alone", n)
			}
		})
	}
	t.Run("RFC 8693 §2.1: 64 KiB", func(t *testing.T) {
		w := f.exchange(strings.Repeat("a", 60<<10), nil)
		expect(t, w, 400, oauth.InvalidRequest)
		if w = f.exchange(strings.Repeat("a", 64<<10), nil); w.Code < 400 || errorOf(t, w) != oauth.InvalidRequest {
			t.Errorf("answer %d %s", w.Code, w.Body)
		}
	})
}

// The actor is the client that asks, and proves it by a token it got for itself.
func TestTokenExchangeActorToken(t *testing.T) {
	f, p := newExchange(t)
	subject := p.token(nil, nil)
	actor := func(token string) url.Values { return url.Values{"actor_token": {token}} }
	revoked := f.issue(asAgent, "")
	expect(t, f.post("/revoke", "token="+revoked, asAgent), 200, "")
	again := exchangedOf(t, f.exchange(subject, nil)).AccessToken
	for _, test := range []struct {
		must    string
		changes url.Values
	}{
		{"RFC 8693 §2.1: actor_token_type without actor_token", actor("")},
		{"RFC 8693 §2.1: actor_token without its type", url.Values{"actor_token_type": {""}}},
		{"RFC 8693 §2.1: of another type", url.Values{"actor_token_type": {tokenTypeIDToken}}},
		{"RFC 8693 §1.1: neither, by a client that may not impersonate", url.Values{"actor_token": {""}, "actor_token_type": {""}}},
		{"RFC 8693 §2.2.2: garbage", actor("garbage")},
		{"RFC 8693 §2.2.2: revoked", actor(revoked)},
		{"RFC 8693 §1.1: another client's", actor(f.issue(withBasic("second", "canary-second"), ""))},
		{"RFC 8693 §1.1: one that was exchanged", actor(again)},
		{"RFC 8693 §1.1: of a foreign issuer", actor(p.token(nil, map[string]any{"sub": "agent", "client_id": "agent"}))},
		{"RFC 8693 §2.1: requested type", url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}},
		{"RFC 8693 §2.1: subject type missing", url.Values{"subject_token_type": {""}}},
		{"RFC 8693 §2.1: subject type unknown", url.Values{"subject_token_type": {"access_token"}}},
	} {
		t.Run(test.must, func(t *testing.T) { expect(t, f.exchange(subject, test.changes), 400, oauth.InvalidRequest) })
	}
	t.Run("actor and subject swapped", func(t *testing.T) {
		w := f.exchange(f.issue(asAgent, ""), actor(subject))
		expect(t, w, 400, oauth.InvalidRequest)
	})
}

// An actor token ends with its client, and with its time.
func TestTokenExchangeActorGone(t *testing.T) {
	f, p := newExchange(t)
	client, secret, err := f.AddClient(t.Context(), clients.Metadata{
		Type: clients.Confidential, GrantTypes: []string{"client_credentials", oauth.GrantTokenExchange}, Scope: oauth.Scope{"read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	as := withBasic(client.ID, secret)
	token := url.Values{"actor_token": {f.issue(as, "")}}
	exchangedOf(t, f.exchange(p.token(nil, nil), token, as))
	if err := f.RemoveClient(t.Context(), client.ID); err != nil {
		t.Fatal(err)
	}
	if w := f.exchange(p.token(nil, nil), token); errorOf(t, w) != oauth.InvalidRequest {
		t.Errorf("the token of a removed client: %d %s", w.Code, w.Body)
	}
}

// Who may exchange (RFC 6749 §5.2), and for what (RFC 8693 §2.2.2, RFC 8707 §2).
func TestTokenExchangePolicy(t *testing.T) {
	f, p := newExchange(t)
	readOnly := p.token(nil, nil)
	for _, test := range []struct {
		must    string
		changes url.Values
		as      fixtureRequest
		status  int
		code    oauth.ErrorCode
	}{
		{"public client", url.Values{"client_id": {"spa"}, "actor_token": {"x"}}, func(*http.Request) {}, 400, oauth.UnauthorizedClient},
		{"client without the grant", url.Values{"actor_token": {"x"}}, asSvc, 400, oauth.UnauthorizedClient},
		{"audience that is not the client's", url.Values{"audience": {fixtureAdmin}}, asAgent, 400, oauth.InvalidTarget},
		{"audience that nobody has", url.Values{"audience": {"https://nowhere.test"}}, asAgent, 400, oauth.InvalidTarget},
		{"one of several is not allowed", url.Values{"audience": {fixtureAPI, fixtureFiles}, "resource": {"https://c.test"}}, asAgent, 400, oauth.InvalidTarget},
		{"resource with a fragment", url.Values{"resource": {fixtureAPI + "#x"}}, asAgent, 400, oauth.InvalidTarget},
		{"resource that is relative", url.Values{"resource": {"/api"}}, asAgent, 400, oauth.InvalidTarget},
		{"resource that is a script", url.Values{"resource": {"javascript:alert(1)"}}, asAgent, 400, oauth.InvalidTarget},
		{"scope that the client may not have", url.Values{"scope": {"admin"}}, asAgent, 400, oauth.InvalidScope},
		{"scope about people", url.Values{"scope": {"openid"}}, asAgent, 400, oauth.InvalidScope},
		{"several audiences of the client", url.Values{"audience": {fixtureAPI, fixtureFiles}}, asAgent, 200, ""},
		{"a narrower scope", url.Values{"scope": {"read"}}, asAgent, 200, ""},
		{"values in quotation marks", url.Values{"grant_type": {`"` + oauth.GrantTokenExchange + `"`}, "subject_token_type": {`"` + tokenTypeAccessToken + `"`}}, asAgent, 200, ""},
	} {
		t.Run(test.must, func(t *testing.T) { expect(t, f.exchange(readOnly, test.changes, test.as), test.status, test.code) })
	}
}

// What the trusted issuer's configuration allows bounds the scope, and which
// clients may come.
func TestTokenExchangeTrustedIssuerPolicy(t *testing.T) {
	f, p := newExchange(t, func(c *Config) {
		c.TrustedIssuers[0].Scope = oauth.Scope{"read"}
		c.TrustedIssuers[0].Clients = []string{"agent"}
	})
	subject := p.token(nil, map[string]any{"scope": "read write admin"})
	if got := exchangedOf(t, f.exchange(subject, nil)).Scope; got != "read" {
		t.Errorf("scope %q, want what the issuer's tokens are good for", got)
	}
	expect(t, f.exchange(subject, url.Values{"scope": {"write"}}), 400, oauth.InvalidScope)
	second := withBasic("second", "canary-second")
	w := f.exchange(subject, url.Values{"actor_token": {f.issue(second, "")}}, second)
	expect(t, w, 400, oauth.InvalidRequest)
}

// The ways to authenticate: what is in the examples of RFC 6749 §2.3.1, and the
// client's own token, with and without Bearer.
func TestTokenExchangeClientAuthentication(t *testing.T) {
	f, p := newExchange(t)
	own := f.issue(asAgent, "")
	for name, test := range map[string]struct {
		changes url.Values
		as      fixtureRequest
	}{
		"client_secret_basic": {nil, asAgent},
		"client_secret_post":  {url.Values{"client_id": {"agent"}, "client_secret": {agentSecret}}, func(*http.Request) {}},
		"its token":           {nil, withHeader("Authorization", "Bearer "+own)},
		"its token, bare":     {nil, withHeader("Authorization", own)},
	} {
		t.Run(name, func(t *testing.T) {
			facts := f.facts(exchangedOf(t, f.exchange(p.token(nil, nil), test.changes, test.as)).AccessToken)
			if facts.ClientID != "agent" || facts.Actor.Subject != "agent" {
				t.Errorf("facts %+v", facts)
			}
		})
	}
	for name, token := range map[string]string{
		"garbage":                "garbage",
		"the subject token":      p.token(nil, nil),
		"one that was exchanged": exchangedOf(t, f.exchange(p.token(nil, nil), nil)).AccessToken,
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, f.exchange(p.token(nil, nil), nil, withHeader("Authorization", "Bearer "+token)), 401, oauth.InvalidClient)
		})
	}
}

// A foreign name never passes for one of ours (RFC 8693 §4.1: iss and sub
// together name somebody).
func TestTokenExchangeNames(t *testing.T) {
	f, p := newExchange(t)
	for _, name := range []string{"admin", "agent", "svc", "a|b", fixtureURL + "|x"} {
		facts := f.facts(exchangedOf(t, f.exchange(p.token(nil, map[string]any{"sub": name}), nil)).AccessToken)
		if facts.Subject != p.URL+"|"+name {
			t.Errorf("%q became %q", name, facts.Subject)
		}
	}
	// Nor does a foreign actor, when nobody of ours is put before it.
	imp := withBasic("imp", "canary-imp")
	token := p.token(nil, map[string]any{"act": map[string]any{"sub": "agent"}})
	w := f.exchange(token, url.Values{"actor_token": {""}, "actor_token_type": {""}}, imp)
	facts := f.facts(exchangedOf(t, w).AccessToken)
	if facts.Actor == nil || facts.Actor.Issuer != p.URL {
		t.Errorf("a foreign actor became %+v", facts.Actor)
	}
}

// RFC 8693 §4.1: the new actor stands around the earlier ones.
func TestTokenExchangeChain(t *testing.T) {
	f, p := newExchange(t)
	for depth := range maxActors {
		claims := map[string]any{}
		if depth > 0 {
			claims["act"] = nestedActor(depth)
		}
		facts := f.facts(exchangedOf(t, f.exchange(p.token(nil, claims), nil)).AccessToken)
		length := 0
		for a := facts.Actor; a != nil; a = a.Actor {
			length++
		}
		if facts.Actor.Subject != "agent" || length != depth+1 {
			t.Errorf("%d actors before, %d after: %+v", depth, length, facts.Actor)
		}
	}
}

// RFC 8693 §4.4: whoever is named may act.
func TestTokenExchangeMayAct(t *testing.T) {
	f, p := newExchange(t)
	for _, mayAct := range []map[string]any{{"sub": "agent"}, {"sub": "agent", "iss": fixtureURL}} {
		exchangedOf(t, f.exchange(p.token(nil, map[string]any{"may_act": mayAct}), nil))
	}
}

// The new token lives no longer than the ones it came from.
func TestTokenExchangeLifetime(t *testing.T) {
	f, p := newExchange(t)
	expiry := time.Now().Add(30 * time.Second).Unix()
	answer := exchangedOf(t, f.exchange(p.token(nil, map[string]any{"exp": expiry}), nil))
	if got := f.facts(answer.AccessToken).Expiry.Unix(); got > expiry || answer.ExpiresIn > 30 {
		t.Errorf("expires at %d in %d s, after the subject token at %d", got, answer.ExpiresIn, expiry)
	}
	long := exchangedOf(t, f.exchange(p.token(nil, map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}), nil))
	if long.ExpiresIn > 3600 {
		t.Errorf("expires_in %d, more than the issuer's hour", long.ExpiresIn)
	}
}

// The provider cannot be asked: nothing is issued, and the answer comes soon.
func TestTokenExchangeProviderDown(t *testing.T) {
	f, p := newExchange(t)
	p.answer("/keys", p.fault("tarpit", ""))
	token := p.token(nil, nil)
	began := time.Now()
	w := f.exchange(token, nil)
	expect(t, w, 503, oauth.TemporarilyUnavailable)
	if took := time.Since(began); took > 3*time.Second || w.Header().Get("Retry-After") == "" {
		t.Errorf("after %v, %v", took, w.Header())
	}
}

// RFC 7662 §2.2: an answer that is not of the form is no yes.
func TestTokenExchangeOpaque(t *testing.T) {
	f, p := newExchange(t, func(c *Config) { withIntrospection(&c.TrustedIssuers[0]) })
	facts := f.facts(exchangedOf(t, f.exchange("opaque-alice", nil)).AccessToken)
	if facts.Subject != p.URL+"|alice" || time.Until(facts.Expiry) > time.Minute {
		t.Errorf("facts %+v", facts)
	}
	expect(t, f.exchange("garbage", nil), 400, oauth.InvalidRequest)
}

// Revoking an own subject token ends what was exchanged from it, and only that.
func TestTokenExchangeRevocation(t *testing.T) {
	f, p := newExchange(t)
	first := exchangedOf(t, f.exchange(p.token(nil, nil), nil)).AccessToken
	unrelated := exchangedOf(t, f.exchange(p.token(nil, nil), nil)).AccessToken
	second := withBasic("second", "canary-second")
	again := exchangedOf(t, f.exchange(first, url.Values{"actor_token": {f.issue(second, "")}}, second)).AccessToken
	actor := f.facts(again).Actor
	if actor.Subject != "second" || actor.Actor == nil || actor.Actor.Subject != "agent" {
		t.Errorf("actors %+v", actor)
	}
	expect(t, f.post("/revoke", "token="+first, asAgent), 200, "")
	f.judge(again, false, "exchanged from a revoked token")
	f.judge(unrelated, true, "exchanged from another token")
	expect(t, f.exchange(first, nil), 400, oauth.InvalidRequest)
}
