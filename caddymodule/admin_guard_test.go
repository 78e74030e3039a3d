package caddymodule

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// foreignTypes are what a page of another origin can send without asking first:
// what a form can send, and what no-cors can. The last is near, and is none of ours.
var foreignTypes = []string{"", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"}

// TestAdminCrossOrigin: what a page in the operator's browser cannot do, by any way
// that browsers offer it.
func TestAdminCrossOrigin(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	const add = `{"client_id": "evil", "client_name": "N"}`
	_, port, _ := strings.Cut(s.admin, ":")
	const jsonBody = "Content-Type: application/json"
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
	}{
		{"a page elsewhere", "POST", "clients", add, []string{jsonBody, "Origin: https://evil.test"}, 403},
		{"a page of another port", "POST", "clients", add, []string{jsonBody, "Origin: http://127.0.0.1:1"}, 403},
		{"a page of this host by https", "POST", "clients", add, []string{jsonBody, "Origin: https://127.0.0.1.evil.test:" + port}, 403},
		{"a page without an origin", "POST", "clients", add, []string{jsonBody, "Origin: null"}, 400},
		{"fetch metadata and no origin", "POST", "clients", add, []string{jsonBody, "Sec-Fetch-Mode: cors"}, 403},
		{"no-cors", "POST", "clients", add, []string{"Content-Type: text/plain", "Sec-Fetch-Mode: no-cors"}, 400},
		{"a page elsewhere removes", "DELETE", "clients/app", "", []string{"Origin: https://evil.test"}, 403},
		{"a page elsewhere reads", "GET", "clients", "", []string{"Origin: https://evil.test"}, 403},
		{"DNS rebinding", "POST", "clients", add, []string{jsonBody, "Host: evil.test:" + port}, 403},
		{"DNS rebinding reads", "GET", "clients", "", []string{"Host: evil.test:" + port}, 403},
		{"DNS rebinding takes a backup", "GET", "backup", "", []string{"Host: evil.test"}, 403},
		{"a form, where the browser sends no origin", "POST", "clients", "client_id=evil", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"a form with the text of JSON", "POST", "clients", `{"client_id": "evil", "x": "=`, []string{"Content-Type: text/plain"}, 415},
		{"a form without a field", "POST", "keys/rotate", "", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"nothing at all", "POST", "keys/rotate", "", nil, 415},
		{"a body to remove with", "DELETE", "clients/app", "x=y", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"two types", "POST", "keys/rotate", "{}", []string{jsonBody, "Content-Type: text/plain"}, 415},
		{"asking first", "OPTIONS", "clients", "", []string{"Origin: https://evil.test", "Access-Control-Request-Method: POST"}, 403},
		{"a method in a header", "GET", "keys/rotate", "", []string{"X-HTTP-Method-Override: POST"}, 405},
		{"the endpoint itself", "POST", "keys/rotate", "{}", []string{jsonBody, "Origin: http://" + s.admin}, 200},
		{"a type with a parameter", "POST", "keys/rotate", "{}", []string{"Content-Type: application/json; charset=utf-8"}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.adminHead(t, test.method, "/oauth/"+test.path, test.body, test.headers...)
			if a.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", a.StatusCode, test.status, a.body)
			}
			if a.Header.Get("Access-Control-Allow-Origin") == "https://evil.test" {
				t.Error("another origin may read the answer")
			}
		})
	}
	s.adminCall("GET", "/oauth/clients/evil", nil).want(t, 404)
	s.adminCall("GET", "/oauth/clients/app", nil).want(t, 200)
}

// adminHead is a request to the admin endpoint that may carry another Host.
func (s *server) adminHead(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+s.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if request.Header.Add(name, value); name == "Host" {
			request.Host = value
		}
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	a, err := read(response)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAdminAPIOff: the commands say why they get no answer, and go on to work on
// the storage of the stopped server.
func TestAdminAPIOff(t *testing.T) {
	s := newServer(t, "127.0.0.1:9")
	p := s.serve(strings.Replace(usualCaddyfile, "oauth {", "oauth {\n\t\tadmin_api off", 1))
	s.adminCall("GET", "/oauth/clients", nil).want(t, 404)
	s.adminCall("GET", "/config/", nil).want(t, 200) // the rest of the endpoint is Caddy's
	s.appToken()
	for _, arguments := range [][]string{{"client", "list"}, {"client", "disable", "x"}, {"backup", filepath.Join(s.dir, "backup.db")}} {
		ran := s.run(append(append([]string{"oauth"}, arguments...), "--address", s.admin)...)
		if ran.status != 1 || strings.Count(ran.stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
		contains(t, ran.stderr, "admin_api off")
	}
	p.stop()
	offline := func(arguments ...string) string {
		t.Helper()
		ran := s.run(append(append([]string{"oauth"}, arguments...), "--offline", "--config", filepath.Join(s.dir, "Caddyfile"))...)
		if ran.status != 0 {
			t.Fatalf("%v: exit status %d: %s", arguments, ran.status, ran.stderr)
		}
		return ran.stdout
	}
	offline("client", "add", "--name", "Late", "--id", "late", "--scope", "api:read")
	contains(t, offline("client", "disable", "late"), "Disabled late")
	contains(t, offline("client", "list"), "late", "disabled", "app", "enabled")
}
