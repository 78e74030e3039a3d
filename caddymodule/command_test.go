package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// TestTablesAreTame: whatever people are called, no table writes to the terminal of an
// operator, or turns its text around.
func TestTablesAreTame(t *testing.T) {
	var out bytes.Buffer
	cmd := new(cobra.Command)
	cmd.SetOut(&out)
	user := struct{ Username string }{}
	err := new(command).print(cmd, json.RawMessage(`{"username":"caddy:\u001b[2J\u009bmallory\u202e"}`), &user, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "NAME\tOPERATOR\n%s\tno\n", user.Username)
	})
	if want := "NAME" + strings.Repeat(" ", 17) + "OPERATOR\ncaddy:?[2J?mallory?  no\n"; err != nil || out.String() != want {
		t.Errorf("%q, want %q (%v)", out.String(), want, err)
	}
}

// TestCommands runs every command against a running server, as table and as
// JSON.
func TestCommands(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	oauth := func(arguments ...string) outcome {
		t.Helper()
		return p.run(append(append([]string{"oauth"}, arguments...), "--address", p.admin)...)
	}
	done := func(arguments ...string) string {
		t.Helper()
		ran := oauth(arguments...)
		if ran.status != 0 || ran.stderr != "" {
			t.Fatalf("%v: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
		return ran.stdout
	}
	failed := func(arguments ...string) string {
		t.Helper()
		ran := oauth(arguments...)
		if ran.status != 1 || ran.stdout != "" {
			t.Fatalf("%v: exit status %d: %s", arguments, ran.status, ran.stdout)
		}
		return ran.stderr
	}
	parsed := func(arguments ...string) (members map[string]any) {
		t.Helper()
		text := done(append(arguments, "--json")...)
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatalf("%v: %v: %s", arguments, err, text)
		}
		return members
	}
	listed := func(arguments ...string) (members []map[string]any) {
		t.Helper()
		text := done(append(arguments, "--json")...)
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatalf("%v: %v: %s", arguments, err, text)
		}
		return members
	}

	added := parsed("client", "add", "--name", "Late", "--id", "late", "--grant", "client_credentials", "--scope", "api:read api:write")
	secret, _ := added["client_secret"].(string)
	if added["client_id"] != "late" || added["client_name"] != "Late" || added["scope"] != "api:read api:write" || secret == "" {
		t.Errorf("client add: %v", added)
	}
	table := done("client", "add", "--name", "Public one", "--id", "spa", "--type", "public")
	contains(t, table, "client_id", "spa", "Public one")
	if strings.Contains(table, "client_secret") {
		t.Errorf("a public client has a secret: %s", table)
	}
	contains(t, done("client", "add", "--name", "x", "--id", "x"), "client_secret", "Keep the secret now")

	contains(t, done("client", "list"), "CLIENT_ID", "late", "spa", "app")
	if all := listed("client", "list"); len(all) != 4 {
		t.Errorf("client list: %v", all)
	}
	contains(t, done("client", "show", "app"), "declared", "in the configuration")
	if shown := parsed("client", "show", "late"); shown["client_secret"] != nil || shown["client_id"] != "late" {
		t.Errorf("client show: %v", shown)
	}

	token := p.token("late", secret)
	rotated := parsed("client", "rotate-secret", "late")
	second, _ := rotated["client_secret"].(string)
	p.tokenRequest("late", secret).want(t, 200)
	p.tokenRequest("late", second).want(t, 200)
	contains(t, done("client", "rotate-secret", "late", "--overlap", "0s"), "client_secret", "old secret until")
	p.tokenRequest("late", secret).want(t, 401)
	p.tokenRequest("late", second).want(t, 401)

	revoked := p.appToken()
	contains(t, done("token", "revoke", revoked), "Revoked a token of client app.")
	contains(t, done("token", "revoke", revoked), "Nothing to revoke: ")
	contains(t, failed("token", "revoke", "garbage"), "nothing is revoked, since this is no access token of the issuer")
	contains(t, failed("token", "revok", revoked), `unknown command of "caddy oauth token"; there is: revoke`)
	contains(t, failed("clients"), `unknown command of "caddy oauth"; there is: application, `)
	piped := p.appToken()
	command := p.command("oauth", "token", "revoke", "-", "--json", "--address", p.admin)
	command.Stdin = strings.NewReader(piped + "\n")
	contains(t, runCommand(t, command).stdout, `"status": "revoked"`)
	for _, ended := range []string{revoked, piped} {
		p.send("GET", "/api/x", "", bearer(ended)).want(t, 401)
	}

	contains(t, done("key", "list"), "KID", "ES256", "active")
	before := listed("key", "list")
	contains(t, done("key", "rotate"), "next")
	done("key", "rotate", "--now")
	eventually(t, "the new key signs", func() bool { return keyOf(t, p.appToken()) != before[0]["kid"] })
	p.send("GET", "/api/x", "", bearer(token)).want(t, 200)

	contains(t, done("client", "disable", "late"), "Disabled late")
	p.send("GET", "/api/x", "", bearer(token)).want(t, 401)
	contains(t, done("client", "show", "late"), "disabled")
	contains(t, done("client", "enable", "late"), "Enabled late")
	if shown := parsed("client", "show", "late"); shown["disabled"] != nil {
		t.Errorf("client enable: %v", shown)
	}
	p.send("GET", "/api/x", "", bearer(token)).want(t, 401)

	p.adminCall("POST", "/oauth/users", map[string]string{"username": "alice", "password": alicePassword}).want(t, 200)
	contains(t, done("user", "disable", "alice"), "Disabled alice")
	contains(t, done("user", "list"), "alice", "disabled")
	alice := p.browser()
	alice.open(p.url + "/account")
	alice.signIn(p.url)
	contains(t, alice.page, `value="login"`)
	contains(t, done("user", "show", "alice"), "disabled")
	contains(t, done("user", "enable", "alice"), "Enabled alice")
	alice.signIn(p.url)
	contains(t, alice.page, `value="logout"`)

	contains(t, done("client", "remove", "late"), "Removed late")
	p.send("GET", "/api/x", "", bearer(token)).want(t, 401)
	if removed := parsed("client", "remove", "spa"); removed["removed"] != "spa" {
		t.Errorf("client remove: %v", removed)
	}

	for _, never := range []string{secret, second, token, revoked, piped} {
		if strings.Contains(p.log(), never) {
			t.Error("a secret or a token stands in the log")
		}
	}
}

