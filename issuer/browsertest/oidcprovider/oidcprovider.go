// Package oidcprovider runs an identity provider by other people for tests:
// node-oidc-provider.
//
//	server.mjs    signs people in, for clients of OpenID Connect
//	exchange.mjs  issues JWTs and opaque access tokens for a resource, and introspects them
package oidcprovider

import (
	"embed"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/node"
)

//go:embed *.mjs
var files embed.FS

// Provider is a running provider. It ends with the test.
type Provider struct {
	URL string // of the issuer

	program *node.Program
}

// End ends the provider before the test ends.
func (p *Provider) End() { _ = p.program.End() }

// Start runs a script of this package with arguments, which stand in its first
// lines.
func Start(t testing.TB, script string, arguments ...string) *Provider {
	t.Helper()
	source, err := files.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	program := node.Start(t, script, source, arguments...)
	for {
		line, err := program.Line()
		if err != nil {
			t.Fatalf("node-oidc-provider has not started: %v", err)
		}
		if strings.HasPrefix(line, "http") {
			go drain(program)
			return &Provider{URL: line, program: program}
		}
	}
}

// drain reads what the provider goes on writing, so that it never waits for a
// reader.
func drain(program *node.Program) {
	for {
		if _, err := program.Line(); err != nil {
			return
		}
	}
}
