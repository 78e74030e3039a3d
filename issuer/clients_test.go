package issuer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func newService(id string) clients.Metadata {
	return clients.Metadata{ID: id, GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"read"}}
}

// add registers a client and returns what it authenticates with.
func (f *fixture) add(id string) fixtureRequest {
	f.t.Helper()
	_, secret, err := f.AddClient(f.t.Context(), newService(id))
	if err != nil {
		f.t.Fatalf("AddClient %s: %v", id, err)
	}
	return withBasic(id, secret)
}

func TestAddClient(t *testing.T) {
	f := newFixture(t)
	client, secret, err := f.AddClient(t.Context(), newService(""))
	if err != nil {
		t.Fatal(err)
	}
	if client.Type != clients.Confidential || len(client.ID) < 20 || len(secret) < 43 || client.Declared {
		t.Errorf("client %+v with a secret of %d characters", client, len(secret))
	}
	expect(t, f.post("/token", ccGrant, withBasic(client.ID, secret)), 200, "")
	f.restart()
	expect(t, f.post("/token", ccGrant, withBasic(client.ID, secret)), 200, "")

	err = f.store.View(t.Context(), func(tx storage.Tx) error {
		return tx.List(kindClient, "", func(key string, value []byte) error {
			if strings.Contains(string(value), secret) {
				t.Error("the secret itself is stored")
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	public, secret, err := f.AddClient(t.Context(), clients.Metadata{ID: "app", Type: clients.Public})
	if err != nil || secret != "" || len(public.Secrets) != 0 {
		t.Errorf("a public client: %+v, secret %q, %v", public, secret, err)
	}
	for _, id := range []string{"app", "svc"} {
		if _, secret, err := f.AddClient(t.Context(), newService(id)); !errors.Is(err, clients.ErrExists) || secret != "" {
			t.Errorf("an id that is taken (%s): %v", id, err)
		}
	}
}

// A client that people sign in for can do so without a word about scopes; any other
// has those that it names.
func TestDefaultScope(t *testing.T) {
	const redirect = "https://app.test/cb"
	for name, test := range map[string]struct {
		grants []string
		scope  oauth.Scope
		want   string
	}{
		"a web application":       {[]string{"authorization_code"}, nil, "openid profile email"},
		"that stays connected":    {[]string{"authorization_code", "refresh_token"}, nil, "openid profile email offline_access"},
		"a device":                {[]string{"device_code"}, nil, "openid profile email"},
		"with a scope":            {[]string{"authorization_code", "refresh_token"}, oauth.Scope{"read"}, "read"},
		"a service":               {[]string{"client_credentials"}, nil, ""},
		"nothing in particular":   {nil, nil, ""},
		"the full name, a device": {[]string{oauth.GrantDeviceCode}, nil, "openid profile email"},
	} {
		t.Run(name, func(t *testing.T) {
			metadata := clients.Metadata{ID: "new", Type: clients.Confidential, GrantTypes: test.grants, Scope: test.scope, RedirectURIs: []string{redirect}}
			added, _, err := newFixture(t).AddClient(t.Context(), metadata)
			must(t, err)
			declared := clients.Client{Metadata: metadata, Secrets: []clients.Secret{{Hash: clients.HashSecret("x")}}}
			declared.GrantTypes = slices.Clone(test.grants)
			f := newFixture(t, func(c *Config) { c.Clients = append(c.Clients, declared) })
			configured, err := f.Client(t.Context(), "new")
			must(t, err)
			for _, c := range []*clients.Client{added, configured} {
				if c.Scope.String() != test.want {
					t.Errorf("scope %q, want %q", c.Scope, test.want)
				}
			}
		})
	}
}

func TestAddClientRefuses(t *testing.T) {
	f := newFixture(t)
	for name, metadata := range map[string]clients.Metadata{
		"an id with a space":                 newService("a b"),
		"an id with a colon":                 newService("a:b"),
		"an id with a slash":                 newService("a/b"),
		"an id with a line feed":             newService("a\nb"),
		"an id that is not ASCII":            newService("é"),
		"an id of 129 characters":            newService(strings.Repeat("a", 129)),
		"a type that is not known":           {ID: "x", Type: "secret"},
		"a grant that is not known":          {ID: "x", GrantTypes: []string{"password"}},
		"RFC 6749 §4.4 a public one with cc": {ID: "x", Type: clients.Public, GrantTypes: []string{"client_credentials"}},
		"a scope that is not declared":       {ID: "x", Scope: oauth.Scope{"delete"}},
		"RFC 8707 §2 a relative resource":    {ID: "x", Resources: []string{"/api"}},
		"RFC 8707 §2 a fragment":             {ID: "x", Resources: []string{fixtureAPI + "#"}},
	} {
		if client, secret, err := f.AddClient(t.Context(), metadata); err == nil || client != nil || secret != "" {
			t.Errorf("%s: %+v, %v", name, client, err)
		}
	}
	if _, _, err := f.AddClient(t.Context(), newService(strings.Repeat("a", 128))); err != nil {
		t.Errorf("an id of 128 characters: %v", err)
	}
}

func TestClients(t *testing.T) {
	f := newFixture(t)
	f.add("new")
	all, err := f.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, client := range all {
		ids = append(ids, client.ID)
		if client.Declared == (client.ID == "new") {
			t.Errorf("%s: Declared %v", client.ID, client.Declared)
		}
	}
	if got := strings.Join(ids, " "); got != "new null off old other rs spa svc" {
		t.Errorf("clients %s", got)
	}
	if client, err := f.Client(t.Context(), "new"); err != nil || client.SecretsInForce(time.Now()) != 1 {
		t.Errorf("%+v, %v", client, err)
	}
	for _, id := range []string{"", "nobody", "a b", strings.Repeat("a", 1<<20)} {
		if _, err := f.Client(t.Context(), id); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("client %.20q: %v", id, err)
		}
	}
}

// Removing a client ends its tokens, and no other's; also one that was made in
// the same second. A client made anew under the id can work from the next
// second on, and the old tokens stay dead.
func TestRemoveClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		gone, stays := f.add("gone"), f.add("stays")
		token, neighbour, declared := f.issue(gone, ""), f.issue(stays, ""), f.issue(asSvc, "")
		f.judge(token, true, "before")
		if err := f.RemoveClient(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		f.judge(token, false, "a token of the client")
		f.judge(neighbour, true, "a token of another client")
		f.judge(declared, true, "a token of a declared client")
		expect(t, f.post("/token", ccGrant, gone), 401, oauth.InvalidClient)

		time.Sleep(time.Second)
		again := f.add("gone")
		renewed := f.issue(again, "")
		expect(t, f.post("/token", ccGrant, gone), 401, oauth.InvalidClient)
		f.restart()
		f.judge(renewed, true, "a token of the client made anew")
		f.judge(token, false, "a token of the client before it")
	})
}

func TestRemoveClientRefuses(t *testing.T) {
	f := newFixture(t)
	if err := f.RemoveClient(t.Context(), "svc"); !errors.Is(err, clients.ErrDeclared) {
		t.Errorf("a declared one: %v", err)
	}
	if err := f.RemoveClient(t.Context(), "nobody"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("one that is not: %v", err)
	}
	as := f.add("kept")
	token := f.issue(as, "")
	f.store.fail(storage.ErrUnavailable)
	if err := f.RemoveClient(t.Context(), "kept"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without a storage: %v", err)
	}
	f.store.recover()
	f.judge(token, true, "a token of a client that could not be removed")
	expect(t, f.post("/token", ccGrant, as), 200, "")
}

// A record that cannot be read is neither a client nor a free id; it can be
// removed.
func TestDamagedClient(t *testing.T) {
	f := newFixture(t)
	err := f.store.Update(t.Context(), func(tx storage.Tx) error {
		return tx.Put(kindClient, clientKey(fixtureURL, "torn"), []byte(`{"client_id":"torn",`), time.Time{})
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, f.post("/token", ccGrant, withBasic("torn", "canary")), 503, oauth.TemporarilyUnavailable)
	if _, _, err := f.AddClient(t.Context(), newService("torn")); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("AddClient: %v", err)
	}
	if _, err := f.Clients(t.Context()); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Clients: %v", err)
	}
	if err := f.RemoveClient(t.Context(), "torn"); err != nil {
		t.Errorf("RemoveClient: %v", err)
	}
	expect(t, f.post("/token", ccGrant, f.add("torn")), 200, "")
}

func TestRotateSecretRefuses(t *testing.T) {
	f := newFixture(t)
	if _, _, err := f.AddClient(t.Context(), clients.Metadata{ID: "app", Type: clients.Public}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{"svc": clients.ErrDeclared, "app": clients.ErrPublic, "nobody": storage.ErrNotFound} {
		if secret, err := f.RotateSecret(t.Context(), id, 0); !errors.Is(err, want) || secret != "" {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	as := f.add("new")
	if _, err := f.RotateSecret(t.Context(), "new", -time.Second); err == nil {
		t.Error("a negative overlap is accepted")
	}
	f.store.fail(storage.ErrBusy)
	if secret, err := f.RotateSecret(t.Context(), "new", 0); !errors.Is(err, storage.ErrBusy) || secret != "" {
		t.Errorf("without a storage: %v", err)
	}
	f.store.recover()
	expect(t, f.post("/token", ccGrant, as), 200, "")
}

// Of two that ask for an id at once one gets it, and the secret that was handed
// out is the one that works.
func TestAddClientRace(t *testing.T) {
	f := newFixture(t)
	const racers = 4
	f.store.hold(racers)
	var wait sync.WaitGroup
	var won atomic.Int32
	for range racers {
		wait.Go(func() {
			_, secret, err := f.AddClient(t.Context(), newService("one"))
			switch {
			case err == nil:
				won.Add(1)
				expect(t, f.post("/token", ccGrant, withBasic("one", secret)), 200, "")
			case !errors.Is(err, clients.ErrExists) || secret != "":
				t.Errorf("the loser: %v", err)
			}
		})
	}
	wait.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of %d registered the client", won.Load(), racers)
	}
}

// Every secret that a concurrent rotation handed out works for the overlap:
// none overwrites another.
func TestRotateSecretRace(t *testing.T) {
	f := newFixture(t)
	first := f.add("new")
	const racers = 4
	f.store.hold(racers)
	secrets := make([]string, racers)
	var wait sync.WaitGroup
	for n := range secrets {
		wait.Go(func() {
			var err error
			if secrets[n], err = f.RotateSecret(t.Context(), "new", time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	expect(t, f.post("/token", ccGrant, first), 200, "")
	for _, secret := range secrets {
		expect(t, f.post("/token", ccGrant, withBasic("new", secret)), 200, "")
	}
}
