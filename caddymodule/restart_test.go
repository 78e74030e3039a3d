package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRestart: what was issued, registered and revoked before a restart is so
// after it.
func TestRestart(t *testing.T) {
	b := startBackend(t)
	s := newServer(t, b.address)
	p := s.serve(usualCaddyfile)
	secret := s.addClient("late", "api:read")
	good, revoked := s.token("late", secret), s.token("late", secret)
	s.send("POST", "/revoke", "token="+revoked, basic("late", secret), "Content-Type: application/x-www-form-urlencoded").want(t, 200)
	s.addClient("gone", "api:read")
	s.adminCall("DELETE", "/oauth/clients/gone", nil).want(t, 200)
	jwks := s.send("GET", "/.well-known/jwks.json", "").body
	p.stop()

	s.serve(usualCaddyfile)
	s.send("GET", "/api/x", "", bearer(good)).want(t, 200)
	s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
	s.tokenRequest("late", secret).want(t, 200)
	s.adminCall("GET", "/oauth/clients/gone", nil).want(t, 404)
	if s.send("GET", "/.well-known/jwks.json", "").body != jwks {
		t.Error("the keys are others")
	}
	for path, want := range map[string]os.FileMode{"caddy/oauth.db": 0o600} {
		info, err := os.Stat(filepath.Join(s.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
	if strings.Contains(s.log(), secret) || strings.Contains(s.log(), good) || strings.Contains(s.log(), appSecret) {
		t.Error("a secret or a token stands in the log")
	}
}

// TestKill: a server that is killed loses nothing that it has answered for.
func TestKill(t *testing.T) {
	b := startBackend(t)
	s := newServer(t, b.address)
	p := s.serve(usualCaddyfile)
	revoked := s.appToken()
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
	secret := s.addClient("late", "api:read")
	p.kill()

	s.serve(usualCaddyfile)
	s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
	s.tokenRequest("late", secret).want(t, 200)
}

// TestValidateBesideServer: "caddy validate" opens nothing, so it works on the
// very file of a running server.
func TestValidateBesideServer(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	begun := time.Now()
	ran := p.run("validate", "--config", filepath.Join(p.dir, "Caddyfile"))
	if ran.status != 0 {
		t.Fatalf("exit status %d: %s", ran.status, ran.stderr)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	p.send("GET", "/api/x", "", bearer(p.appToken())).want(t, 200)
}

// TestReloadCommand: "caddy reload" of a good and of a bad Caddyfile.
func TestReloadCommand(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	token := p.appToken("scope=api:read")
	path := p.writeCaddyfile(strings.Replace(usualCaddyfile, "scope GET,HEAD api:read", "scope GET,HEAD api:write", 1))
	if ran := p.run("reload", "--config", path); ran.status != 0 {
		t.Fatal(ran.stderr)
	}
	p.reloaded = true
	p.send("GET", "/api/x", "", bearer(token)).want(t, 403)
	path = p.writeCaddyfile(strings.Replace(usualCaddyfile, "issuer $GATE {", "issuer $GATE/ {", 1))
	ran := p.run("reload", "--config", path)
	if ran.status == 0 {
		t.Error("a bad Caddyfile is reloaded")
	}
	contains(t, ran.stderr, "leave out the slash at the end")
	p.send("GET", "/api/x", "", bearer(token)).want(t, 403)
}

// TestUnusableStorage: a server that cannot use its storage does not start, and
// says in its last line which file it is and why.
func TestUnusableStorage(t *testing.T) {
	s := newServer(t, "")
	// Modes do not stop root; a directory below a regular file stops everybody.
	if err := os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(usualCaddyfile, "oauth {", "oauth {\n\t\tstorage bolt {\n\t\t\tpath $DIR/file/oauth.db\n\t\t}", 1)
	p, err := s.tryServe(strings.Replace(text, "$BACKEND", "127.0.0.1:9", 1))
	if err == nil {
		t.Fatal("it starts")
	}
	if status := p.cmd.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, onlyError(t, s), "oauth", filepath.Join(s.dir, "file", "oauth.db")+" cannot be opened")
}

// onlyError returns the only line of level error in the log.
func onlyError(t *testing.T, s *server) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(s.log()) {
		if strings.Contains(line, `"level":"error"`) {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d errors in the log, want one: %q", len(found), found)
	}
	return found[0]
}

// TestLockedStorage: a second server on the same file fails soon, and says why.
func TestLockedStorage(t *testing.T) {
	b := startBackend(t)
	first := startProcess(t, usualCaddyfile, b.address)
	second := newServer(t, b.address)
	begun := time.Now()
	_, err := second.tryServe(strings.Replace(usualCaddyfile, "oauth {",
		"oauth {\n\t\tstorage bolt {\n\t\t\tpath "+first.dir+"/caddy/oauth.db\n\t\t}", 1))
	if err == nil {
		t.Fatal("two servers share one file")
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	contains(t, onlyError(t, second), first.dir+"/caddy/oauth.db", "process")
	first.send("GET", "/api/x", "", bearer(first.appToken())).want(t, 200)
}
