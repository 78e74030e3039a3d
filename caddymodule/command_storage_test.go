package caddymodule

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// TestStorageCheck: a record that is not what was written is named, and the exit
// status tells programs.
func TestStorageCheck(t *testing.T) {
	s := newServer(t, "")
	path := filepath.Join(s.dir, "checked.db")
	file, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = file.Update(t.Context(), func(tx storage.Tx) error {
		for _, key := range []string{"one", "two\x00three"} {
			if err := tx.Put("client", key, []byte("the value"), time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	contains(t, s.run("oauth", "storage", "check", "bolt:"+path).stdout, "Every record is what was written.")

	raw, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket([]byte("kind:client"))
		sealed := bytes.Clone(records.Get([]byte("two\x00three")))
		sealed[len(sealed)-1] ^= 1
		return records.Put([]byte("two\x00three"), sealed)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "Caddyfile")
	if err := os.WriteFile(config, []byte("{\n\toauth {\n\t\tstorage bolt {\n\t\t\tpath "+path+"\n\t\t}\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := s.run("oauth", "storage", "check", "--offline", "--config", config)
	contains(t, ran.stdout, "KIND", "KEY", "FAULT", "client", `two\x00three`, "storage: damaged")
	if ran.status != 1 || ran.stderr != "Error: the storage is damaged (1 fault): restore a backup\n" || strings.Contains(ran.stdout, "one") {
		t.Errorf("exit status %d: %s%s", ran.status, ran.stdout, ran.stderr)
	}
	ran = s.run("oauth", "storage", "check", "bolt:"+path, "--json")
	contains(t, ran.stdout, `"faults": 1`, `"kind": "client"`)
	if ran.status != 1 {
		t.Errorf("exit status %d with --json", ran.status)
	}
}

// postgresCaddyfile is the usual one on a database.
func postgresCaddyfile(connection string) string { return onPostgres(usualCaddyfile, connection) }

// onPostgres is a Caddyfile with its storage there.
func onPostgres(caddyfile, connection string) string {
	return strings.Replace(caddyfile, "oauth {", "oauth {\n\t\tstorage postgres {\n\t\t\tconnection "+connection+"\n\t\t}", 1)
}

// TestStorageCopy: from a file into PostgreSQL and back, with a server on each.
// All that the first one knew, the last one knows.
func TestStorageCopy(t *testing.T) {
	database := postgrestest.Start(t)
	bare, err := url.Parse(database.URL())
	if err != nil {
		t.Fatal(err)
	}
	bare.User = url.User(bare.User.Username())
	withPlaceholder := strings.Replace(database.URL(), database.Password(), "{env.DB_PASSWORD}", 1)

	b := startBackend(t)
	s := newServer(t, b.address)
	withEnvironment := func(variable string, arguments ...string) *exec.Cmd {
		c := s.command(append([]string{"oauth"}, arguments...)...)
		c.Env = append(c.Env, variable)
		return c
	}
	run := func(arguments ...string) outcome {
		t.Helper()
		return runCommand(t, withEnvironment("DB_PASSWORD="+database.Password(), arguments...))
	}
	p := s.serve(usualCaddyfile)
	secret := s.addClient("early", "api:read")
	good, revoked := s.token("early", secret), s.token("early", secret)
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
	jwks := s.send("GET", "/.well-known/jwks.json", "").body
	knows := func() {
		t.Helper()
		s.send("GET", "/api/x", "", bearer(good)).want(t, 200)
		s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
		s.tokenRequest("early", secret).want(t, 200)
		if s.send("GET", "/.well-known/jwks.json", "").body != jwks {
			t.Error("the keys are others")
		}
	}

	copied := []string{"storage", "copy", "--from", "config", "--config", filepath.Join(s.dir, "Caddyfile"), "--to", withPlaceholder}
	if ran := run(copied...); ran.status != 1 || !strings.Contains(ran.stderr, "the server is running") {
		t.Errorf("beside a server: exit status %d: %s", ran.status, ran.stderr)
	}
	p.stop()
	there := run(copied...)
	var records int
	if n, _ := fmt.Sscanf(there.stdout, "Copied %d records.", &records); there.status != 0 || n != 1 || records < 4 || there.stderr != "" {
		t.Fatalf("exit status %d: %s%s", there.status, there.stdout, there.stderr)
	}
	again := run(copied...)
	if again.status != 1 {
		t.Error("a target with records is written to")
	}
	contains(t, again.stderr, "the target of the copy is not empty")

	p = s.serve(postgresCaddyfile(database.URL()))
	knows()
	s.addClient("late", "api:read")
	backup := filepath.Join(s.dir, "backup.db")
	if ran := run("backup", backup, "--address", s.admin); ran.status != 0 {
		t.Fatal(ran.stderr)
	}
	if ran := run("storage", "check", "--address", s.admin); ran.status != 0 {
		t.Error(ran.stderr)
	}
	p.stop()
	contains(t, run("client", "list", "--offline", "--config", filepath.Join(s.dir, "Caddyfile")).stdout, "early", "late")

	file := filepath.Join(s.dir, "back.db")
	back := runCommand(t, withEnvironment("PGPASSWORD="+database.Password(), "storage", "copy", "--from", bare.String(), "--to", "bolt:"+file, "--json"))
	if back.status != 0 || !strings.Contains(back.stdout, `"records": `) {
		t.Fatalf("exit status %d: %s", back.status, back.stderr)
	}
	for _, made := range []string{file, backup} {
		if ran := run("storage", "check", "bolt:"+made); ran.status != 0 {
			t.Error(made, ran.stderr)
		}
		putInPlace(t, s, made)
		p = s.serve(usualCaddyfile)
		knows()
		s.adminCall("GET", "/oauth/clients/late", nil).want(t, 200)
		p.stop()
	}
	refusesToCopy(t, s, database, file)
}

// refusesToCopy: what is wrong is said in a line, in which no password stands.
func refusesToCopy(t *testing.T, s *server, database *postgrestest.Server, file string) {
	const password = canary + "password"
	wrong := strings.Replace(database.URL(), database.Password(), password, 1)
	empty := filepath.Join(s.dir, "empty.db")
	made, err := bolt.Open(empty, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		arguments []string
		says      string
	}{
		{"wrong password", []string{"--from", "bolt:" + file, "--to", wrong}, "password authentication failed"},
		{"wrong password in a placeholder", []string{"--from", strings.Replace(wrong, password, "{env.WRONG}", 1), "--to", "bolt:" + file + "2"}, "password authentication failed"},
		{"URL that cannot be read", []string{"--from", "postgres://gate:" + password + "@[::1/x", "--to", "bolt:" + file}, "the connection string cannot be read"},
		{"a URL in the clear", []string{"--from", "postgres://gate:" + password + "@db.example.com/gate", "--to", "bolt:" + file}, "name an sslmode"},
		{"no storage", []string{"--from", password, "--to", "bolt:" + file}, "name a storage as bolt:"},
		{"no path", []string{"--from", "bolt:", "--to", "bolt:" + file}, "name a storage as bolt:"},
		{"one argument too many", []string{"--from", "bolt:" + file, "--to", "bolt:" + file, wrong}, "there are 1 arguments"},
		{"unknown placeholder", []string{"--from", "bolt:{env.NOBODY}", "--to", "bolt:" + file}, "the placeholder {env.NOBODY} is empty or not known"},
		{"no source", []string{"--from", "bolt:" + file + ".nowhere", "--to", "bolt:" + file + "2"}, "there is no storage at " + file + ".nowhere"},
		{"empty source", []string{"--from", "bolt:" + empty, "--to", "bolt:" + file + "2"}, "it is empty; is it the right one?"},
		{"not empty", []string{"--from", "bolt:" + filepath.Join(s.dir, "caddy", "oauth.db"), "--to", "bolt:" + file}, "the target of the copy is not empty"},
		{"the same", []string{"--from", "bolt:" + file, "--to", "bolt:" + s.dir + "/caddy/../back.db"}, "are the same storage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := s.command(append([]string{"oauth", "storage", "copy"}, test.arguments...)...)
			c.Env = append(c.Env, "WRONG="+password)
			ran := runCommand(t, c)
			if ran.status != 1 || strings.Count(ran.stderr, "\n") != 1 {
				t.Errorf("exit status %d: %s", ran.status, ran.stderr)
			}
			contains(t, ran.stderr, test.says)
			if strings.Contains(ran.stdout+ran.stderr, password) {
				t.Error("the password is shown")
			}
		})
	}
	if _, err := os.Lstat(file + "2"); err == nil {
		t.Error("a target was made for nothing")
	}
}
