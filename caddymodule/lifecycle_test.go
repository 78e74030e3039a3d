package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// references is how many configurations hold the storage of the app in force.
func references(t testing.TB) int {
	t.Helper()
	n, _ := vaults.References(activeApp(t).place)
	return n
}

// held is how many storages the process holds.
func held() (n int) {
	vaults.Range(func(any, any) bool { n++; return true })
	return n
}

// TestReload: a reload logs nobody out, whatever it changes.
func TestReload(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	secret := s.addClient("late", "api:read")
	good, revoked := s.token("late", secret), s.token("late", secret)
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
	jwks := s.send("GET", "/.well-known/jwks.json", "").body
	first := activeApp(t).vault

	for _, test := range []struct {
		name, old, new string
		status         int // of GET with good
	}{
		{"the same configuration", "", "", 200},
		{"another scope is needed", "scope GET,HEAD api:read", "scope GET,HEAD api:write", 403},
		{"a scope is described otherwise", `"Read"`, `"Look"`, 200},
		{"the path of the storage, by another spelling", "oauth {", "oauth {\n\t\tstorage bolt {\n\t\t\tpath $DIR/caddy/../caddy/oauth.db\n\t\t}", 200},
		{"another lifetime", "issuer $GATE {", "issuer $GATE {\n\t\t\taccess_token_lifetime 10m", 200},
		{"another algorithm", "issuer $GATE {", "issuer $GATE {\n\t\t\tsigning_algorithm EdDSA", 200},
		{"back again", "", "", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := usualCaddyfile
			if test.old != "" {
				text = strings.Replace(text, test.old, test.new, 1)
			}
			if err := s.load(text); err != nil {
				t.Fatal(err)
			}
			s.send("GET", "/api/x", "", bearer(good)).want(t, test.status)
			s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
			s.tokenRequest("late", secret).want(t, 200)
			if activeApp(t).vault != first {
				t.Error("the storage was opened anew: what it remembers is lost")
			}
			eventually(t, "the old configuration gives the storage back", func() bool { return references(t) == 1 })
		})
	}
	if s.send("GET", "/.well-known/jwks.json", "").body == jwks {
		t.Error("the key of another algorithm is not published")
	}

	t.Run("another file", func(t *testing.T) {
		if err := s.load(strings.Replace(usualCaddyfile, "oauth {", "oauth {\n\t\tstorage bolt {\n\t\t\tpath $DIR/other/oauth.db\n\t\t}", 1)); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(good)).want(t, 401) // other keys
		eventually(t, "the first storage is closed", func() bool { return held() == 1 })
		if err := s.load(usualCaddyfile); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(good)).want(t, 200)
		s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
	})
}

// TestReloadUnderLoad: 20 reloads while requests come steadily, and not one is
// answered wrongly. New connections that fail are Caddy's own (a listener is
// handed over) and are made again.
func TestReloadUnderLoad(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	good, revoked := s.appToken(), s.appToken()
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)

	var group sync.WaitGroup
	var answered, failed atomic.Int64
	stop := make(chan struct{})
	ask := func(want int, request func() (answer, error)) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			a, err := request()
			switch {
			case err != nil:
				failed.Add(1)
			case a.StatusCode != want:
				t.Errorf("status %d, want %d: %s", a.StatusCode, want, a.body)
				return
			default:
				answered.Add(1)
			}
		}
	}
	group.Go(func() { ask(200, func() (answer, error) { return s.try("GET", "/api/x", "", bearer(good)) }) })
	group.Go(func() { ask(401, func() (answer, error) { return s.try("GET", "/api/x", "", bearer(revoked)) }) })
	group.Go(func() {
		ask(200, func() (answer, error) {
			return s.try("POST", "/token", "grant_type=client_credentials", basic("app", appSecret), "Content-Type: application/x-www-form-urlencoded")
		})
	})
	for n := range 20 {
		enough := answered.Load() + 30
		eventually(t, "requests come between reloads", func() bool { return answered.Load() >= enough || t.Failed() })
		if err := s.load(strings.Replace(usualCaddyfile, `"Read"`, fmt.Sprintf(`"Read %d"`, n), 1)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
	if failed.Load()*10 > answered.Load() {
		t.Errorf("%d of %d connections failed", failed.Load(), failed.Load()+answered.Load())
	}
	eventually(t, "one reference to the storage is left", func() bool { return references(t) == 1 })
}

// failing is a handler that cannot be provisioned: a configuration with it fails
// after everything before it was provisioned.
type failing struct{}

func (failing) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oauth_test_failing", New: func() caddy.Module { return new(failing) }}
}

