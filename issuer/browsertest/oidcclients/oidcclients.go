// Package oidcclients drives client libraries by other people against an
// authorization server: clients.mjs has what each of them does.
package oidcclients

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/node"
)

//go:embed clients.mjs
var source []byte

// Libraries are the libraries there are, by their names on npm.
func Libraries() []string {
	return []string{"openid-client", "oauth4webapi", "oidc-client-ts", "@modelcontextprotocol/sdk", "jose"}
}

// Server is what they meet.
type Server struct {
	Issuer string // lets clients register
	API    string // has orders:read for GET and orders:write for the rest
	MCP    string // asks for orders:read

	// A confidential client that may have all that a library asks for.
	ClientID, ClientSecret string
}

// Run drives one library. visit goes to a URL as a person does, who agrees to
// everything, and returns where their browser was sent in the end.
func Run(t testing.TB, library string, server Server, visit func(url string) string) {
	t.Helper()
	program := node.Start(t, "clients.mjs", source, library, server.Issuer, server.API, server.MCP, server.ClientID, server.ClientSecret)
	for {
		line, err := program.Line()
		switch url, isVisit := strings.CutPrefix(line, "visit "); {
		case isVisit:
			err = program.Say(visit(url))
		case line == "done":
			return
		}
		if err != nil {
			t.Fatalf("%s is not content: %v, %v", library, err, program.End())
		}
	}
}
