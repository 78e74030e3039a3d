package browsertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/oidcprovider"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const (
	tokenExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	idTokenType     = "urn:ietf:params:oauth:token-type:id_token"
)

// A person signs in at an identity provider by other people, node-oidc-provider. A client takes what it got there to this
// issuer, and gets a token with which it acts for that person (RFC 8693): for a JWT, for opaque tokens that are judged by
// introspection and by userinfo, and for an ID token.
func TestExchangeOfNodeOIDCProvider(t *testing.T) {
	t.Parallel()
	gate := newSite(t, "localhost")
	web := oidcprovider.StartClient(t, gate.URL)

	server := newAuthServer(t, gate, func(c *issuer.Config) {
		c.TrustedIssuers = []issuer.TrustedIssuer{{
			Issuer: web.Provider.URL, Audience: []string{gate.URL, "web"}, AuthorizedParties: []string{"web"},
			ClientID: "web", ClientSecret: web.Secret,
		}}
	})
	userinfo := newSite(t, "localhost")
	userinfoServer := newAuthServer(t, userinfo, func(c *issuer.Config) {
		c.TrustedIssuers = []issuer.TrustedIssuer{{Issuer: web.Provider.URL, Userinfo: true}}
	})
	for _, test := range []struct {
		name      string
		server    *authServer
		resource  string
		tokenType string
	}{
		{"JWT", server, gate.URL + "/jwt", accessTokenType},
		{"opaque, by introspection", server, gate.URL + "/opaque", accessTokenType},
		{"opaque, by userinfo", userinfoServer, "", accessTokenType},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := web.SignIn(t, "grace", test.resource)
			if isJWT := strings.Count(token.AccessToken, ".") == 2; isJWT != (test.name == "JWT") {
				t.Fatalf("the provider issued %q", token.AccessToken)
			}
			facts := test.server.exchange(t, token.AccessToken, test.tokenType)
			if facts.Subject != web.Provider.URL+"|grace" || facts.Actor == nil || facts.Actor.Subject != facts.ClientID {
				t.Errorf("facts %+v", facts)
			}
		})
	}
	t.Run("ID token", func(t *testing.T) {
		idToken, _ := web.SignIn(t, "grace", "").Extra("id_token").(string)
		facts := server.exchange(t, idToken, idTokenType)
		if facts.Subject != web.Provider.URL+"|grace" {
			t.Errorf("facts %+v", facts)
		}
	})
}

// exchange adds a client that exchanges the token, with its own as the actor's, and returns what the new one says.
func (a *authServer) exchange(t *testing.T, subjectToken, tokenType string) *introspect.Token {
	t.Helper()
	client, secret, err := a.AddClient(t.Context(), clients.Metadata{
		Name: "Agent", Type: clients.Confidential, GrantTypes: []string{"client_credentials", tokenExchange}, Scope: oauth.Scope{"read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	actor := a.token(t, client.ID, secret, url.Values{"grant_type": {"client_credentials"}})
	token := a.token(t, client.ID, secret, url.Values{
		"grant_type": {tokenExchange}, "subject_token": {subjectToken}, "subject_token_type": {tokenType},
		"actor_token": {actor}, "actor_token_type": {accessTokenType},
	})
	facts, err := a.Introspect(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// token asks the token endpoint.
func (a *authServer) token(t *testing.T, id, secret string, form url.Values) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("%s: %v %s", response.Status, err, answer.Description)
	}
	return answer.AccessToken
}
