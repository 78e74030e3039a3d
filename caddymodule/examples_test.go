package caddymodule

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// Every directory of docs/examples is run here, over real connections. Nothing in
// them is changed but addresses, as docs/examples/README.md says.

var exampleTests = map[string]func(*example){
	"one-api":         testOneAPI,
	"single-page-app": testSinglePageApp,
	"command-line":    testCommandLine,
	"service-mesh":    testServiceMesh,
	"upstream-login":  testUpstreamLogin,
	"forward-auth":    testForwardAuth,
	"two-nodes":       testTwoNodes,
}

func TestExamples(t *testing.T) {
	entries, err := os.ReadDir("../docs/examples")
	if err != nil {
		t.Fatal(err)
	}
	index := ofCheckout(t, "docs/examples/README.md")
	var directories []string
	for _, entry := range entries {
		if entry.IsDir() {
			directories = append(directories, entry.Name())
			contains(t, index, "["+entry.Name()+"]("+entry.Name()+")")
		}
	}
	if tested := slices.Sorted(maps.Keys(exampleTests)); !slices.Equal(tested, directories) {
		t.Fatalf("the examples are %v, tested are %v", directories, tested)
	}
	for _, name := range directories {
		t.Run(name, func(t *testing.T) {
			e := &example{T: t, name: name, at: make(map[string]string)}
			e.formatted()
			exampleTests[name](e)
		})
	}
}

// example is a directory of docs/examples.
type example struct {
	*testing.T
	name string

	// at is where the addresses of the example are in this test: hosts as
	// api.example.com, and ports as localhost:9000, by host:port.
	at map[string]string
}

// formatted: "caddy fmt" would change none of its Caddyfiles.
func (e *example) formatted() {
	e.Helper()
	files, err := filepath.Glob("../docs/examples/" + e.name + "/*Caddyfile")
	if err != nil || len(files) == 0 {
		e.Fatalf("no Caddyfile: %v", err)
	}
	for _, file := range files {
		text := ofCheckout(e, file[len("../"):])
		if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
			e.Errorf("caddy fmt would change %s to:\n%s", file, formatted)
		}
	}
}

var (
	exampleHost = regexp.MustCompile(`(https://)?\b[a-z]+\.example\.(com|org)\b`)
	examplePort = regexp.MustCompile(`(localhost|http://|127\.0\.0\.1):\d{4}\b`)
)

// file is a file of the example with its addresses replaced: a host by one of its
// own on 127.0.0.1, and a port by a free one.
func (e *example) file(name string) string {
	e.Helper()
	text := ofCheckout(e, filepath.Join("docs/examples", e.name, name))
	text = exampleHost.ReplaceAllStringFunc(text, func(found string) string {
		return "http://" + e.place(strings.TrimPrefix(found, "https://"))
	})
	return examplePort.ReplaceAllStringFunc(text, func(found string) string {
		colon := strings.LastIndexByte(found, ':')
		place := e.place("localhost" + found[colon:])
		if found[:colon] == "http:/"+"/" { // every host on that port
			return "http://" + place[strings.LastIndexByte(place, ':'):]
		}
		return place
	})
}

// place is where an address of the example is.
func (e *example) place(address string) string {
	e.Helper()
	if e.at[address] == "" {
		e.at[address] = freeAddress(e)
	}
	return e.at[address]
}

// url is where https://<host> of the example is.
func (e *example) url(host string) string {
	e.Helper()
	return "http://" + e.place(host)
}

// server is a place for a Caddy with the issuer of the example.
func (e *example) server(host string) *server {
	e.Helper()
	s := newServer(e.T, "")
	s.url = e.url(host)
	e.at["localhost:2019"] = s.admin
	return s
}

// load runs the Caddyfile of the example in this process.
func (e *example) load(s *server) {
	e.Helper()
	e.Setenv("XDG_DATA_HOME", s.dir)
	e.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			e.Error("stop:", err)
		}
	})
	if err := s.load(e.file("Caddyfile")); err != nil {
		e.Fatal(err)
	}
}

