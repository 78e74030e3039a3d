package browsertest

import (
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/oidcprovider"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// An identity provider by other people: node-oidc-provider. A person signs in there and agrees, and agrees here.
func TestNodeOIDCProvider(t *testing.T) {
	t.Parallel()
	gate := newSite(t, "localhost")
	provider := oidcprovider.Start(t, "server.mjs", "gate", "a secret of the gate's", gate.URL+"/login/callback/node").URL
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
