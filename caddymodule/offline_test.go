package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// offlineCaddyfile has people and registration tokens as well.
var offlineCaddyfile = strings.Replace(usualCaddyfile, "scope api:read", "login local\n\t\t\tregistration token\n\t\t\tscope api:read", 1)

// TestOffline: commands on the storage of a stopped server do what they do with a
// running one, and leave it as they would.
func TestOffline(t *testing.T) {
	b := startBackend(t)
	s := newServer(t, b.address)
	p := s.serve(offlineCaddyfile)
	token, key := s.appToken(), keyOf(t, s.appToken())
	config := filepath.Join(s.dir, "Caddyfile")
	offline := func(arguments ...string) outcome {
		t.Helper()
		return s.run(append(append([]string{"oauth"}, arguments...), "--offline", "--config", config)...)
	}
	done := func(arguments ...string) string {
		t.Helper()
		ran := offline(arguments...)
		if ran.status != 0 || ran.stderr != "" {
			t.Fatalf("%v: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
		return ran.stdout
	}

	// bbolt lets one process in, and the command says what to do about it.
	for _, arguments := range [][]string{{"client", "list"}, {"storage", "check"}} {
		ran := offline(arguments...)
		if ran.status != 1 || ran.stderr != "Error: the server is running: leave --offline out\n" {
			t.Errorf("%v beside a server: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
	}
	if ran := s.run("oauth", "storage", "check", "--address", s.admin); ran.status != 0 {
		t.Error(ran.stderr)
	}
	p.stop()

	contains(t, done("client", "add", "--name", "Made offline", "--id", "made", "--type", "public"), "made")
	contains(t, done("client", "list", "--json"), `"client_id": "made"`, `"client_id": "app"`)
	contains(t, done("token", "revoke", token), "Revoked a token of client app.")
	contains(t, done("key", "rotate", "--now"), "active")
	contains(t, done("registration-token", "create"), "token")
	contains(t, done("authorization", "list"), "AUTHORIZATION_ID")
	contains(t, done("application", "list"), "REFERENCE")
	added := s.command("oauth", "user", "add", "alice", "--password-stdin", "--offline", "--config", config)
	added.Stdin = strings.NewReader("correct horse battery staple " + canary + "\n")
	contains(t, runCommand(t, added).stdout, "alice")
	contains(t, done("storage", "check"), "Every record is what was written.")

	for _, test := range []struct {
		name      string
		arguments []string
		says      string
	}{
		{"refused as by a server", []string{"client", "remove", "app"}, "declared in the configuration"},
		{"unknown client", []string{"client", "show", "nobody"}, "not found"},
		{"admin endpoint", []string{"client", "list", "--address", s.admin}, "leave out --address, or --offline"},
		{"a command for a running server", []string{"explain", "http://x/"}, "unknown flag: --offline"},
		{"unknown application", []string{"application", "show", "nothing"}, "not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ran := offline(test.arguments...)
			if ran.status != 1 || strings.Count(ran.stderr, "\n") != 1 {
				t.Errorf("exit status %d: %s", ran.status, ran.stderr)
			}
			contains(t, ran.stderr, test.says)
		})
	}

	s.serve(offlineCaddyfile)
	s.send("GET", "/api/x", "", bearer(token)).want(t, 401)
	s.adminCall("GET", "/oauth/clients/made", nil).want(t, 200)
	s.adminCall("GET", "/oauth/users/alice", nil).want(t, 200)
	if keyOf(t, s.appToken()) == key {
		t.Error("the old key signs on")
	}
	s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200)
}

// TestOfflineElsewhere: with another HOME the path is another one; a command that
// made a storage there would tell of success, and the server would never see it.
func TestOfflineElsewhere(t *testing.T) {
	s := newServer(t, "127.0.0.1:9")
	config := s.writeCaddyfile(usualCaddyfile)
	ran := s.run("oauth", "client", "list", "--offline", "--config", config)
	if ran.status != 1 {
		t.Error("a storage is made out of nothing")
	}
	path := filepath.Join(s.dir, "caddy", "oauth.db")
	contains(t, ran.stderr, "there is no storage at "+path)
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file was made")
	}
	ran = s.run("oauth", "client", "list", "--offline", "--config", filepath.Join(s.dir, "nowhere"))
	contains(t, ran.stderr, "nowhere")
	plain := s.writeCaddyfile("{\n}\n" + s.url + " {\n}\n")
	contains(t, s.run("oauth", "client", "list", "--offline", "--config", plain).stderr, "configures no OAuth issuer")
}

// TestForeignOwner: a command leaves files beside the storage, and perhaps a
// compacted one in its place. They would be those of the wrong user.
func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away; what is refused to others the kernel refuses")
		return
	}
	path := filepath.Join(t.TempDir(), "oauth.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := stoppedStorage{&BoltStorage{Path: path}}.Open()
	if err == nil || !strings.Contains(err.Error(), path+" belongs to the user") {
		t.Errorf("Open = %v", err)
	}
}
