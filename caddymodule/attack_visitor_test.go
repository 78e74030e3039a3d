package caddymodule

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// visitor is somebody with a browser, as far as forms and cookies go, who comes
// to https://as.test over TLS, from an address of this machine that is their own.
// Redirects are followed on the issuer and nowhere else.
type visitor struct {
	a       *attempt
	name    string // who signs in, if asked
	browser *http.Client
	shown   exchange // the page, or the last answer
	at      string   // where the last redirect led, if not to the issuer
}

const siteURL = "https://as.test"

// visitor is a person of the fixture with a browser in which nobody is signed in.
func (a *attempt) visitor(name string) *visitor {
	a.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.Fatal(err)
	}
	address := make([]byte, 3)
	_, _ = rand.Read(address)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1+address[0]/2, address[1], 1+address[2]/2)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, a.issuerTLS)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // its authority is nobody's
	}
	a.Cleanup(transport.CloseIdleConnections)
	return &visitor{a: a, name: name, browser: &http.Client{
		Jar: jar, Transport: transport, Timeout: answerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends one request to the issuer and shows what comes back. The target is a
// path, or a URL of the issuer.
func (v *visitor) do(method, target, body string, lines ...string) exchange {
	v.a.Helper()
	target = strings.TrimPrefix(target, siteURL)
	request, err := http.NewRequest(method, siteURL+target, strings.NewReader(body))
	if err != nil {
		v.a.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Add(name, value)
	}
	begun := time.Now()
	response, err := v.browser.Do(request)
	if err != nil {
		v.a.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.a.Fatal(err)
	}
	v.shown = exchange{answer: answer{response, string(text)}, toIssuer: true, path: target, took: time.Since(begun)}
	return v.shown
}

// open goes to a page, and on to where it leads.
func (v *visitor) open(target string, lines ...string) exchange {
	v.a.Helper()
	v.do("GET", target, "", append([]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, lines...)...)
	return v.follow()
}

// follow goes where the answer leads, on the issuer.
func (v *visitor) follow() exchange {
	v.a.Helper()
	for range 10 {
		location := v.shown.Header.Get("Location")
		if location == "" || v.shown.StatusCode/100 != 3 {
			return v.shown
		}
		if strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
			location = siteURL + location
		}
		if !strings.HasPrefix(location, siteURL+"/") {
			v.at = location
			return v.shown
		}
		v.do("GET", location, "")
	}
	v.a.Fatal("redirected in a circle")
	return v.shown
}

var (
	pageForm   = regexp.MustCompile(`(?s)<form [^>]*?action="([^"]*)".*?</form>`)
	typedField = regexp.MustCompile(`<input [^>]*name="([^"]*)" type="text" value="([^"]*)"`)
)

// form is the form of the page that has a button, as it stands: where it goes and
// what it carries.
func (v *visitor) form(action string) (target string, form url.Values) {
	v.a.Helper()
	for _, found := range pageForm.FindAllStringSubmatch(v.shown.body, -1) {
		if !strings.Contains(found[0], `name="action" value="`+action+`"`) {
			continue
		}
		form = url.Values{"action": {action}}
		for _, fields := range []*regexp.Regexp{hiddenField, typedField} {
			for _, field := range fields.FindAllStringSubmatch(found[0], -1) {
				form.Set(field[1], html.UnescapeString(field[2]))
			}
		}
		return html.UnescapeString(found[1]), form
	}
	v.a.Fatalf("no button %q on the page of %s: %d %s", action, v.shown.path, v.shown.StatusCode, v.shown.body)
	return "", nil
}

// shows tells whether the page has a button.
func (v *visitor) shows(action string) bool {
	return isHTML(v.shown.answer) && strings.Contains(v.shown.body, `name="action" value="`+action+`"`)
}

// submit sends a form as the issuer's own page does, and does not follow.
func (v *visitor) submit(target string, form url.Values) exchange {
	v.a.Helper()
	return v.do("POST", target, form.Encode(), formType, "Origin: "+siteURL, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
}

// press fills in the form of the page, presses one of its buttons and follows.
func (v *visitor) press(action string, fields ...string) exchange {
	v.a.Helper()
	target, form := v.form(action)
	for n := 0; n+1 < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	v.submit(target, form)
	return v.follow()
}

// signIn fills in the sign-in page that is shown.
func (v *visitor) signIn() exchange {
	v.a.Helper()
	return v.press("login", "username", v.name, "password", passwordOf(v.name))
}

// signedIn signs in at the account page, for attempts that begin with a session.
func (v *visitor) signedIn() *visitor {
	v.a.Helper()
	v.open("/login")
	v.signIn()
	if v.shows("login") {
		v.a.Fatalf("%s was not signed in: %s", v.name, v.shown.body)
	}
	return v
}

// authorize makes an authorization request, signs in and consents where asked,
// and returns what the client gets.
func (v *visitor) authorize(request url.Values) url.Values {
	v.a.Helper()
	v.at = ""
	v.open("/authorize?" + request.Encode())
	if v.shows("login") {
		v.signIn()
	}
	if v.shows("allow") {
		v.press("allow")
	}
	return v.returned()
}

// returned are the parameters that came back to the client.
func (v *visitor) returned() url.Values {
	v.a.Helper()
	u, err := url.Parse(v.at)
	if err != nil || v.at == "" {
		v.a.Fatalf("not sent back to the client (%v): %s: %d %s", err, v.shown.path, v.shown.StatusCode, v.shown.body)
	}
	return u.Query()
}

// code gets an authorization code for a client.
func (v *visitor) code(client string, changes ...string) string {
	v.a.Helper()
	returned := v.authorize(authorizationRequest(client, changes...))
	code := returned.Get("code")
	if code == "" {
		v.a.Fatalf("no code: %v", returned)
	}
	v.a.plant(code)
	return code
}

// tokens gets tokens for a client by a code.
func (v *visitor) tokens(client string, changes ...string) exchange {
	v.a.Helper()
	e := v.a.must(v.a.redeem(client, v.code(client, changes...)))
	for _, member := range []string{"access_token", "refresh_token", "id_token"} {
		if e.has(member) {
			v.a.secret(e, member)
		}
	}
	return e
}

// cookie is the value of the cookie whose name ends so.
func (v *visitor) cookie(ending string) string {
	for _, c := range v.browser.Jar.Cookies(&url.URL{Scheme: "https", Host: "as.test", Path: "/"}) {
		if strings.HasSuffix(c.Name, ending) {
			return c.Value
		}
	}
	return ""
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return b64u(string(sum[:]))
}
