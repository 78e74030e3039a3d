package issuer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// update sends new metadata to the client's own address.
func (f *fixture) update(c *registered, body string, changes ...fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodPut, "/register/"+c.ID, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.AccessToken)
	for _, change := range changes {
		change(r)
	}
	return f.send(r)
}

// remove sends a deletion, whose success has no body (RFC 7592 §2.3).
func (f *fixture) remove(c *registered, change fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodDelete, "/register/"+c.ID, nil)
	change(r)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	checkNotStored(f.t, w)
	if w.Code != http.StatusNoContent {
		checkAnswer(f.t, w)
	}
	return w
}

// Whoever registers a client and removes it again has the server look for what people
// granted to it only if somebody has: that takes the longer the more there is.
func TestRemovalOfUnusedClientIsCheap(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	looked := new(listCounter)
	looked.Storage, f.store.Storage = f.store.Storage, looked
	remove := func(c *registered) int64 {
		looked.authorizations.Store(0)
		if w := f.remove(c, withBearer(c.AccessToken)); w.Code != http.StatusNoContent {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return looked.authorizations.Load()
	}
	if n := remove(f.selfRegistered(goodMetadata)); n != 0 {
		t.Error("what everybody granted was read for a client that nobody has agreed to")
	}
	c := f.selfRegistered(goodMetadata)
	token := f.tokens(f.post("/token", redeemForm(f.signedIn(f.person(fixtureProfile)).code("client_id", c.ID, "scope", "openid")), c.as()))
	if n := remove(c); n == 0 {
		t.Error("what somebody granted was not looked for")
	}
	f.judge(token.AccessToken, false, "after its client was removed")
}

// listCounter counts how often all authorizations are read in a write.
type listCounter struct {
	storage.Storage
	authorizations atomic.Int64
}

func (s *listCounter) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.Update(ctx, func(tx storage.Tx) error { return fn(listCountingTx{tx, s}) })
}

type listCountingTx struct {
	storage.Tx
	counter *listCounter
}

func (tx listCountingTx) List(kind, prefix string, fn func(string, []byte) error) error {
	if kind == "authorization" {
		tx.counter.authorizations.Add(1)
	}
	return tx.Tx.List(kind, prefix, fn)
}

// RFC 7592 §2.1: the client reads what it is registered with; the secret, of
// which there is only a hash, is not part of it.
func TestReadRegisteredClient(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(goodMetadata)
	w := f.get("/register/"+c.ID, withBearer(c.AccessToken))
	expect(t, w, 200, "")
	read := f.registered(w)
	if read.Secret != "" || read.SecretExpiresAt != nil || read.AccessToken != c.AccessToken || read.URI != c.URI || read.IssuedAt != c.IssuedAt {
		t.Errorf("%+v", read)
	}
	read.Secret, read.SecretExpiresAt = c.Secret, c.SecretExpiresAt
	if fmt.Sprintf("%+v", read) != fmt.Sprintf("%+v", c) {
		t.Errorf("read %+v, registered %+v", read, c)
	}
}

