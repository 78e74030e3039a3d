package browsertest

import (
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// newFederation makes an issuer at which people sign in with an account of another issuer.
func newFederation(t testing.TB) (app *application, provider *authServer) {
	t.Helper()
	gate := newSite(t, "localhost")
	provider = newAuthServer(t, newSite(t, "127.0.0.1"), func(c *issuer.Config) { c.Pages.Name = "Other Company" })
	id, secret := provider.addClient(gate.URL + "/login/callback/other")
	server := newAuthServer(t, gate, func(c *issuer.Config) {
		c.Upstreams = []upstream.Config{{ID: "other", Name: "Other Company", Issuer: provider.URL(), ClientID: id, ClientSecret: secret}}
	})
	return newApplication(t, server), provider
}

// A person signs in at the provider, agrees there and here; the next time nobody asks anything.
func TestUpstream(t *testing.T) {
	t.Parallel()
	app, provider := newFederation(t)
	b := open(t).visit(app.request()).action("upstream").heading("Sign in")
	if got := b.text(".brand"); got != "Other Company" {
		t.Fatalf("the page is of %q", got)
	}
	b.login(ada, adaPassword).action("allow").await(`form[action="/consent"]`)
	if got := b.text(".identity"); got == "" {
		t.Error("the consent page does not say who is signed in")
	}
	b.action("allow").await("#answer")
	app.redeem()

	// Signed in at the provider only: from our button straight to the client, over five redirects.
	b.visit(app.request("prompt", "login")).action("upstream").login(ada, adaPassword).await("#answer")
	app.redeem()

	// Signed in nowhere, and all is agreed to: the provider's form ends at the client.
	b.visit(provider.URL() + "/end-session").action("logout")
	b.visit(app.request("prompt", "login")).action("upstream").login(ada, adaPassword).await("#answer")
	app.redeem()
}

// Who changes their mind at the provider may choose another way here.
func TestUpstreamDenied(t *testing.T) {
	t.Parallel()
	app, _ := newFederation(t)
	b := open(t).visit(app.request()).action("upstream").login(ada, adaPassword)
	b.action("deny").answered(400).await("[role=alert]")
	b.login(ada, adaPassword).action("allow").await("#answer")
	app.redeem()
}