// TestCommandFailures: exit status 1 and one line that says what is wrong.
func TestCommandFailures(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	nobody := freeAddress(t)
	for _, test := range []struct {
		name      string
		arguments []string
		says      string
	}{
		{"no server", []string{"client", "list", "--address", nobody}, "no Caddy answers at the admin endpoint " + nobody + "; is it running? (--address names another one)"},
		{"unknown client", []string{"client", "show", "nobody"}, "not found"},
		{"client with a slash in its name", []string{"client", "show", "a/b"}, "not found"},
		{"unknown scope", []string{"client", "add", "--name", "N", "--scope", "nope"}, "nope"},
		{"no name", []string{"client", "add"}, `required flag(s) "name" not set`},
		{"too few arguments", []string{"client", "remove"}, "accepts 1 arg(s), received 0"},
		{"too many arguments", []string{"client", "list", "x"}, "unknown command"},
		{"unknown issuer", []string{"client", "list", "--issuer", "https://nobody.example"}, "no issuer https://nobody.example is configured"},
		{"declared client", []string{"client", "remove", "app"}, "declared in the configuration"},
		{"a declared client to disable", []string{"client", "disable", "app"}, "declared in the configuration; change it there"},
		{"an unknown client to enable", []string{"client", "enable", "nobody"}, "not found"},
		{"an unknown person to disable", []string{"user", "disable", "nobody"}, "not found"},
		{"nothing on standard input", []string{"token", "revoke", "-"}, "there is no token on standard input"},
		{"negative overlap", []string{"client", "rotate-secret", "app", "--overlap", "-1h"}, "zero or more"},
		{"no duration", []string{"client", "rotate-secret", "app", "--overlap", "soon"}, "invalid argument"},
		{"no such file", []string{"client", "list", "--config", "/nowhere/Caddyfile"}, "/nowhere/Caddyfile"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ran := p.run(append([]string{"oauth"}, test.arguments...)...) // CADDY_ADMIN names the server
			if ran.status != 1 {
				t.Errorf("exit status %d, want 1", ran.status)
			}
			contains(t, ran.stderr, test.says)
			if lines := strings.Count(strings.TrimSpace(ran.stderr), "\n"); lines > 0 {
				t.Errorf("more than one line: %s", ran.stderr)
			}
		})
	}
}

// TestCommandConfig: --config finds the admin endpoint as "caddy reload" does.
func TestCommandConfig(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	command := p.command("oauth", "client", "list", "--config", filepath.Join(p.dir, "Caddyfile"), "--adapter", "caddyfile")
	command.Env = append(command.Env, "CADDY_ADMIN="+freeAddress(t))
	ran := runCommand(t, command)
	if ran.status != 0 {
		t.Fatal(ran.stderr)
	}
	contains(t, ran.stdout, "app")
}

// TestCommandSecret: a secret and its hash, for the Caddyfile; no server runs.
func TestCommandSecret(t *testing.T) {
	s := newServer(t, "")
	ran := s.run("oauth", "secret", "--json")
	var made struct {
		Secret string `json:"client_secret"`
		Hash   string `json:"secret_hash"`
	}
	if err := json.Unmarshal([]byte(ran.stdout), &made); err != nil {
		t.Fatalf("%v: %s", err, ran.stderr)
	}
	t.Setenv("XDG_DATA_HOME", s.dir)
	b := startBackend(t)
	running := start(t, strings.Replace(usualCaddyfile, "$HASH", made.Hash, 1), b.address)
	running.tokenRequest("app", made.Secret).want(t, 200)
	running.tokenRequest("app", appSecret).want(t, 401)
	contains(t, s.run("oauth", "secret").stdout, "client_secret", "secret_hash", "sha256:")
}

// TestNotAnAdminEndpoint: an address at which something else answers is told as that.
func TestNotAnAdminEndpoint(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"is not Caddy's admin endpoint":          func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") },
		"or that of a Caddy without this plugin": http.NotFound,
	}
	for says, answer := range answers {
		server := httptest.NewServer(answer)
		_, err := adminEndpoint{server.Listener.Addr().String()}.send(t.Context(), "GET", adminBase+"health", nil)
		server.Close()
		if err == nil {
			t.Fatalf("%s: no error", says)
		}
		contains(t, err.Error(), says)
	}
	_, err := adminEndpoint{"http://localhost:2019"}.send(t.Context(), "GET", adminBase+"health", nil)
	if err == nil {
		t.Fatal("a URL is an address")
	}
	contains(t, err.Error(), "--address wants host:port")
}