// RFC 7592 §2: 401 for any token but the client's own, and the same for a client
// that there is not.
func TestRegistrationAccessTokenRefused(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c, other := f.selfRegistered(goodMetadata), f.selfRegistered(goodMetadata)
	made, _, err := f.AddClient(t.Context(), newService("made"))
	if err != nil {
		t.Fatal(err)
	}
	disabled := f.selfRegistered(goodMetadata)
	err = f.store.Update(t.Context(), func(tx storage.Tx) error {
		client, err := clients.Get(tx, fixtureURL, disabled.ID)
		if err != nil {
			return err
		}
		client.Disabled = true
		return clients.Put(tx, fixtureURL, client)
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, attempt := range map[string]struct {
		id     string
		change fixtureRequest
	}{
		"no token":                       {c.ID, func(*http.Request) {}},
		"a forged token":                 {c.ID, withBearer(clients.NewSecret())},
		"another client's token":         {c.ID, withBearer(other.AccessToken)},
		"the client's secret":            {c.ID, withBearer(c.Secret)},
		"the secret in Basic":            {c.ID, c.as()},
		"no such client":                 {"nobody", withBearer(c.AccessToken)},
		"a star":                         {"*", withBearer(c.AccessToken)},
		"a client that an operator made": {made.ID, withBearer(c.AccessToken)},
		"a declared client":              {"svc", withBearer(c.AccessToken)},
		"the hash of nothing":            {made.ID, withBearer("AA")},
		"a disabled client":              {disabled.ID, withBearer(disabled.AccessToken)},
	} {
		t.Run(name, func(t *testing.T) {
			target := &registered{ID: attempt.id}
			without := func(r *http.Request) { r.Header.Del("Authorization") }
			expect(t, f.get("/register/"+attempt.id, attempt.change), 401, oauth.InvalidToken)
			expect(t, f.update(target, goodMetadata, without, attempt.change), 401, oauth.InvalidToken)
			expect(t, f.remove(target, attempt.change), 401, oauth.InvalidToken)
		})
	}
	expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 200, "")
	expect(t, f.get("/register/"+c.ID+"/", withBearer(c.AccessToken)), 200, "")
	expect(t, f.post("/register/"+c.ID, goodMetadata, withBearer(c.AccessToken)), 405, oauth.InvalidRequest)
}

// RFC 7592 §2.2: an update replaces the metadata; secret and token stay.
func TestUpdateRegisteredClient(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(with(`"client_name":"Before","scope":"openid email"`))
	w := f.update(c, fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"redirect_uris":["https://app.test/new"],"token_endpoint_auth_method":"client_secret_post"}`, c.ID, c.Secret))
	expect(t, w, 200, "")
	updated := f.registered(w)
	if updated.Name != "" || updated.Scope != "openid profile email offline_access" || updated.RedirectURIs[0] != "https://app.test/new" || len(updated.RedirectURIs) != 1 ||
		updated.AuthMethod != clientSecretPost || updated.Secret != "" || updated.AccessToken != c.AccessToken {
		t.Errorf("%+v: what is left out is gone, and nothing is made anew", updated)
	}
	if !f.authenticates(c) {
		t.Error("the secret works no longer")
	}
	v := f.signedIn(f.person(fixtureProfile))
	v.authorize(authorization("client_id", c.ID, "scope", "openid", "redirect_uri", "https://app.test/cb")).
		expectStatus(400, "an answer goes to registered redirect URIs only")
}

func TestUpdateRegisteredClientRefuses(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c, other := f.selfRegistered(goodMetadata), f.selfRegistered(goodMetadata)
	id := func(members string) string {
		return fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://app.test/new"],%s}`, c.ID, members)
	}
	for name, body := range map[string]string{
		"no client_id":                 goodMetadata,
		"a null client_id":             with(`"client_id":null`),
		"another client's id":          with(fmt.Sprintf(`"client_id":%q`, other.ID)),
		"a client_id of another type":  with(`"client_id":[]`),
		"another secret":               id(`"client_secret":"chosen"`),
		"another client's secret":      id(fmt.Sprintf(`"client_secret":%q`, other.Secret)),
		"an empty secret":              id(`"client_secret":""`),
		"a secret of another type":     id(`"client_secret":{}`),
		"its registration token":       id(fmt.Sprintf(`"registration_access_token":%q`, c.AccessToken)),
		"its address":                  id(fmt.Sprintf(`"registration_client_uri":%q`, c.URI)),
		"when it was registered":       id(`"client_id_issued_at":1`),
		"when its secret expires":      id(`"client_secret_expires_at":0`),
		"a public client in its place": id(`"token_endpoint_auth_method":"none"`),
		"a grant it may not have":      id(`"grant_types":["client_credentials"]`),
		"a jwks_uri":                   id(`"jwks_uri":"http://127.0.0.1:2019/"`),
		"repeated members":             id(`"client_name":"a","client_name":"b"`),
	} {
		t.Run(name, func(t *testing.T) { expect(t, f.update(c, body), 400, oauth.InvalidClientMetadata) })
	}
	expect(t, f.update(c, fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://*.evil.test"]}`, c.ID)), 400, oauth.InvalidRedirectURI)
	if client, err := f.Client(t.Context(), c.ID); err != nil || client.RedirectURIs[0] != "https://app.test/cb" || client.Name != "Self" {
		t.Errorf("a refused update changed the client: %+v, %v", client, err)
	}
}

// RFC 7592 §2.3: what the client held ends with it.
func TestRemoveRegisteredClient(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	c := f.selfRegistered(`{"redirect_uris":["https://app.test/cb"],"grant_types":["authorization_code","refresh_token"]}`)
	stays := f.selfRegistered(goodMetadata)
	v := f.signedIn(f.person(fixtureProfile))
	request := []string{"client_id", c.ID, "scope", "openid offline_access"}
	tokens := f.tokens(f.post("/token", redeemForm(v.code(request...)), c.as()))
	pending := v.code(request...)
	f.judge(tokens.AccessToken, true, "before")
	if w := f.remove(c, withBearer(c.AccessToken)); w.Code != 204 || w.Body.Len() > 0 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	f.judge(tokens.AccessToken, false, "an access token of the client")
	expect(t, f.post("/token", refreshForm(tokens.RefreshToken), c.as()), 401, oauth.InvalidClient)
	expect(t, f.post("/token", redeemForm(pending), c.as()), 401, oauth.InvalidClient)
	expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 401, oauth.InvalidToken)
	expect(t, f.remove(c, withBearer(c.AccessToken)), 401, oauth.InvalidToken)
	v.authorize(authorization(request...)).expectStatus(400, "a client that is gone gets no answer")
	expect(t, f.get("/register/"+stays.ID, withBearer(stays.AccessToken)), 200, "")
	f.restart()
	f.judge(tokens.AccessToken, false, "after a restart")
	if events := f.log.event("client_deregistered"); len(events) != 1 || events[0]["client_id"] != c.ID {
		t.Errorf("audit %v", events)
	}
	f.unknown(c.Secret, c.AccessToken)
}

// A client that is removed makes room for another.
func TestRemoveUnusedClientMakesRoom(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) { c.Registration.Unused = 1 })
	for range 3 {
		c := f.selfRegistered(goodMetadata)
		expect(t, f.postMetadata(goodMetadata), 429, oauth.TemporarilyUnavailable)
		f.remove(c, withBearer(c.AccessToken))
	}
}

// Programs in browsers may register and manage themselves (Fetch standard, CORS).
func TestRegistrationCrossOrigin(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	for path, method := range map[string]string{"/register": "POST", "/register/x": "PUT"} {
		r := httptest.NewRequest(http.MethodOptions, path, nil)
		r.Header.Set("Origin", "https://app.test")
		r.Header.Set("Access-Control-Request-Method", method)
		r.Header.Set("Access-Control-Request-Headers", "authorization, mcp-protocol-version")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != 204 || !strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), method) || w.Header().Get("Access-Control-Allow-Credentials") != "" ||
			w.Header().Get("Access-Control-Allow-Headers") != "*, Authorization" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}
