package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

const (
	fixtureURL   = "https://auth.test"
	fixtureAPI   = "https://api.test"
	fixtureFiles = "https://files.test/v1"
)

// Every secret of the fixture holds this word, and so does every secret that a
// test makes up: it must never be found in an answer or in the log.
const canary = "canary"

const (
	svcSecret = "canary-svc-7Jqx"          // of a length that needs padding in Basic
	rsSecret  = "canary-rs:with+%41 space" // every character that form encoding changes
	offSecret = "canary-off"
)

// fixture is an Issuer on a file of its own, with a log that can be searched.
type fixture struct {
	*Issuer
	t      testing.TB
	store  *fixtureStorage
	log    *fixtureLog
	config Config
}

// newFixture makes an issuer with these clients:
//
//	svc    confidential, asks for tokens (read, write)
//	rs     confidential, registered with the resource https://api.test
//	other  confidential, like svc
//	spa    public
//	off    confidential, disabled
//	old    confidential, its secret has expired
//	null   confidential, its secret is the empty one
func newFixture(t testing.TB, changes ...func(*Config)) *fixture {
	t.Helper()
	log := new(fixtureLog)
	secret := func(s string) []clients.Secret { return []clients.Secret{{Hash: clients.HashSecret(s)}} }
	client := func(id, clientType string, scope ...string) clients.Metadata {
		m := clients.Metadata{ID: id, Type: clientType, Scope: scope}
		if clientType == clients.Confidential {
			m.GrantTypes = []string{"client_credentials"}
		}
		return m
	}
	rs, off := client("rs", clients.Confidential, "read"), client("off", clients.Confidential, "read")
	rs.Resources, off.Disabled = []string{fixtureAPI}, true
	config := Config{
		URL:    fixtureURL,
		Scopes: []ScopeConfig{{Name: "read"}, {Name: "write"}, {Name: "admin"}},
		Clients: []clients.Client{
			{Metadata: client("svc", clients.Confidential, "read", "write"), Secrets: secret(svcSecret)},
			{Metadata: rs, Secrets: secret(rsSecret)},
			{Metadata: client("other", clients.Confidential, "read"), Secrets: secret("canary-other")},
			{Metadata: client("spa", clients.Public, "read")},
			{Metadata: off, Secrets: secret(offSecret)},
			{Metadata: client("old", clients.Confidential, "read"), Secrets: []clients.Secret{{
				Hash: clients.HashSecret("canary-old"), Expires: time.Now().Add(-time.Second),
			}}},
			{Metadata: client("null", clients.Confidential, "read"), Secrets: secret("")},
		},
		DefaultResource: fixtureAPI,
		Resources:       func() []string { return []string{fixtureAPI, fixtureFiles} },
		Logger:          slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	config.Clients[0].GrantTypes = append(config.Clients[0].GrantTypes, oauth.GrantDeviceCode)
	for _, change := range changes {
		change(&config)
	}
	opened, err := bolt.Open(filepath.Join(t.TempDir(), "oauth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	f := &fixture{t: t, log: log, config: config, store: &fixtureStorage{Storage: opened}}
	f.restart()
	t.Cleanup(f.checkLog)
	return f
}

// restart makes the issuer anew, on a State that knows nothing but the file.
func (f *fixture) restart() {
	f.t.Helper()
	issuer, err := New(context.Background(), f.config, NewState(f.store))
	if err != nil {
		f.t.Fatalf("New: %v", err)
	}
	f.Issuer = issuer
}

// loggedToken is a JWT, or the beginning of one; random ids have no dot and quote
// at the right places.
var loggedToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.|"eyJ`)

// checkLog holds for every test: no secret is logged, at debug level either, and
// an event is one JSON line of a bounded size.
func (f *fixture) checkLog() {
	for _, line := range f.log.lines() {
		if strings.Contains(line, canary) || loggedToken.MatchString(line) {
			f.t.Errorf("a secret or a token is in the log: %.500s", line)
		}
		if !json.Valid([]byte(line)) {
			f.t.Errorf("a log line is no JSON: %.500s", line)
		}
		if len(line) > 8<<10 {
			f.t.Errorf("a log line has %d bytes: %.200s", len(line), line)
		}
		if err := checkAuditLine(line); err != nil {
			f.t.Errorf("%v: %.500s", err, line)
		}
	}
}

// fixtureRequest changes a request before it is sent.
type fixtureRequest func(*http.Request)

func withHeader(name, value string) fixtureRequest {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func withMethod(method string) fixtureRequest { return func(r *http.Request) { r.Method = method } }

// withBasic authenticates with client_secret_basic (RFC 6749 §2.3.1).
func withBasic(id, secret string) fixtureRequest {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

var asSvc, asRS, asOther = withBasic("svc", svcSecret), withBasic("rs", rsSecret), withBasic("other", "canary-other")

// post sends a form; a header given twice is sent twice, and an empty
// Content-Type is not sent.
func (f *fixture) post(target, body string, changes ...fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, change := range changes {
		change(r)
	}
	return f.send(r)
}

func (f *fixture) get(target string, changes ...fixtureRequest) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, change := range changes {
		change(r)
	}
	return f.send(r)
}

// send holds every answer against what is true of all.
func (f *fixture) send(r *http.Request) *httptest.ResponseRecorder {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	checkAnswer(f.t, w)
	return w
}

// checkAnswer: JSON, not sniffed, without a secret; and of a refusal, what RFC
// 6749 §5.2 says of it.
func checkAnswer(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	body := w.Body.Bytes()
	if !json.Valid(body) || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the answer is not JSON: %v %.300s", w.Header(), body)
	}
	if bytes.Contains(body, []byte(canary)) {
		t.Errorf("the answer holds a secret of the request: %.300s", body)
	}
	if w.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Error("an endpoint allows credentials to other origins")
	}
	if w.Code < 400 {
		return
	}
	checkNotStored(t, w)
	var refusal struct {
		Error       *string `json:"error"`
		Description *string `json:"error_description"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&refusal); err != nil || refusal.Error == nil || refusal.Description == nil {
		t.Fatalf("a refusal is error and error_description; this is %s (%v)", body, err)
	}
	for _, text := range []string{*refusal.Error, *refusal.Description} {
		if text == "" || strings.IndexFunc(text, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) >= 0 {
			t.Errorf("RFC 6749 section 5.2 does not allow %q", text)
		}
	}
	if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (w.Code == http.StatusUnauthorized) {
		t.Errorf("status %d with WWW-Authenticate %q (RFC 9110 section 11.6.1)", w.Code, w.Header().Get("WWW-Authenticate"))
	}
}

// checkNotStored: RFC 6749 §5.1.
func checkNotStored(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	control := w.Header().Get("Cache-Control")
	if !strings.Contains(control, "no-store") || !strings.Contains(control, "no-cache") || w.Header().Get("Pragma") != "no-cache" {
		t.Errorf("headers %v; want no-store, no-cache and Pragma (RFC 6749 section 5.1)", w.Header())
	}
}

// errorOf returns the error code of an answer, "" of a success.
func errorOf(t testing.TB, w *httptest.ResponseRecorder) oauth.ErrorCode {
	t.Helper()
	var refusal struct {
		Error oauth.ErrorCode `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return refusal.Error
}

// expect compares status and error code; "" is success.
func expect(t testing.TB, w *httptest.ResponseRecorder, status int, code oauth.ErrorCode) {
	t.Helper()
	if got := errorOf(t, w); w.Code != status || got != code {
		t.Errorf("answer %d %q, want %d %q: %.300s", w.Code, got, status, code, w.Body)
	}
}

// issue returns a token that was got by the client credentials grant.
func (f *fixture) issue(as fixtureRequest, parameters string) string {
	f.t.Helper()
	w := f.post("/token", "grant_type=client_credentials&"+parameters, as)
	if w.Code != http.StatusOK {
		f.t.Fatalf("no token: %d %s", w.Code, w.Body)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		f.t.Fatal(err)
	}
	return answer.AccessToken
}

// active tells what the gateway would be told.
func (f *fixture) active(token string) bool {
	f.t.Helper()
	_, err := f.Introspect(context.Background(), token)
	return err == nil
}

// judge fails unless the issuer's verdict is as wanted.
func (f *fixture) judge(token string, want bool, what string) {
	f.t.Helper()
	if got := f.active(token); got != want {
		f.t.Errorf("%s: active %v, want %v", what, got, want)
	}
}

func (f *fixture) facts(token string) *introspect.Token {
	f.t.Helper()
	facts, err := f.Introspect(context.Background(), token)
	if err != nil {
		f.t.Fatal(err)
	}
	return facts
}

// fixtureLog records log lines.
type fixtureLog struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *fixtureLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *fixtureLog) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSuffix(l.all.String(), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// event returns the audit lines of one event.
func (l *fixtureLog) event(name string) []map[string]any {
	return l.matching(func(fields map[string]any) bool { return fields["event"] == name })
}

// matching returns the lines whose fields are as wanted.
func (l *fixtureLog) matching(wanted func(map[string]any) bool) (found []map[string]any) {
	for _, line := range l.lines() {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && wanted(fields) {
			found = append(found, fields)
		}
	}
	return found
}

// fixtureStorage can be made to fail, and to hold writes until several of them
// have come.
type fixtureStorage struct {
	storage.Storage
	failing atomic.Pointer[error]
	meeting atomic.Pointer[fixtureMeeting]
}

type fixtureMeeting struct {
	missing atomic.Int32
	met     chan struct{}
}

// hold makes the next n writes begin together.
func (s *fixtureStorage) hold(n int32) {
	m := &fixtureMeeting{met: make(chan struct{})}
	m.missing.Store(n)
	s.meeting.Store(m)
}

func (s *fixtureStorage) fail(err error) { s.failing.Store(&err) }

func (s *fixtureStorage) recover() { s.failing.Store(nil) }

func (s *fixtureStorage) View(ctx context.Context, fn func(storage.Tx) error) error {
	if err := s.failing.Load(); err != nil {
		return *err
	}
	return s.Storage.View(ctx, fn)
}

func (s *fixtureStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if err := s.failing.Load(); err != nil {
		return *err
	}
	if m := s.meeting.Load(); m != nil {
		switch missing := m.missing.Add(-1); {
		case missing == 0:
			s.meeting.Store(nil)
			close(m.met)
		case missing > 0:
			<-m.met
		}
	}
	return s.Storage.Update(ctx, fn)
}

// Storage kinds that tests look into, and what a client's key is.
const (
	kindClient  = "client"
	kindUnused  = "unused_client"
	kindRevoked = "revoked"
)

func clientKey(issuer, id string) string { return issuer + " " + id }
