package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// eventfulCaddyfile records the events of this module.
var eventfulCaddyfile = strings.Replace(usualCaddyfile, "{\n", `{
	events {
		on `+storageUnhealthy+` oauth_test_recorder
		on `+storageHealthy+` oauth_test_recorder
		on `+keyRotated+` oauth_test_recorder
		on `+refreshTokenReused+` oauth_test_recorder
	}
`, 1)

// eventNames are the events that were recorded.
func eventNames() (names []string) {
	recorded.Lock()
	defer recorded.Unlock()
	for _, event := range recorded.events {
		names = append(names, event.Name())
	}
	return names
}

// TestHealth: a server is ready while its storage answers and accepts writes and
// its issuers can sign, and says what is wrong when not; it says so in events, too,
// once for each change.
func TestHealth(t *testing.T) {
	recorded.events = nil
	b := startBackend(t)
	s := start(t, eventfulCaddyfile, b.address)
	health := func(status int) (h healthAnswer) {
		t.Helper()
		a := s.adminCall("GET", "/oauth/health", nil)
		a.want(t, status)
		if err := json.Unmarshal([]byte(a.body), &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := health(200); h.Status != "ready" || h.Storage != healthOK || h.Issuers[s.url] != healthOK || h.Error != "" {
		t.Errorf("a server that is well: %+v", h)
	}

	file := activeStorageFile(t)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	a := s.adminCall("POST", "/oauth/clients", map[string]any{"client_name": "finds out"})
	a.want(t, 503)
	if h := health(503); h.Status != "not ready" || h.Storage == healthOK || !strings.Contains(h.Error, "the storage: ") || strings.Contains(h.Error, "\n") {
		t.Errorf("a storage that is gone: %+v", h)
	}
	eventually(t, "the event", func() bool { return slices.Equal(eventNames(), []string{storageUnhealthy}) })
	if got := s.exposed().sample(t, "caddy_oauth_storage_up"); got != "0" {
		t.Errorf("caddy_oauth_storage_up is %s", got)
	}

	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event of its return", func() bool {
		return slices.Equal(eventNames(), []string{storageUnhealthy, storageHealthy})
	})
	health(200)
	if got := s.exposed().sample(t, "caddy_oauth_storage_up"); got != "1" {
		t.Errorf("caddy_oauth_storage_up is %s", got)
	}
}

// activeStorageFile is the path of the storage of the configuration in force.
func activeStorageFile(t testing.TB) string {
	t.Helper()
	file, ok := activeApp(t).storage.(*BoltStorage)
	if !ok {
		t.Fatal("the storage is no file")
	}
	return filepath.Clean(file.Path)
}

// TestHealthOfDatabase: a server is as well as its database. It says so when that is
// stopped, and when it is there again.
func TestHealthOfDatabase(t *testing.T) {
	recorded.events = nil
	database := postgrestest.Start(t)
	s := start(t, onPostgres(eventfulCaddyfile, database.URL()), "127.0.0.1:9")
	health := func(status int) string {
		t.Helper()
		a := s.adminCall("GET", "/oauth/health", nil)
		a.want(t, status)
		return a.body
	}
	health(200)
	if err := database.Stop(false); err != nil {
		t.Fatal(err)
	}
	contains(t, health(503), `"status":"not ready"`, "the storage: ", "PostgreSQL database postgres at "+database.Address())
	eventually(t, "the event", func() bool { return slices.Equal(eventNames(), []string{storageUnhealthy}) })
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event of its return", func() bool {
		return slices.Equal(eventNames(), []string{storageUnhealthy, storageHealthy})
	})
	health(200)
}

// TestHealthWithoutIssuers: gates that only trust issuers elsewhere need nothing
// that could be unwell.
func TestHealthWithoutIssuers(t *testing.T) {
	s := start(t, alone("trusted_issuer https://idp.example.com"), "127.0.0.1:9")
	a := s.adminCall("GET", "/oauth/health", nil)
	a.want(t, 200)
	contains(t, a.body, `{"status":"ready"}`)
}

// TestKeyRotatedEvent: programs that fetch keys may want to do so now.
func TestKeyRotatedEvent(t *testing.T) {
	recorded.events = nil
	b := startBackend(t)
	s := start(t, eventfulCaddyfile, b.address)
	app := activeApp(t)
	eventually(t, "another key signs", func() bool {
		s.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, 200)
		return slices.Contains(eventNames(), keyRotated)
	})
	recorded.Lock()
	defer recorded.Unlock()
	data := recorded.events[0].Data
	if kid, _ := data["kid"].(string); len(data) != 2 || data["issuer"] != s.url || len(kid) != 43 {
		t.Errorf("data: %v", data)
	}
	if app != activeApp(t) {
		t.Error("the configuration has changed")
	}
}

// TestHealthCommand: what a program that starts servers waits for.
func TestHealthCommand(t *testing.T) {
	b := startBackend(t)
	s := startProcess(t, usualCaddyfile, b.address)
	health := func(status int, arguments ...string) outcome {
		t.Helper()
		ran := s.run(append([]string{"oauth", "health", "--address", s.admin}, arguments...)...)
		if ran.status != status {
			t.Errorf("exit status %d, want %d: %s%s", ran.status, status, ran.stdout, ran.stderr)
		}
		return ran
	}
	contains(t, health(0).stdout, "ready\n", "storage ", "issuer "+s.url+"  ok\n")
	contains(t, health(0, "--json").stdout, `"status": "ready"`)
	file := filepath.Join(s.dir, "caddy", "oauth.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	s.adminCall("POST", "/oauth/clients", map[string]any{"client_name": "finds out"}).want(t, 503)
	contains(t, health(1).stderr, "the storage: ")
}