// program is a command of the example that finds caddy and knows which server is
// meant.
func (e *example) program(s *server, text string, arguments ...string) *exec.Cmd {
	e.Helper()
	programs := filepath.Join(s.dir, "programs")
	if err := os.MkdirAll(programs, 0o700); err != nil {
		e.Fatal(err)
	}
	if link := filepath.Join(programs, "caddy"); exec.Command("test", "-e", link).Run() != nil {
		if err := os.Symlink(caddyBinary(e), link); err != nil {
			e.Fatal(err)
		}
	}
	sh := exec.Command("sh", append([]string{"-eu", "-c", text, e.name}, arguments...)...)
	sh.Dir = s.dir
	sh.Env = append(environment(), "HOME="+s.dir, "CADDY_ADMIN="+s.admin, "PATH="+programs+":"+os.Getenv("PATH"))
	return sh
}

var (
	promisedStatus = regexp.MustCompile(`# (\d{3})\b`)
	answeredStatus = regexp.MustCompile(`HTTP/[\d.]+ (\d{3})`)
)

// promises runs commands and compares the statuses of their answers with those
// that the comments beside them promise. It returns what they print.
func (e *example) promises(s *server, text string, arguments ...string) string {
	e.Helper()
	ran := runCommand(e, e.program(s, text, arguments...))
	if ran.status != 0 {
		e.Fatalf("exit status %d: %s%s", ran.status, ran.stdout, ran.stderr)
	}
	statuses := func(of *regexp.Regexp, text string) (all []string) {
		for _, found := range of.FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
		return all
	}
	want, got := statuses(promisedStatus, text), statuses(answeredStatus, ran.stdout)
	if len(want) == 0 || !slices.Equal(want, got) {
		e.Errorf("statuses %v, the comments promise %v\n%s", got, want, ran.stdout)
	}
	return ran.stdout
}

// readme is what the README of the example tells to try.
func (e *example) readme() string {
	e.Helper()
	commands := blocks(e.file("README.md"), "sh")
	if len(commands) != 1 {
		e.Fatalf("%d blocks of commands in README.md, want 1", len(commands))
	}
	return commands[0]
}

// behind plays an API on one of the example's ports.
func (e *example) behind(address string) *backend {
	e.Helper()
	b := startBackend(e)
	e.at[address] = b.address
	return b
}

// reached fails unless each request reached the API with these values of a header,
// and without a token.
func reached(t testing.TB, b *backend, name string, values ...string) {
	t.Helper()
	var got []string
	for _, request := range b.take() {
		got = append(got, strings.Join(fields(request, name), "|"))
		if token := fields(request, "Authorization"); len(token) > 0 {
			t.Errorf("the API was given the token: %q", request)
		}
	}
	if !slices.Equal(got, values) {
		t.Errorf("%s of the requests that reached the API: %q, want %q", name, got, values)
	}
}

func testOneAPI(e *example) {
	b := e.behind("localhost:9000")
	s := e.server("auth.example.com")
	e.load(s)
	e.promises(s, e.readme())
	reached(e, b, "X-Auth-Client", "", "reports")
}

