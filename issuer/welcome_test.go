package issuer

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// welcomed is an issuer on a real socket with one protected API beside it, and
// the examples of its welcome page.
type welcomed struct {
	*fixture
	server *httptest.Server
	url    string
	api    string
}

func newWelcomed(t *testing.T, base string) *welcomed {
	w := new(welcomed)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://" + listener.Addr().String()
	w.url, w.api = origin+base, origin+"/api/orders"
	w.fixture = newFixture(t, withApplications, func(c *Config) {
		c.URL, c.DefaultResource = w.url, w.api
		c.Resources = func() []string { return []string{w.api} }
		c.Scopes = []ScopeConfig{{Name: "orders:read", Description: "Read $HOME's orders"}, {Name: "it's`odd`$(x)"}}
		for n := range c.Clients {
			c.Clients[n].Scope, c.Clients[n].Resources = nil, nil
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/api/orders", func(rw http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		facts, err := w.Introspect(r.Context(), token)
		if err != nil {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"sub": facts.Subject, "aud": facts.Audience, "client_id": facts.ClientID})
	})
	mux.Handle("/", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.ServeHTTP(rw, r) }))
	w.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux}}
	w.server.Start()
	t.Cleanup(w.server.Close)
	return w
}

// snippets are the shell examples of the page as it is served, by id; those
// without one, which show the resource, under "".
func (w *welcomed) snippets(language string) map[string]string {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, w.url+"/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Accept-Language", language)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || response.Header.Get("Content-Language") != language {
		w.t.Fatalf("welcome: %d %v", response.StatusCode, response.Header)
	}
	document, err := html.Parse(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	found := make(map[string]string)
	for n := range document.Descendants() {
		if n.Type == html.ElementNode && n.Data == "code" && attribute(n, "class") == "language-sh" {
			found[attribute(n, "id")] = n.FirstChild.Data
		}
	}
	return found
}

// run runs shell code as somebody who copies it does, with sh and curl.
func (w *welcomed) run(lines ...string) string {
	w.t.Helper()
	command := exec.Command("sh", "-eu", "-c", strings.Join(lines, "\n"))
	command.Dir = w.t.TempDir()
	command.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nowhere"}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		w.t.Fatalf("%v: %s\n%s", err, strings.Join(lines, "\n"), stderr.String())
	}
	return stdout.String()
}

// answer reads the JSON that curl printed.
func (w *welcomed) answer(text string) map[string]any {
	w.t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	return members
}

// with puts a value where a reader of the example puts their own.
func (w *welcomed) with(code string, values ...string) string {
	w.t.Helper()
	for n := 0; n+1 < len(values); n += 2 {
		if !strings.Contains(code, values[n]) {
			w.t.Fatalf("no %s in %s", values[n], code)
		}
		code = strings.ReplaceAll(code, values[n], values[n+1])
	}
	return code
}

func (w *welcomed) text(members map[string]any, name string) string {
	w.t.Helper()
	text, _ := members[name].(string)
	if text == "" {
		w.t.Fatalf("no %s in %v", name, members)
	}
	return text
}

// TestWelcomeExamples takes the shell examples off the page that is served, in
// both languages, and runs them against the same server.
func TestWelcomeExamples(t *testing.T) {
	for _, base := range []string{"", "/realm"} {
		for _, language := range []string{"en", "fr"} {
			t.Run(language+base, func(t *testing.T) {
				w := newWelcomed(t, base)
				code := w.snippets(language)
				w.runClientCredentials(code)
				v := w.fixture.signedIn(w.person(users.User{Username: "alice"}))
				refresh := w.runAuthorizationCode(code, v)
				w.runRefreshToken(code, refresh)
				w.runDeviceCode(code, v)
			})
		}
	}
}

// resource runs the example that uses a token.
func (w *welcomed) resource(code map[string]string, token, subject string) {
	w.t.Helper()
	answer := w.answer(w.run(w.with(code[""], "YOUR_ACCESS_TOKEN", token)))
	if answer["sub"] != subject {
		w.t.Errorf("the API sees %v, want %s", answer, subject)
	}
}

func (w *welcomed) addWelcomed(metadata clients.Metadata) (id, secret string) {
	w.t.Helper()
	metadata.Scope = append(metadata.Scope, "orders:read", "it's`odd`$(x)")
	client, secret, err := w.AddClient(w.t.Context(), metadata)
	if err != nil {
		w.t.Fatal(err)
	}
	return client.ID, secret
}

func (w *welcomed) runClientCredentials(code map[string]string) {
	w.t.Helper()
	id, secret := w.addWelcomed(clients.Metadata{GrantTypes: []string{"client_credentials"}})
	answer := w.answer(w.run(w.with(code["client-credentials-1"], "YOUR_CLIENT_ID", id, "YOUR_CLIENT_SECRET", secret)))
	if answer["token_type"] != "Bearer" || answer["scope"] != "orders:read it's`odd`$(x)" {
		w.t.Errorf("client credentials: %v", answer)
	}
	w.resource(code, w.text(answer, "access_token"), id)
}

// signedInClient is a public client for people.
func (w *welcomed) signedInClient(grantTypes ...string) string {
	w.t.Helper()
	id, _ := w.addWelcomed(clients.Metadata{Type: clients.Public, GrantTypes: append(grantTypes, oauth.GrantRefreshToken),
		RedirectURIs: []string{"https://app.example.com/callback"}, Scope: oauth.Scope{oauth.ScopeOpenID, oauth.ScopeOfflineAccess}})
	return id
}

