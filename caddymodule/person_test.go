package caddymodule

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const alicePassword = canary + " staple of alice"

// person is somebody with a browser, as far as forms and cookies go. Redirects
// are followed on the server and nowhere else.
type person struct {
	t       testing.TB
	browser *http.Client
	page    string // that is shown
	at      string // where the last redirect led, if not to the server
}

// person adds alice, with a browser in which nobody is signed in.
func (s *server) person() *person {
	s.t.Helper()
	s.adminCall("POST", "/oauth/users?issuer="+url.QueryEscape(s.url), map[string]any{"username": "alice", "password": alicePassword}).want(s.t, 200)
	return s.browser()
}

func (s *server) browser() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &person{t: s.t}
	p.browser = &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), s.url+"/") {
			return nil
		}
		p.at = r.URL.String()
		return http.ErrUseLastResponse
	}}
	return p
}

func (p *person) open(address string) {
	p.t.Helper()
	p.show(p.browser.Get(address))
}

func (p *person) show(response *http.Response, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.page = string(text)
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// press fills in the form of the page and presses one of its buttons.
func (p *person) press(address, action string, fields ...string) {
	p.t.Helper()
	if !strings.Contains(p.page, `value="`+action+`"`) {
		p.t.Fatalf("no button %q on the page: %s", action, p.page)
	}
	form := url.Values{"action": {action}}
	for _, hidden := range hiddenField.FindAllStringSubmatch(p.page, -1) {
		form.Set(hidden[1], html.UnescapeString(hidden[2]))
	}
	for n := 0; n+1 < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	p.show(p.browser.PostForm(address, form))
}

// signIn fills in the sign-in page of an issuer.
func (p *person) signIn(issuer string) {
	p.t.Helper()
	p.press(issuer+"/login", "login", "username", "alice", "password", alicePassword)
}

// answer is what the client got back at its redirect URI.
func (p *person) answer() url.Values {
	p.t.Helper()
	u, err := url.Parse(p.at)
	if err != nil || p.at == "" {
		p.t.Fatalf("the browser was not sent to the client (%v): %s", err, p.page)
	}
	p.at = ""
	return u.Query()
}