func (*failing) Provision(caddy.Context) error { return errors.New("fails as the test wants it") }

var _ caddy.Provisioner = (*failing)(nil)

func init() { caddy.RegisterModule(failing{}) }

// TestFailedReload: whatever fails, and when, the configuration before it goes
// on, and nothing is held by the one that failed.
func TestFailedReload(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	secret := s.addClient("late", "api:read")
	good := s.token("late", secret)
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	storage := func(path string) string { return "oauth {\n\t\tstorage bolt {\n\t\t\tpath " + path + "\n\t\t}" }
	for _, test := range []struct{ name, old, new, says string }{
		{"a mistake in the issuer", "issuer $GATE {", "issuer $GATE/ {", "slash"},
		{"a mistake in a second issuer", "oauth {", "oauth {\n\t\tissuer https://b.example {\n\t\t\taccess_token_lifetime 1s\n\t\t}", "lifetime"},
		{"a gate that names no issuer", "resource $GATE/api", "resource $GATE/api\n\t\tissuer https://nobody.example", "no issuer https://nobody.example"},
		{"a gate with a bad resource", "resource $GATE/api", "resource nowhere", "resource"},
		{"the path of the storage has no value", "oauth {", storage("{env.OAUTH_TEST_UNSET}/oauth.db"), "OAuth storage"},
		{"the storage lies below a file", "oauth {", storage("$DIR/file/oauth.db"), "/file"},
		{"the storage is no storage", "oauth {", storage("$DIR/file"), "/file"},
		{"a listener is taken", "$GATE {\n\toauth_issuer", "http://192.0.2.1:1 {\n\tbind 192.0.2.1\n\toauth_issuer", "192.0.2.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := s.load(strings.Replace(usualCaddyfile, test.old, test.new, 1))
			if err == nil {
				t.Fatal("it loads")
			}
			contains(t, err.Error(), strings.ReplaceAll(test.says, "$DIR", s.dir))
			s.stillServes(t, good, secret)
		})
	}
	t.Run("a module that is provisioned after ours", func(t *testing.T) {
		adapted, err := adapt(s.caddyfile(usualCaddyfile))
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(string(adapted), `"handle":[{"handler":"subroute"`, `"handle":[{"handler":"oauth_test_failing"},{"handler":"subroute"`, 1)
		if err := caddy.Load([]byte(broken), true); err == nil || !strings.Contains(err.Error(), "fails as the test wants it") {
			t.Fatalf("error %v", err)
		}
		s.stillServes(t, good, secret)
	})
}

// startsLate is an app that fails when it is started, and when that of this module
// has been.
type startsLate struct{ oauth *App }

func (*startsLate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oauth_test_starts_late", New: func() caddy.Module { return new(startsLate) }}
}

func (a *startsLate) Provision(ctx caddy.Context) (err error) {
	a.oauth, err = oauthApp(ctx)
	return err
}

func (a *startsLate) Start() error {
	if err := a.oauth.Start(); err != nil {
		return err
	}
	return errors.New("fails as the test wants it")
}

func (*startsLate) Stop() error { return nil }

func init() { caddy.RegisterModule(new(startsLate)) }