// testSinglePageApp presses the buttons in a browser.
func testSinglePageApp(e *example) {
	b := e.behind("localhost:9000")
	s := e.server("auth.example.com")
	site := filepath.Join(s.dir, "shop")
	if err := os.Mkdir(site, 0o700); err != nil {
		e.Fatal(err)
	}
	for _, name := range []string{"index.html", "app.js"} {
		if err := os.WriteFile(filepath.Join(site, name), []byte(e.file("site/"+name)), 0o600); err != nil {
			e.Fatal(err)
		}
	}
	e.Setenv("XDG_DATA_HOME", s.dir)
	e.Cleanup(func() { _ = caddy.Stop() })
	if err := s.load(strings.ReplaceAll(e.file("Caddyfile"), "/srv/shop", site)); err != nil {
		e.Fatal(err)
	}
	s.person() // whom the browser below signs in
	contains(e, e.promises(s, e.readme()), "Access-Control-Allow-Origin: "+e.url("app.example.com"))

	page := startChromium(e)
	app := e.url("app.example.com") + "/"
	page.visit(app)
	page.press("#orders")
	page.fill("#username", "alice")
	page.fill("#password", alicePassword)
	page.press(`button[value="login"]`)
	page.press(`button[value="allow"]`)
	page.shows("#status", "Your orders")
	page.shows("#answer", "ok")
	if at := browse(page, chromedp.Location()); at != app {
		e.Errorf("the page is at %s: the code is in the history", at)
	}
	if kept := browse(page, chromedp.Evaluate[int]("sessionStorage.length + localStorage.length + document.cookie.length")); kept != 0 {
		e.Error("the page has kept something where other scripts find it")
	}
	reached(e, b, "X-Auth-Client", "shop")

	// With the token that it has, without asking anybody.
	page.press("#orders")
	eventually(e, "a second request", func() bool { return len(b.take()) == 1 })

	// Each check of the page: what it did not ask for, and who answers.
	page.visit(app + "?code=stolen&state=forged&iss=" + url.QueryEscape(s.url))
	page.shows("#status", "This answer was not asked for.")
	browse(page, chromedp.Evaluate[bool](`sessionStorage.setItem("request", '{"state": "asked", "verifier": "v"}'), true`))
	page.visit(app + "?code=x&state=asked&iss=https://evil.example.net")
	page.shows("#status", "This answer is from somebody else.")
	b.none(e)
}

// chromium is a tab of a browser.
type chromium struct {
	*example
	tab context.Context
}

func startChromium(e *example) *chromium {
	e.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		e.Fatal("this test needs a browser: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	e.Cleanup(stop)
	tab, end := chromedp.NewContext(allocator)
	e.Cleanup(end)
	if err := chromedp.Do(tab); err != nil {
		e.Fatalf("%s does not start: %v", path, err)
	}
	return &chromium{e, tab}
}

// browse does one thing in the tab.
func browse[T any](c *chromium, action chromedp.Action[T]) T {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.tab, 20*time.Second)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		at, _ := chromedp.Run(c.tab, chromedp.Evaluate[string](`location.href + " " + document.body.innerText`))
		c.Fatalf("%v at %s", err, at)
	}
	return result
}

func (c *chromium) visit(address string) { c.Helper(); browse(c, chromedp.Navigate(address)) }

