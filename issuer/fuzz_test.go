package issuer

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// fuzzedLog is the log of one request, so that millions of them fit into memory.
type fuzzedLog struct{ bytes.Buffer }

func (l *fuzzedLog) configure(c *Config) {
	c.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// check holds the log of one request against what holds for every one: lines of
// JSON, of a bounded size, and none with a secret that was not sent as something
// else.
func (l *fuzzedLog) check(t *testing.T, sentInClear string) {
	t.Helper()
	defer l.Reset()
	for line := range strings.Lines(l.String()) {
		if !json.Valid([]byte(line)) || len(line) > 8<<10 {
			t.Errorf("a log line of %d bytes: %.500s", len(line), line)
		}
		for _, secret := range fuzzedSecrets {
			if strings.Contains(line, secret) && !strings.Contains(sentInClear, secret) {
				t.Errorf("a secret is in the log: %.500s", line)
			}
		}
	}
}

// fuzzedSecrets are what the seeds authenticate with.
var fuzzedSecrets = []string{svcSecret, rsSecret, "canary-other", webSecret, "canary-box"}

// fuzzedEndpoints are those that answer in JSON.
var fuzzedEndpoints = []string{
	"/token", "/introspect", "/revoke", "/userinfo", "/device-authorization", "/device_authorization",
	"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
}

// FuzzTokenRequest: whatever is sent to an endpoint for clients, the answer is
// JSON and not 5xx, no secret is logged, and a token is given only to whoever sent
// a right secret.
func FuzzTokenRequest(f *testing.F) {
	form := "application/x-www-form-urlencoded"
	f.Add("POST", "/token", form, "", ccGrant)
	f.Add("POST", "/token/", form, "Basic c3ZjOmNhbmFyeQ==", ccGrant+"&scope=read+write&resource="+fixtureAPI)
	f.Add("POST", "/token", form+"; charset=utf-8", "Bearer x", "grant_type=password&username=a&password=b")
	f.Add("POST", "/token?grant_type=client_credentials", form, "", "client_id=svc&client_secret="+svcSecret)
	f.Add("POST", "/introspect", form, "", "token=eyJ&client_id=spa")
	f.Add("POST", "/revoke", form, "Basic Og==", "token=%00&token_type_hint=;")
	f.Add("GET", "/.well-known/openid-configuration", "", "", "")
	f.Add("POST", "/token", form, "", "client_id=svc&client_id=&scope=%zz&%ff")
	f.Add("POST", "/token", form, "", ccGrant+"&client_id=svc&client_secret="+svcSecret)
	f.Add("POST", "/token", form, "Basic c3ZjOmNhbmFyeS1zdmMtN0pxeA==", ccGrant)
	f.Add("POST", "/token", form, "", redeemForm(strings.Repeat("A", 44), "client_id", "spa"))
	f.Add("POST", "/token", form, "", refreshForm(strings.Repeat("A", 44), "client_id", "spa"))
	f.Add("POST", "/token", form, "", "client_id=tv&device_code=AAAA&grant_type="+url.QueryEscape(oauth.GrantDeviceCode))
	f.Add("POST", "/token", form, "", "client_id=svc&client_secret="+svcSecret+"&subject_token=e30.e30.&subject_token_type="+
		url.QueryEscape(tokenTypeJWT)+"&grant_type="+url.QueryEscape(oauth.GrantTokenExchange))
	f.Add("POST", "/device-authorization", form, "", "client_id=box&client_secret=canary-box&scope=read+openid")
	f.Add("GET", "/userinfo", "", "Bearer e30.e30.AA", "")
	log := new(fuzzedLog)
	fixture := newFixture(f, withPeople, withDevices, log.configure)
	f.Fuzz(func(t *testing.T, method, target, contentType, authorization, body string) {
		r, err := http.NewRequest(method, "http://gw.test", strings.NewReader(body))
		if err != nil {
			return // net/http lets no such method through
		}
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		if fixture.Serves(r.URL.Path) && !slices.Contains(fuzzedEndpoints, strings.TrimSuffix(r.URL.Path, "/")) {
			return // a page; FuzzAuthorizeRequest has the one that takes most
		}
		r.Header.Set("Content-Type", contentType)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		fixture.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		given, err := readCredentials(r.Header, fuzzedForm(body))
		log.check(t, method+" "+target+" "+given.clientID)
		if w.Code == http.StatusNoContent {
			return // a preflight
		}
		checkFuzzedAnswer(t, w, body)
		if !strings.Contains(w.Body.String(), "access_token\":") {
			return
		}
		if err != nil {
			t.Fatalf("a token without credentials: %v", err)
		}
		for _, secret := range fuzzedSecrets {
			if given.secret == secret {
				return
			}
		}
		t.Errorf("a token for %q with the secret %q", given.clientID, given.secret)
	})
}

// checkFuzzedAnswer is checkAnswer for requests that may have written a secret
// where none belongs.
func checkFuzzedAnswer(t *testing.T, w *httptest.ResponseRecorder, body string) {
	t.Helper()
	if strings.Contains(body, canary) && strings.Contains(w.Body.String(), canary) {
		for _, secret := range fuzzedSecrets {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("the answer holds a secret of the request: %.300s", w.Body)
			}
		}
		return
	}
	checkAnswer(t, w)
}

func fuzzedForm(body string) oauth.Form {
	f, err := oauth.ParseForm(body)
	if err != nil {
		return oauth.Form{}
	}
	return f
}
