package caddymodule

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// What the documentation shows, works: every block of shell and of Caddyfile in
// it is run here.

// ofCheckout reads a file by its path from the root of the checkout.
func ofCheckout(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the fenced blocks of a language in a Markdown text.
func blocks(markdown, language string) (found []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(markdown, -1) {
		found = append(found, m[1])
	}
	return found
}

// elsewhere replaces the fixed ports of the example by free ones, the same in
// each text.
type elsewhere struct {
	server *server
	ports  *strings.Replacer
}

func newElsewhere(t testing.TB) elsewhere {
	t.Helper()
	port := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return ":" + port
	}
	s := newServer(t, "")
	return elsewhere{s, strings.NewReplacer(":8080", port(s.url[len("http://"):]), ":9000", port(freeAddress(t)))}
}

// runExample runs Caddyfile.example as "./xcaddy.sh run" does, on other ports
// and with its own data.
func runExample(t testing.TB) (elsewhere, *process) {
	t.Helper()
	e := newElsewhere(t)
	path := filepath.Join(e.server.dir, "Caddyfile.example")
	if err := os.WriteFile(path, []byte(e.ports.Replace(ofCheckout(t, "Caddyfile.example"))), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := e.server.runServer("--config", path, "--adapter", "caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	return e, p
}

func TestREADMEFirstUse(t *testing.T) {
	_, first, found := strings.Cut(ofCheckout(t, "README.md"), "## First use")
	if !found {
		t.Fatal("README.md has no section First use")
	}
	script := blocks(first, "sh")[0]
	promised := regexp.MustCompile(`# (\d{3}):`).FindAllStringSubmatch(script, -1)
	if len(promised) != 4 {
		t.Fatalf("the comments promise %d statuses, want 4", len(promised))
	}

	e, _ := runExample(t)
	work := filepath.Join(e.server.dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(caddyBinary(t), filepath.Join(work, "caddy")); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-eu", "-c", e.ports.Replace(script))
	sh.Dir, sh.Env = work, append(environment(), "HOME="+work, "CADDY_ADMIN="+e.server.admin)
	ran := runCommand(t, sh)
	if ran.status != 0 {
		t.Fatalf("exit status %d: %s%s", ran.status, ran.stdout, ran.stderr)
	}
	answered := regexp.MustCompile(`HTTP/1\.1 (\d{3})`).FindAllStringSubmatch(ran.stdout, -1)
	var want, got []string
	for _, p := range promised {
		want = append(want, p[1])
	}
	for _, a := range answered {
		got = append(got, a[1])
	}
	if strings.Join(want, " ") != strings.Join(got, " ") {
		t.Errorf("statuses %v, the comments promise %v\n%s", got, want, ran.stdout)
	}
	contains(t, ran.stdout, `"subject": "demo"`, `"client": "demo"`, `"scope": "resource:read"`, `"authorization": ""`)
}

// TestExampleUpstream: with UPSTREAM set the example guards that API and does not
// ask its own.
func TestExampleUpstream(t *testing.T) {
	b := startBackend(t)
	e := newElsewhere(t)
	text := e.ports.Replace(ofCheckout(t, "Caddyfile.example"))
	s := e.server
	t.Setenv("UPSTREAM", b.address)
	t.Setenv("XDG_DATA_HOME", s.dir)
	t.Cleanup(func() { _ = caddy.Stop() })
	s.url = strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	if err := s.load(text); err != nil {
		t.Fatal(err)
	}
	secret := s.addClient("demo", "resource:read")
	s.send("GET", "/resource/", "").want(t, 401)
	b.none(t)
	s.send("GET", "/resource/", "", bearer(s.token("demo", secret))).want(t, 200)
	b.one(t)
	s.send("POST", "/resource/", "", bearer(s.token("demo", secret))).want(t, 403)
	b.none(t)
}

func TestDocumentedCaddyfiles(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../README.md")
	seen := 0
	for _, page := range pages {
		for n, block := range blocks(ofCheckout(t, page[len("../"):]), "caddyfile") {
			seen++
			t.Run(fmt.Sprintf("%s#%d", filepath.Base(page), n+1), func(t *testing.T) { validates(t, block) })
		}
	}
	if seen < 2 {
		t.Errorf("%d Caddyfile blocks found, want at least 2", seen)
	}
	t.Run("Caddyfile.example", func(t *testing.T) { validates(t, ofCheckout(t, "Caddyfile.example")) })
}

// validates holds a Caddyfile against "caddy fmt" and, unless it is a part of
// one, against "caddy validate".
func validates(t *testing.T, text string) {
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Errorf("caddy fmt would change it to:\n%s", formatted)
	}
	if !strings.Contains(text, "{\n\toauth {") {
		return
	}
	s := newServer(t, "127.0.0.1:9000")
	t.Setenv("XDG_DATA_HOME", s.dir)
	if err := s.validate(s.withPrerequisites(text)); err != nil {
		t.Fatal(err)
	}
	// Validating opens nothing: it must work beside a running server.
	if _, err := os.Stat(filepath.Join(s.dir, "caddy", "oauth.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("validating made a storage: %v", err)
	}
}

// withPrerequisites brings about what a documented Caddyfile takes for granted:
// variables of the environment, and files below /run/secrets and /etc/caddy.
func (s *server) withPrerequisites(text string) string {
	t := s.t.(*testing.T)
	for _, name := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(text, -1) {
		value := "value-of-" + name[1]
		if strings.HasSuffix(name[1], "_HASH") {
			value = "sha256:" + strings.Repeat("0", 64)
		}
		t.Setenv(name[1], value)
	}
	secrets := filepath.Join(s.dir, "secrets")
	for _, path := range regexp.MustCompile(`/run/secrets/([\w.-]+)`).FindAllStringSubmatch(text, -1) {
		if err := os.MkdirAll(secrets, 0o700); err != nil {
			t.Fatal(err)
		}
		key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)) // of the length that is asked for
		if err := os.WriteFile(filepath.Join(secrets, path[1]), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text = strings.ReplaceAll(text, "/run/secrets/", secrets+"/")
	etc := filepath.Join(s.dir, "etc")
	for _, path := range regexp.MustCompile(`/etc/caddy/(\S+)`).FindAllStringSubmatch(text, -1) {
		path := filepath.Join(etc, path[1])
		var err error
		if filepath.Ext(path) == "" {
			err = os.MkdirAll(path, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>`), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(text, "/etc/caddy/", etc+"/")
}
