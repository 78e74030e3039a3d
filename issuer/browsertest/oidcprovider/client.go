package oidcprovider

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// Client is a client of a provider that runs exchange.mjs.
type Client struct {
	Provider              *Provider
	ID, Secret            string
	RedirectURI, Audience string
}

// StartClient runs exchange.mjs for one client, whose tokens for the resources
// <audience>/jwt and <audience>/opaque have the audience.
func StartClient(t testing.TB, audience string) *Client {
	t.Helper()
	c := &Client{ID: "web", Secret: "a secret of the web client's", RedirectURI: "http://localhost/callback", Audience: audience}
	c.Provider = Start(t, "exchange.mjs", c.ID, c.Secret, c.RedirectURI, c.Audience)
	return c
}

// formAction finds where the forms of the provider's pages go.
var formAction = regexp.MustCompile(`action="([^"]+)"`)

// SignIn signs a person in there, as their browser does with the provider's own
// two pages, and redeems the code. Without a resource the token is for the
// provider itself, and has an ID token beside it.
func (c *Client) SignIn(t testing.TB, name, resource string) *oauth2.Token {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), c.RedirectURI) {
			code = r.URL.Query().Get("code")
			return http.ErrUseLastResponse
		}
		return nil
	}}
	config := oauth2.Config{
		ClientID: c.ID, ClientSecret: c.Secret, RedirectURL: c.RedirectURI, Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: c.Provider.URL + "/auth", TokenURL: c.Provider.URL + "/token", AuthStyle: oauth2.AuthStyleInHeader},
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
func read(t testing.TB, send func() (*http.Response, error)) string {
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
