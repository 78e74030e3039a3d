package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// canary stands in every secret that the tests make up, so that one search of a
// log finds them all.
const canary = "canary7c1d"

const appSecret = canary + "-app-secret-0123456789abcdef0123456789abcdef"

// usualCaddyfile is the server that most tests need: an issuer at the root of a
// host, a gate at /api, a backend behind it. Its client "app" is declared.
const usualCaddyfile = `{
	oauth {
		issuer $GATE {
			scope api:read "Read"
			scope api:write "Write"
			client app {
				name "The application"
				secret_hash $HASH
				grant client_credentials
				scope api:read api:write
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		scope GET,HEAD api:read
		scope * api:write
	}
	reverse_proxy /api/* $BACKEND
}
`

// server is a place for a Caddy that listens on free ports of 127.0.0.1 and keeps
// its files in a directory of the test. There can be one in this process, and as
// many as you like as processes of their own.
type server struct {
	t       testing.TB
	dir     string // data, log and configuration
	url     string // where $GATE listens
	admin   string // host:port of the admin endpoint
	backend string // host:port for $BACKEND
	program string // that runs it as a process; empty: the built binary

	reloaded bool // a configuration was loaded after the first

	descriptors int // that a process may have open; 0: as many as the system grants
}

func newServer(t testing.TB, backend string) *server {
	t.Helper()
	return &server{t: t, dir: t.TempDir(), url: "http://" + freeAddress(t), admin: freeAddress(t), backend: backend}
}

// freeAddress returns an address of 127.0.0.1 on which nobody listens. It lies
// below the ports that systems give to outgoing connections, since one of those
// could take it before the server does.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no free port of 127.0.0.1 was found")
	return ""
}

// caddyfile fills in a test's Caddyfile: its names in capitals, and global
// options that keep the server to itself.
func (s *server) caddyfile(text string) string {
	hash, err := clients.HashSecret(appSecret).MarshalText()
	if err != nil {
		s.t.Fatal(err)
	}
	level := "DEBUG"
	if _, measured := s.t.(*testing.B); measured {
		level = "ERROR"
	}
	globals := fmt.Sprintf(`{
	admin %s
	persist_config off
	storage file_system %s
	default_bind 127.0.0.1
	auto_https off
	grace_period 2s
	log {
		output file %s {
			roll_disabled
		}
		level %s
	}
`, s.admin, filepath.Join(s.dir, "caddy"), s.logFile(), level)
	names := strings.NewReplacer("$GATE", s.url, "$BACKEND", s.backend, "$DIR", s.dir, "$HASH", string(hash))
	return names.Replace(strings.Replace(text, "{\n", globals, 1))
}

func (s *server) logFile() string { return filepath.Join(s.dir, "caddy.log") }

// log returns what the server has logged so far.
func (s *server) log() string {
	s.t.Helper()
	text, err := os.ReadFile(s.logFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(text)
}

// start loads a Caddyfile into this process and stops it with the test. No
// secret may be found in its log then.
func start(t testing.TB, caddyfile, backend string) *server {
	t.Helper()
	s := newServer(t, backend)
	startHere(t, s, caddyfile)
	return s
}

// startHere loads a Caddyfile of a server into this process, as start does.
func startHere(t testing.TB, s *server, caddyfile string) {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", s.dir)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error("stop:", err)
		}
		if at := strings.Index(s.log(), canary); at >= 0 {
			t.Errorf("a secret stands in the log: ...%s", s.log()[max(0, at-200):min(len(s.log()), at+50)])
		}
	})
	if err := s.load(caddyfile); err != nil {
		t.Fatal("load:", err)
	}
}

// load replaces the configuration of this process, as a reload does.
func (s *server) load(caddyfile string) error {
	adapted, err := adapt(s.caddyfile(caddyfile))
	if err != nil {
		return err
	}
	s.reloaded = caddy.ActiveContext().Context != nil
	return caddy.Load(adapted, true)
}

// validate is what "caddy validate" does.
func (s *server) validate(caddyfile string) error {
	adapted, err := adapt(s.caddyfile(caddyfile))
	if err != nil {
		return err
	}
	return validate(string(adapted))
}

func validate(text string) error {
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON([]byte(text), config); err != nil {
		return err
	}
	return caddy.Validate(config)
}

// adapt turns a Caddyfile into JSON; a warning is an error, except that of the
// formatter.
func adapt(caddyfile string) ([]byte, error) {
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			return nil, errors.New(warning.String())
		}
	}
	return adapted, nil
}

// activeApp is the app of the configuration in force.
func activeApp(t testing.TB) *App {
	t.Helper()
	app, err := oauthApp(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// send makes a request on a connection of its own. Headers are given as "Name:
// value".
func (s *server) send(method, path, body string, headers ...string) answer {
	s.t.Helper()
	var a answer
	var err error
	eventually(s.t, "an answer", func() bool {
		a, err = s.try(method, path, body, headers...)
		return !s.reloaded || !cutOff(err)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// cutOff tells whether a new connection ended before it was served. It happens
// in the moment in which Caddy hands a listener from one configuration to the
// next, with the module and without.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF)
}

func (s *server) try(method, path, body string, headers ...string) (answer, error) {
	target := path
	if strings.HasPrefix(path, "/") {
		target = s.url + path
	}
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header[name] = append(request.Header[name], value)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	return read(response)
}

// read reads a response to its end.
func read(response *http.Response) (answer, error) {
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response, string(text)}, err
}

// adminCall makes a request to the admin endpoint with a JSON body, or without
// one if body is nil.
func (s *server) adminCall(method, path string, body any, headers ...string) answer {
	s.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
		headers = append([]string{"Content-Type: application/json"}, headers...)
	}
	return s.send(method, "http://"+s.admin+path, string(text), headers...)
}

// addClient registers a client at run time and returns its secret.
func (s *server) addClient(id string, scope string) string {
	s.t.Helper()
	a := s.adminCall("POST", "/oauth/clients", map[string]any{
		"client_id": id, "client_name": id, "grant_types": []string{"client_credentials"}, "scope": scope,
	})
	a.want(s.t, http.StatusOK)
	return a.member(s.t, "client_secret")
}

// tokenRequest asks for a token with Basic credentials.
func (s *server) tokenRequest(client, secret string, parameters ...string) answer {
	s.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		form.Add(name, value)
	}
	return s.send("POST", "/token", form.Encode(), basic(client, secret), "Content-Type: application/x-www-form-urlencoded")
}

// token returns an access token of a client.
func (s *server) token(client, secret string, parameters ...string) string {
	s.t.Helper()
	a := s.tokenRequest(client, secret, parameters...)
	a.want(s.t, http.StatusOK)
	return a.member(s.t, "access_token")
}

// appToken returns a token of the declared client.
func (s *server) appToken(parameters ...string) string {
	s.t.Helper()
	return s.token("app", appSecret, parameters...)
}

func basic(client, secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
	return "Authorization: " + r.Header.Get("Authorization")
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// want fails the test if the status is another one.
func (a answer) want(t testing.TB, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
}

// member returns a string member of a JSON answer.
func (a answer) member(t testing.TB, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	text, _ := members[name].(string)
	if text == "" {
		t.Fatalf("no %s in %s", name, a.body)
	}
	return text
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within 20 s:", what)
		}
	}
}

// contains fails the test if text lacks a part, and names the part.
func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %s", part, bytes.TrimSpace([]byte(text)))
		}
	}
}