func (c *chromium) press(selector string) {
	c.Helper()
	browse(c, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (c *chromium) fill(selector, text string) {
	c.Helper()
	browse(c, chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

// shows waits until that element has that text.
func (c *chromium) shows(selector, text string) {
	c.Helper()
	eventually(c, text, func() bool {
		element := `document.querySelector("` + selector + `")?.textContent ?? ""`
		got, err := chromedp.Run(c.tab, chromedp.Evaluate[string](element))
		return err == nil && strings.TrimSpace(got) == text
	})
}

// testCommandLine: the program runs, and alice does what it says.
func testCommandLine(e *example) {
	b := e.behind("localhost:9000")
	s := e.server("auth.example.com")
	e.load(s)
	alice := s.person()

	login := e.program(s, e.file("login.sh"))
	said, err := login.StdoutPipe()
	if err != nil {
		e.Fatal(err)
	}
	if err := login.Start(); err != nil {
		e.Fatal(err)
	}
	bound := time.AfterFunc(time.Minute, func() { _ = login.Process.Kill() })
	defer bound.Stop()
	lines := bufio.NewReader(said)
	line := func() string {
		text, err := lines.ReadString('\n')
		if err != nil {
			e.Fatalf("the program has ended: %v %v %s", err, login.Wait(), login.Stderr)
		}
		return strings.TrimSpace(text)
	}
	_, code, _ := strings.Cut(line(), "type the code ")
	complete := strings.Trim(strings.TrimPrefix(line(), "(or open "), "()")
	alice.open(complete)
	alice.press(s.url+"/device", "continue", "user_code", code)
	alice.signIn(s.url)
	alice.press(s.url+"/device", "allow")

	for _, want := range []string{"ok", "The next token is good for 3600 seconds.", "Signed out."} {
		if got := line(); got != want {
			e.Errorf("the program says %q, want %q", got, want)
		}
	}
	if err := login.Wait(); err != nil {
		e.Error(err)
	}
	reached(e, b, "X-Auth-Client", "orders-cli")
	if left := s.adminCall("GET", "/oauth/users/alice/authorizations", nil).body; strings.TrimSpace(left) != `{"authorizations":[]}` {
		e.Errorf("after signing out there is still %q", left)
	}
}

// testServiceMesh: the service is called with a token of alice's, and does what
// exchange.sh shows.
func testServiceMesh(e *example) {
	orders, billing := e.behind("localhost:9001"), e.behind("localhost:9002")
	s := e.server("auth.example.com")
	hash, err := clients.HashSecret(appSecret).MarshalText()
	if err != nil {
		e.Fatal(err)
	}
	e.Setenv("ORDERS_SECRET_HASH", string(hash))
	e.Setenv("ORDERS_SECRET", appSecret)
	e.load(s)

	alice := s.person()
	begin, redeem := e.authorization(s, "web", e.url("app.example.com")+"/", "orders:read invoices:read")
	alice.open(begin)
	alice.signIn(s.url)
	alice.press(s.url+"/consent", "allow")
	token := redeem(alice.answer().Get("code"))
	s.send("GET", e.url("orders.example.com")+"/orders", "", bearer(token)).want(e, 200)
	heard := orders.one(e)
	if len(fields(heard, "Authorization")) != 1 {
		e.Error("the service is not given the token that it is to exchange")
	}
	e.promises(s, e.file("exchange.sh"), token)
	called := billing.one(e)
	for name, want := range map[string]string{"X-Auth-Subject": fields(heard, "X-Auth-Subject")[0], "X-Auth-Actor": "orders", "X-Auth-Scope": "invoices:read"} {
		if got := fields(called, name); !slices.Equal(got, []string{want}) {
			e.Errorf("the billing API hears %s %q, want %q", name, got, want)
		}
	}

	// The page cannot do that itself, and neither can a service whose caller's token
	// was revoked.
	s.tokenRequest("orders", appSecret, "scope=orders:read").want(e, 400)
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(e, 200)
	ran := runCommand(e, e.program(s, e.file("exchange.sh"), token))
	if ran.status != 1 || !strings.Contains(ran.stderr, "subject_token") {
		e.Errorf("a revoked token is exchanged: status %d, %s", ran.status, ran.stderr)
	}
	billing.none(e)
}

// authorization is the address where a person begins to authorize a public client,
// with PKCE, and how the client redeems the code that comes back.
func (e *example) authorization(s *server, client, redirectURI, scope string) (begin string, redeem func(code string) (token string)) {
	verifier := strings.Repeat("example-verifier-", 3)
	sum := sha256.Sum256([]byte(verifier))
	begin = s.url + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "scope": {scope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	return begin, func(code string) string {
		e.Helper()
		a := s.send("POST", "/token", url.Values{
			"grant_type": {"authorization_code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "code": {code}, "code_verifier": {verifier},
		}.Encode(), formType)
		a.want(e, 200)
		return a.member(e, "access_token")
	}
}

const exampleIdP = `{
	oauth {
		issuer $GATE {
			client gate {
				secret_hash $HASH
				grant authorization_code
				redirect_uri $CALLBACK
				scope openid profile email
			}
		}
	}
}

$GATE {
	oauth_issuer
}
`

// testUpstreamLogin: the identity provider is another Caddy with an issuer.
func testUpstreamLogin(e *example) {
	b := e.behind("localhost:9000")
	s := e.server("auth.example.com")
	idp := newServer(e, "")
	idp.url = strings.Replace(idp.url, "127.0.0.1", "localhost", 1) // whose cookies are others
	idp.serve(strings.ReplaceAll(exampleIdP, "$CALLBACK", s.url+"/login/callback/corporate"))
	e.at["idp.example.org"] = strings.TrimPrefix(idp.url, "http://")
	e.Setenv("IDP_CLIENT_ID", "gate")
	e.Setenv("IDP_CLIENT_SECRET", appSecret)
	e.load(s)

	for name, verified := range map[string]bool{"alice": true, "mallory": false} {
		idp.adminCall("POST", "/oauth/users", map[string]any{
			"username": name, "password": alicePassword, "email": name + "@example.org", "email_verified": verified,
		}).want(e, 200)
	}
	callback := e.url("app.example.com") + "/callback"
	signIn := func(name string) *person {
		p := s.browser()
		p.browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if !strings.HasPrefix(r.URL.String(), callback) {
				return nil
			}
			p.at = r.URL.String()
			return http.ErrUseLastResponse
		}
		begin, _ := e.authorization(s, "shop", callback, "openid email orders:read")
		p.open(begin)
		p.press(s.url+"/login", "upstream", "upstream", "corporate")
		p.press(idp.url+"/login", "login", "username", name, "password", alicePassword)
		p.press(idp.url+"/consent", "allow")
		return p
	}
	alice := signIn("alice")
	alice.press(s.url+"/consent", "allow")
	_, redeem := e.authorization(s, "shop", callback, "openid email orders:read")
	token := redeem(alice.answer().Get("code"))
	s.send("GET", e.url("api.example.com")+"/orders", "", bearer(token)).want(e, 200)
	reached(e, b, "X-Auth-Client", "shop")

	if mallory := signIn("mallory"); mallory.at != "" || strings.Contains(mallory.page, `value="allow"`) {
		e.Error("somebody whose e-mail address the provider has not verified is let in")
	}
}

// testForwardAuth: the gate here, and the proxy in a process of its own.
func testForwardAuth(e *example) {
	b := e.behind("localhost:9000")
	s := e.server("auth.example.com")
	e.load(s)
	newServer(e, "").serve(withGlobals(e.file("proxy.Caddyfile")))
	e.promises(s, e.readme())
	reached(e, b, "X-Auth-Client", "reports")

	secret := s.addClient("cron", "orders:read orders:write")
	token := s.token("cron", secret, "scope=orders:write")
	orders := e.url("api.example.com") + "/orders"
	s.send("POST", orders, "an order", bearer(token), "X-Auth-Subject: admin", "X-Auth-Actor: admin", "X_Auth-Subject: admin", "X-Auth_Actor: admin").want(e, 200)
	request := b.one(e)
	for name, want := range map[string][]string{"X-Auth-Subject": {"cron"}, "X-Auth-Actor": nil, "Authorization": nil} {
		if got := fields(request, name); !slices.Equal(got, want) {
			e.Errorf("the API hears %s %q, want %q", name, got, want)
		}
	}
	if !strings.HasSuffix(request, "an order") {
		e.Errorf("the API is not given the body: %q", request)
	}

	for _, test := range []struct {
		must, method, path string
		status             int
	}{
		{"the method is that of the original request", "GET", "/orders", 403},
		{"the original method cannot be replaced by one that is allowed", "DELETE", "/orders", 200},
		{"an encoded slash is refused though the rewrite would decode it", "POST", "/orders%2Fall", 403},
		{"a target with two meanings is refused as by a gate that is the proxy", "POST", "/a/..%5Corders", 400},
		{"a path with a parameter too", "POST", "/orders;x=1", 400},
	} {
		a := s.send(test.method, e.url("api.example.com")+test.path, "", bearer(token), "X-Forwarded-Method: POST", "X-Forwarded-Uri: /elsewhere")
		if a.StatusCode != test.status {
			e.Errorf("%s: status %d, want %d", test.must, a.StatusCode, test.status)
		}
		if passed := len(b.take()) > 0; passed != (test.status == 200) {
			e.Errorf("%s: it reached the API: %t", test.must, passed)
		}
	}

	// What the proxy is asked about stands in the headers, or the answer is no.
	ask := "http://" + e.place("localhost:9091") + "/"
	for _, test := range []struct {
		must    string
		headers []string
		status  int
	}{
		{"the control", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders?a=%2F"}, 204},
		{"neither", nil, 403},
		{"no method", []string{"X-Forwarded-Uri: /orders"}, 403},
		{"no URI", []string{"X-Forwarded-Method: POST"}, 403},
		{"a method in lower case", []string{"X-Forwarded-Method: post", "X-Forwarded-Uri: /orders"}, 403},
		{"a URI with a host", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: http://a.example/orders"}, 403},
		{"a URI with a fragment", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders#/admin"}, 403},
		{"a dot segment", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders/%2e%2e/admin"}, 400},
		{"something encoded twice", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders%252Fadmin"}, 400},
		{"a placeholder is text", []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /{env.HOME}"}, 204},
	} {
		if a := s.send("GET", ask, "", append(test.headers, bearer(token))...); a.StatusCode != test.status {
			e.Errorf("%s: status %d, want %d", test.must, a.StatusCode, test.status)
		}
	}
	if status := from(e, "127.0.0.2", ask, "X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders", bearer(token)); status != 403 {
		e.Errorf("somebody who is not the proxy is answered with %d, want 403", status)
	}
}

// withGlobals gives a Caddyfile an empty block of global options, which
// (*server).caddyfile fills in.
func withGlobals(text string) string { return "{\n}\n\n" + text }

// from sends a request from another address of this machine, which Linux lets
// anybody do, and returns the status.
func from(t testing.TB, address, target string, headers ...string) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// testTwoNodes: two nodes and the load balancer are processes of their own, and
// the database is a real one.
func testTwoNodes(e *example) {
	b := e.behind("localhost:9000")
	database := postgrestest.Start(e)
	connection, err := url.Parse(database.URL())
	if err != nil {
		e.Fatal(err)
	}
	connection.User = url.User(connection.User.Username())
	e.Setenv("OAUTH_DATABASE", connection.String())
	e.Setenv("PGPASSWORD", database.Password())

	balancer := e.file("lb.Caddyfile")
	var nodes []*process
	var direct []string
	for n := range 2 {
		delete(e.at, "localhost:8080")
		node := e.server("api.example.com")
		nodes = append(nodes, node.serve(strings.ReplaceAll(e.file("Caddyfile"), "10.0.0.10", "127.0.0.1")))
		direct = append(direct, "http://"+e.place("localhost:8080"))
		balancer = strings.ReplaceAll(balancer, fmt.Sprintf("10.0.0.1%d:8080", n+1), e.place("localhost:8080"))
	}
	newServer(e, "").serve(withGlobals(balancer))

	s := nodes[1].server
	contains(e, e.promises(s, e.readme()), "ready")
	reached(e, b, "X-Auth-Client", "reports")
	if status := from(e, "127.0.0.1", direct[0]+"/healthz"); status != 200 {
		e.Errorf("a node that is ready tells the load balancer %d", status)
	}
	if status := from(e, "127.0.0.2", direct[0]+"/healthz"); status != 404 {
		e.Errorf("a node tells anybody whether it is ready: status %d", status)
	}

	// What one node revokes the other refuses, and so do both when it is asked for
	// by way of the load balancer.
	secret := s.addClient("cron", "orders:read")
	token, kept := s.token("cron", secret), s.token("cron", secret)
	for _, node := range direct {
		s.send("GET", node+"/orders/1", "", bearer(token)).want(e, 200)
	}
	s.send("POST", direct[0]+"/revoke", "token="+token, basic("cron", secret), formType).want(e, 200)
	begun := time.Now()
	eventually(e, "revocation on the other node", func() bool {
		return s.send("GET", direct[1]+"/orders/1", "", bearer(token)).StatusCode == 401
	})
	if took := time.Since(begun); took > 2*time.Second {
		e.Errorf("the other node took %v to hear of a revocation", took)
	}

	// A node goes, and requests go on.
	nodes[0].stop()
	for range 10 {
		s.send("GET", "/orders/1", "", bearer(kept)).want(e, 200)
	}
	s.token("cron", secret)

	// The database goes and comes back.
	if err := database.Stop(true); err != nil {
		e.Fatal(err)
	}
	if status := from(e, "127.0.0.1", direct[1]+"/healthz"); status != 503 {
		e.Errorf("without the database a node says %d of itself", status)
	}
	if err := database.Start(); err != nil {
		e.Fatal(err)
	}
	eventually(e, "the node is ready again", func() bool { return from(e, "127.0.0.1", direct[1]+"/healthz") == 200 })
	eventually(e, "tokens are issued again", func() bool { return s.tokenRequest("cron", secret).StatusCode == 200 })
}