func (w *welcomed) runAuthorizationCode(code map[string]string, v *visitor) (refresh [2]string) {
	w.t.Helper()
	id := w.signedInClient(oauth.GrantAuthorizationCode)
	first := w.with(code["authorization-code-1"], "YOUR_CLIENT_ID", id)
	printed := w.run(first, code["authorization-code-2"], `echo "$CODE_VERIFIER" "$STATE"`)
	address, rest, _ := strings.Cut(strings.TrimSpace(printed), "\n")
	verifier, state, _ := strings.Cut(rest, " ")

	// A person opens the address in a browser and agrees.
	page := v.get(strings.TrimPrefix(address, strings.TrimSuffix(w.URL(), w.basePath()))).follow()
	if page.has("allow") {
		page = page.press("allow")
	}
	answered, err := url.Parse(page.Header().Get("Location"))
	if err != nil || answered.Query().Get("code") == "" || answered.Query().Get("state") != state {
		w.t.Fatalf("%s: %d, Location %q: %s", address, page.Code, page.Header().Get("Location"), page.Body)
	}
	answer := w.answer(w.run(first, "CODE_VERIFIER="+verifier,
		w.with(code["authorization-code-3"], "CODE_FROM_THE_REDIRECT", answered.Query().Get("code"))))
	w.text(answer, "id_token")
	w.resource(code, w.text(answer, "access_token"), w.text(w.answer(w.run(
		"curl -sS "+w.url+"/userinfo -H 'Authorization: Bearer "+w.text(answer, "access_token")+"'")), "sub"))
	return [2]string{id, w.text(answer, "refresh_token")}
}

func (w *welcomed) runRefreshToken(code map[string]string, refresh [2]string) {
	w.t.Helper()
	answer := w.answer(w.run("CLIENT_ID="+refresh[0], w.with(code["authorization-code-refresh"], "YOUR_REFRESH_TOKEN", refresh[1])))
	if next := w.text(answer, "refresh_token"); next == refresh[1] {
		w.t.Error("the refresh token is not replaced")
	}
}

func (w *welcomed) runDeviceCode(code map[string]string, v *visitor) {
	w.t.Helper()
	id := w.signedInClient(oauth.GrantDeviceCode)
	first := w.with(code["device-code-1"], "YOUR_CLIENT_ID", id)
	answer := w.answer(w.run(first))

	// A person opens the address, sees the code and agrees.
	page := v.get(strings.TrimPrefix(w.text(answer, "verification_uri_complete"), strings.TrimSuffix(w.URL(), w.basePath())))
	for range 3 {
		if page.has("allow") {
			break
		}
		page = v.post(page.forms[0].action, page.forms[0].fields).follow()
	}
	page.press("allow").follow().expectStatus(200, "the device is connected")
	answer = w.answer(w.run("CLIENT_ID="+id, w.with(code["device-code-2"], "DEVICE_CODE_FROM_THE_ANSWER", w.text(answer, "device_code"))))
	w.text(answer, "access_token")
	w.text(answer, "refresh_token")
}

// The page shows what is on, and nothing else.
func TestWelcome(t *testing.T) {
	f := newFixture(t, withApplications)
	page := f.visitor().get("/").expectStatus(200, "the welcome page").Body.String()
	for _, part := range []string{
		fixtureURL + "/token", fixtureURL + "/authorize", fixtureURL + "/device-authorization", fixtureURL + "/device", fixtureURL + "/introspect",
		fixtureURL + "/.well-known/oauth-authorization-server", fixtureURL + "/.well-known/jwks.json", `href="/applications/new"`, `href="/account"`,
		"<code>write</code>", fixtureAPI, `id="client-credentials"`, `id="authorization-code"`, `id="device-code"`, `id="token-exchange"`,
	} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	for _, part := range []string{fixtureURL + "/register", `id="fresh"`, "api.example.com"} {
		if strings.Contains(page, part) {
			t.Errorf("the page has %q", part)
		}
	}
	signed := f.signedIn(f.person(users.User{Username: "alice"})).get("/")
	if !strings.Contains(signed.Body.String(), "alice") {
		t.Error("the page does not know who is signed in")
	}

	bare := newFixture(t, func(c *Config) { c.Welcome, c.Clients, c.DefaultResource, c.Resources = true, nil, "", nil })
	page = bare.visitor().get("/").Body.String()
	if !strings.Contains(page, `id="fresh"`) || !strings.Contains(page, "api.example.com") {
		t.Error("a fresh server does not tell its operator what comes next")
	}
	for _, part := range []string{`id="authorization-code"`, `id="device-code"`, `href="/applications/new"`, `href="/account"`} {
		if strings.Contains(page, part) {
			t.Errorf("nobody can sign in, and the page has %q", part)
		}
	}
	bare.add("first")
	if strings.Contains(bare.visitor().get("/").Body.String(), `id="fresh"`) {
		t.Error("a server with a client is not fresh")
	}
}

// The page stands at the issuer's URL, with and without a slash, and nowhere
// else; it is read, and can be turned off for a host that has its own.
func TestWelcomeStandsAtTheURL(t *testing.T) {
	for base, paths := range map[string][]string{"": {"/"}, "/realm": {"/realm", "/realm/"}} {
		f := newFixture(t, withApplications, func(c *Config) { c.URL = fixtureURL + base })
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD"} {
				f.visitor().get(path, withMethod(method)).expectStatus(200, method)
			}
			expect(t, f.post(path, "x=y"), 405, oauth.InvalidRequest)
		}
		for _, path := range []string{base + "//", base + "/index.html", base + "/x", "/other"} {
			if f.Serves(path) {
				t.Errorf("%q is served", path)
			}
		}
		if base != "" && f.Serves("/") {
			t.Error("the root of the host is not the issuer's")
		}
		off := newFixture(t, withPeople, func(c *Config) { c.URL = fixtureURL + base })
		for _, path := range paths {
			if off.Serves(path) {
				t.Errorf("%q is served though the page is off", path)
			}
		}
	}
}
