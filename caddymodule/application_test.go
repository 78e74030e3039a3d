package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// applicationCaddyfile is an issuer beside a site of its own, with an older
// server's path for the token endpoint.
const applicationCaddyfile = `{
	events {
		on oauth_application_requested oauth_test_recorder
	}
	oauth {
		issuer $GATE {
			scope api:read "Read"
			endpoint token /oauth/token.php
			endpoint token /oauth/v1/token /oauth/v2/token
		}
	}
}

$GATE {
	oauth_issuer
	respond / "the site's own page"
}
`

// eventRecorder is an event handler that remembers.
type eventRecorder struct{}

var recorded struct {
	sync.Mutex
	events []caddy.Event
}

func (eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.oauth_test_recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (eventRecorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (eventRecorder) Handle(_ context.Context, event caddy.Event) error {
	recorded.Lock()
	defer recorded.Unlock()
	recorded.events = append(recorded.events, event)
	return nil
}

func init() { caddy.RegisterModule(eventRecorder{}) }

var _ caddyevents.Handler = eventRecorder{}

var csrfField = regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)

// form gets a page and returns what its form needs to be sent: its token, and
// the cookie of the browser.
func (s *server) form(path string) (csrf, cookie string) {
	s.t.Helper()
	page := s.send("GET", path, "")
	page.want(s.t, 200)
	found := csrfField.FindStringSubmatch(page.body)
	if found == nil || len(page.Cookies()) == 0 {
		s.t.Fatalf("no form at %s: %s", path, page.body)
	}
	return found[1], "Cookie: " + page.Cookies()[0].Name + "=" + page.Cookies()[0].Value
}

// request asks for an application as a person with a browser does.
func (s *server) request(name string, more ...string) {
	s.t.Helper()
	csrf, cookie := s.form("/applications/new")
	fields := url.Values{"csrf_token": {csrf}, "name": {name}, "description": {"Line 1\r\nLine 2"}, "contact": {"dev@example.com"}}
	for n := 0; n+1 < len(more); n += 2 {
		fields.Add(more[n], more[n+1])
	}
	s.send("POST", "/applications/new", fields.Encode(), cookie, "Content-Type: application/x-www-form-urlencoded").want(s.t, http.StatusSeeOther)
}

// TestApplicationCommands: a person asks, the operator answers with the commands,
// the person reads the secret once and gets a token with it.
func TestApplicationCommands(t *testing.T) {
	p := startProcess(t, strings.Replace(applicationCaddyfile, "	events {\n		on oauth_application_requested oauth_test_recorder\n	}\n", "", 1), "")
	done := func(arguments ...string) string {
		t.Helper()
		ran := p.run(append(append([]string{"oauth", "application"}, arguments...), "--address", p.admin)...)
		if ran.status != 0 || ran.stderr != "" {
			t.Fatalf("%v: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
		return ran.stdout
	}
	fails := func(says string, arguments ...string) {
		t.Helper()
		ran := p.run(append(append([]string{"oauth", "application"}, arguments...), "--address", p.admin)...)
		if ran.status != 1 {
			t.Errorf("%v: exit status %d", arguments, ran.status)
		}
		contains(t, ran.stderr, says)
	}
	if empty := done("list", "--json"); strings.TrimSpace(empty) != "[]" {
		t.Errorf("no applications: %s", empty)
	}
	p.request("Meter\x1b[31m reader", "grant_type", "client_credentials", "scopes", "everything")
	p.request("Second")

	var listed []map[string]any
	if err := json.Unmarshal([]byte(done("list", "--json")), &listed); err != nil || len(listed) != 2 {
		t.Fatalf("list: %v %v", listed, err)
	}
	reference := func(name string) string {
		for _, a := range listed {
			if a["name"] == name {
				return a["reference"].(string)
			}
		}
		t.Fatalf("no %s in %v", name, listed)
		return ""
	}
	first, second := reference("Meter[31m reader"), reference("Second")
	contains(t, done("list"), "REFERENCE", first, "pending", "dev@example.com")
	contains(t, done("show", first), "Line 1", "Line 2", "client_credentials", "everything", "127.0.0.1")

	fails("decide on", "approve", first)
	fails("everything", "approve", first, "--type", "confidential")
	fails("not found", "show", "aaaaaaaaaa")
	fails("not found", "approve", "../clients")
	fails(`required flag(s) "reason" not set`, "reject", second)

	printed := done("approve", first, "--name", "Meters", "--id", "meters", "--type", "confidential", "--scope", "api:read", "--resource", p.url+"/api", "--json")
	var approved struct {
		ID     string `json:"client_id"`
		Name   string `json:"client_name"`
		Secret string `json:"client_secret"`
		URL    string `json:"secret_url"`
	}
	if err := json.Unmarshal([]byte(printed), &approved); err != nil || approved.ID != "meters" || approved.Name != "Meters" || approved.Secret != "" {
		t.Fatalf("approve: %v %s", err, printed)
	}
	link := approved.URL
	fails("approved or rejected already", "approve", first, "--type", "confidential")
	fails("approved or rejected already", "reject", first, "--reason", "no")
	contains(t, done("reject", second, "--reason", "Not here."), "Rejected Second.")
	contains(t, done("show", second), "rejected", "Not here.")

	csrf, cookie := p.form(link)
	_, handle, _ := strings.Cut(link, "link=")
	reveal := func() answer {
		return p.send("POST", "/applications/secret", url.Values{"csrf_token": {csrf}, "transaction": {handle}, "action": {"reveal"}}.Encode(),
			cookie, "Content-Type: application/x-www-form-urlencoded")
	}
	shown := reveal()
	shown.want(t, 200)
	secret := regexp.MustCompile(`client_secret</dt><dd><code>([^<]+)`).FindStringSubmatch(shown.body)
	if secret == nil {
		t.Fatalf("no secret: %s", shown.body)
	}
	for _, path := range []string{"/token", "/oauth/token.php", "/oauth/v2/token/"} {
		p.send("POST", path, "grant_type=client_credentials", basic("meters", secret[1]), "Content-Type: application/x-www-form-urlencoded").want(t, 200)
	}
	reveal().want(t, http.StatusGone)
	p.send("GET", link, "").want(t, http.StatusGone)
	contains(t, p.log(), `"application_requested"`, `"application_approved"`, `"application_rejected"`, `"application_secret_revealed"`)
	for _, never := range []string{secret[1], handle} {
		if strings.Contains(p.log(), never) {
			t.Error("a secret, or the link to it, stands in the log")
		}
	}
}

// TestApplicationEvent: Caddy's events app hears of each request, and learns no
// more than its name and reference.
func TestApplicationEvent(t *testing.T) {
	recorded.events = nil
	s := start(t, applicationCaddyfile, "")
	s.request("Meter reader", "client_type", "public")
	recorded.Lock()
	defer recorded.Unlock()
	if len(recorded.events) != 1 {
		t.Fatalf("%d events", len(recorded.events))
	}
	data := recorded.events[0].Data
	if reference, _ := data["reference"].(string); len(data) != 3 || data["name"] != "Meter reader" || data["issuer"] != s.url || len(reference) != 10 {
		t.Errorf("data: %v", data)
	}
}

// TestIssuerOptionsOff: a host that has a page of its own keeps it, and an issuer
// that takes no requests has no form.
func TestIssuerOptionsOff(t *testing.T) {
	s := start(t, applicationCaddyfile, "")
	contains(t, s.send("GET", "/", "").body, "/applications/new", s.url+"/token")
	if err := s.load(strings.Replace(applicationCaddyfile, "scope api:read", "applications off\n\t\t\twelcome off\n\t\t\tscope api:read", 1)); err != nil {
		t.Fatal(err)
	}
	if page := s.send("GET", "/", ""); page.body != "the site's own page" {
		t.Errorf("GET /: %s", page.body)
	}
	if page := s.send("GET", "/applications/new", ""); strings.Contains(page.body, "csrf_token") {
		t.Errorf("GET /applications/new: %s", page.body)
	}
	for line, says := range map[string]string{
		"applications maybe":           "applications wants on or off",
		"applications":                 "applications wants on or off",
		"welcome on\n\t\t\twelcome on": "welcome stands twice",
		"endpoint token":               "wrong argument count",
		"endpoint tokens /x":           "want one of",
		"endpoint token /authorize":    "answers something else",
	} {
		err := s.load(strings.Replace(applicationCaddyfile, "scope api:read", line+"\n\t\t\tscope api:read", 1))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", line, err, says)
		}
	}
}
