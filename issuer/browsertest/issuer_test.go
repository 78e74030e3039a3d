package browsertest

import (
	"context"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

const (
	ada         = "ada"
	adaPassword = "the loom weaves leaves"
	clientName  = "Meter Reader"
)

// site is a web server on a loopback port that is known before it answers.
type site struct {
	URL      string
	listener net.Listener
}

// newSite reserves a port. Cookies do not tell ports apart, so what must not share them has another name of the loopback host.
func newSite(t testing.TB, host string) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &site{URL: "http://" + net.JoinHostPort(host, port), listener: listener}
}

func (s *site) serve(t testing.TB, handler http.Handler) {
	server := &httptest.Server{Listener: s.listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: patience}}
	server.Start()
	t.Cleanup(server.Close)
}

// authServer is an issuer that people can reach, with one person, ada.
type authServer struct {
	*issuer.Issuer
	t testing.TB
}

func newAuthServer(t testing.TB, s *site, changes ...func(*issuer.Config)) *authServer {
	t.Helper()
	store, err := bolt.Open(filepath.Join(t.TempDir(), "oauth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	config := issuer.Config{
		URL: s.URL,
		Scopes: []issuer.ScopeConfig{
			{Name: "read", Description: "Read the meters of your home"}, {Name: "write", Description: "Change when your heating runs"},
		},
		Resources:  func() []string { return []string{"https://api.example.com/meters"} },
		LocalLogin: true,
		Pages: pages.Options{Name: "Example Energy", FooterLinks: []pages.Link{
			{Label: pages.Text{"en": "Help", "fr": "Aide"}, URL: "mailto:help@example.com"},
		}},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, change := range changes {
		change(&config)
	}
	i, err := issuer.New(t.Context(), config, issuer.NewState(store))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.AddUser(t.Context(), users.User{Username: ada, Name: "Ada Lovelace", Email: "ada@example.com"}, adaPassword); err != nil {
		t.Fatal(err)
	}
	s.serve(t, i)
	return &authServer{Issuer: i, t: t}
}

// addClient registers a confidential client.
func (a *authServer) addClient(redirectURI string, logoutURIs ...string) (id, secret string) {
	a.t.Helper()
	client, secret, err := a.AddClient(a.t.Context(), clients.Metadata{
		Name: clientName, Type: clients.Confidential, GrantTypes: []string{"authorization_code", "refresh_token"},
		RedirectURIs: []string{redirectURI}, PostLogoutRedirectURIs: logoutURIs,
		Scope: oauth.Scope{"openid", "profile", "email", "offline_access", "read", "write"},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return client.ID, secret
}

// application is a client with a callback on a port of its own, on which it shows what came back to it.
type application struct {
	*site
	t        testing.TB
	oauth    oauth2.Config
	verifier string
	answers  chan answer

	// next is where the callback sends the browser at once, as applications do; empty: it shows the answer.
	next string
}

// answer is what a browser brought to the callback.
type answer struct {
	method string
	url.Values
}

var answerPage = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Application</title><link rel="icon" href="data:,">
<main><h1>Application</h1><dl id="answer">{{range $name, $values := .}}<dt>{{$name}}</dt><dd>{{index $values 0}}</dd>{{end}}</dl></main></html>`))

func newApplication(t testing.TB, server *authServer) *application {
	t.Helper()
	app := &application{site: newSite(t, "127.0.0.1"), t: t, verifier: oauth2.GenerateVerifier(), answers: make(chan answer, 8)}
	id, secret := server.addClient(app.URL+"/callback", app.URL+"/signed-out")
	app.oauth = oauth2.Config{
		ClientID: id, ClientSecret: secret, RedirectURL: app.URL + "/callback", Scopes: []string{"openid", "profile", "read"},
		Endpoint: oauth2.Endpoint{AuthURL: server.URL() + "/authorize", TokenURL: server.URL() + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	app.serve(t, app)
	return app
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/callback" && r.URL.Path != "/signed-out" && r.URL.Path != "/home" {
		http.NotFound(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/callback" {
		a.answers <- answer{r.Method, r.Form}
		if a.next != "" {
			http.Redirect(w, r, a.next, http.StatusSeeOther)
			return
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := answerPage.Execute(w, r.Form); err != nil {
		a.t.Error(err)
	}
}

// request is the address of an authorization request; parameters are names and values in turn, beyond the usual ones.
func (a *application) request(parameters ...string) string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.verifier), oauth2.SetAuthURLParam("nonce", "n-0S6_WzA2Mj")}
	for n := 0; n < len(parameters); n += 2 {
		options = append(options, oauth2.SetAuthURLParam(parameters[n], parameters[n+1]))
	}
	return a.oauth.AuthCodeURL("af0ifjsldkj", options...)
}

// answer waits for what the browser brings. It must be the issuer's own answer to the request.
func (a *application) answer() answer {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	select {
	case got := <-a.answers:
		if got.Get("state") != "af0ifjsldkj" || got.Get("iss") != strings.TrimSuffix(a.oauth.Endpoint.AuthURL, "/authorize") {
			a.t.Errorf("the answer %v is not that of the issuer to the request (RFC 9207)", got.Values)
		}
		return got
	case <-ctx.Done():
		a.t.Fatal("the browser has brought no answer to the client")
		return answer{}
	}
}

// refused fails unless the answer is that refusal.
func (a *application) refused(code string) {
	a.t.Helper()
	if got := a.answer(); got.Get("error") != code || got.Has("code") {
		a.t.Errorf("the answer is %v, want the error %s", got.Values, code)
	}
}

// unanswered fails if a browser brought anything.
func (a *application) unanswered() {
	a.t.Helper()
	select {
	case got := <-a.answers:
		a.t.Errorf("the client was answered: %v", got.Values)
	default:
	}
}

// redeem waits for a code and turns it into tokens.
func (a *application) redeem() *oauth2.Token {
	a.t.Helper()
	got := a.answer()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	token, err := a.oauth.Exchange(ctx, got.Get("code"), oauth2.VerifierOption(a.verifier))
	if err != nil {
		a.t.Fatalf("the code of the answer %v is not redeemed: %v", got.Values, err)
	}
	if token.AccessToken == "" || token.Extra("id_token") == nil {
		a.t.Fatal("the code gave no access token or no ID token")
	}
	return token
}

// userinfo asks the issuer who the token speaks for; the body and the status.
func (a *application) userinfo(token *oauth2.Token) (string, int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.oauth.Endpoint.AuthURL, "/authorize")+"/userinfo", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(body), response.StatusCode
}

// newIssuer is what most tests need: an issuer and a client of it.
func newIssuer(t testing.TB, changes ...func(*issuer.Config)) (*authServer, *application) {
	t.Helper()
	server := newAuthServer(t, newSite(t, "localhost"), changes...)
	return server, newApplication(t, server)
}