// TestFailedStart: a configuration that fails when its issuers are made already has
// no say about what outlives it. Its clients, and who is told of events, are those
// of the configuration that stays.
func TestFailedStart(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	good := s.appToken()
	kek, _ := s.writeKEK("kek", 0x5b)
	other := strings.Replace(withKEK(kek), "client app {", "client other {", 1)
	encrypted := func() bool { return bytes.Contains(s.storedFile(), []byte(`"encrypted_key"`)) }
	adapted, err := adapt(s.caddyfile(other))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what comes of the first is what the second meets
		broken := strings.Replace(string(adapted), `"apps":{`, `"apps":{"oauth_test_starts_late":{},`, 1)
		if err := caddy.Load([]byte(broken), true); err == nil || !strings.Contains(err.Error(), "fails as the test wants it") {
			t.Fatalf("error %v", err)
		}
		s.send("GET", "/api/x", "", bearer(good)).want(t, 200)
		s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200)
	}
	if encrypted() {
		t.Error("the keys are encrypted with a key that the configuration in force does not have")
	}
	if latest := activeApp(t).vault.configurations.latest(); latest != activeApp(t) {
		t.Error("another configuration is told of the health of the storage")
	}
	eventually(t, "what failed gives everything back", func() bool { return held() == 1 && references(t) == 1 })
	s.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, 200)
	eventually(t, "the trail hears of the key", func() bool { return strings.Contains(s.log(), `"event":"key_made"`) })
	if err := s.load(other); err != nil {
		t.Fatal(err)
	}
	s.send("GET", "/api/x", "", bearer(good)).want(t, 401)
	if !encrypted() {
		t.Error("a reload that succeeds does not encrypt the keys")
	}
}

// stillServes: the gate, the issuer and the admin API work on the configuration
// in force, and one configuration holds one storage.
func (s *server) stillServes(t *testing.T, token, secret string) {
	t.Helper()
	s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	s.tokenRequest("late", secret).want(t, 200)
	s.adminCall("GET", "/oauth/clients/late", nil).want(t, 200)
	eventually(t, "what failed gives everything back", func() bool { return held() == 1 && references(t) == 1 })
}

// TestHandlersTwice: a gate and an issuer can stand on many routes.
func TestHandlersTwice(t *testing.T) {
	b := startBackend(t)
	s := start(t, strings.Replace(usualCaddyfile, "\toauth_issuer\n", `	oauth_issuer
	oauth_issuer $GATE
	oauth_protect /api/strict/* {
		resource $GATE/strict
	}
`, 1), b.address)
	// Two gates protect two resources, so a request has to name one.
	s.tokenRequest("app", appSecret).want(t, 400)
	one := s.appToken("resource=" + s.url + "/api")
	both := s.appToken("resource="+s.url+"/api", "resource="+s.url+"/strict")
	s.send("GET", "/api/x", "", bearer(one)).want(t, 200)
	s.send("GET", "/api/strict/x", "", bearer(one)).want(t, 401)
	s.send("GET", "/api/strict/x", "", bearer(both)).want(t, 401) // the inner gate takes the token away: the outer one sees none
	if references(t) != 1 {
		t.Errorf("%d references", references(t))
	}
}

// TestUnload: what was loaded leaves no goroutine and no open storage.
func TestUnload(t *testing.T) {
	s := newServer(t, "")
	// Not a proxy: it keeps connections to its backend beyond its own end.
	text := strings.Replace(usualCaddyfile, "reverse_proxy /api/* $BACKEND", "respond /api/* ok", 1)
	t.Setenv("XDG_DATA_HOME", s.dir)
	cycle := func() {
		if err := s.load(text); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200)
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	cycle() // what Caddy starts once per process is there after it
	eventually(t, "the storage is closed", func() bool { return held() == 0 })
	var base int
	eventually(t, "the goroutines of the first cycle end", func() bool {
		now := runtime.NumGoroutine()
		same := now == base
		base = now
		return same
	})
	for range 3 {
		cycle()
	}
	eventually(t, "the goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= base })
	eventually(t, "the storage is closed", func() bool { return held() == 0 })
}

// TestVaultAfterDestruct: a late request of a configuration that is gone is told
// so, and does not open the storage again behind everybody's back.
func TestVaultAfterDestruct(t *testing.T) {
	v := new(vault)
	if err := v.Destruct(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.open(noStorage{}, nil); !errors.Is(err, errVaultClosed) {
		t.Errorf("%v, want errVaultClosed", err)
	}
}
