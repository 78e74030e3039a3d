package issuer

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// clientEndpoint is an endpoint that clients call directly, with a request that
// it answers with success.
type clientEndpoint struct{ good string }

// clientEndpoints holds every one of them; otherEndpoints names what else takes
// POST, and whose it is. TestSurface fails on an endpoint that is in neither.
var (
	clientEndpoints = map[string]clientEndpoint{
		"/token":      {ccGrant},
		"/introspect": {"token=x"},
		"/revoke":     {"token=x"},

		"/device-authorization": {"scope=read"},
		"/device_authorization": {"scope=read"},
	}
	otherEndpoints = map[string]string{
		"/userinfo":    "bearer", // RFC 6750
		"/authorize":   "browser",
		"/login":       "browser",
		"/consent":     "browser",
		"/account":     "browser",
		"/device":      "browser",
		"/end-session": "browser",

		"/applications/secret": "browser",
	}
)

// TestSurface is the matrix of endpoint and check: what holds for one endpoint
// that clients call holds for all.
func TestSurface(t *testing.T) {
	f := newFixture(t)
	found := 0
	for path, e := range f.surface() {
		if !slices.Contains(e.methods, http.MethodPost) || otherEndpoints[path] != "" {
			continue
		}
		known, ok := clientEndpoints[path]
		if !ok {
			t.Errorf("%s is in neither list of this test", path)
			continue
		}
		found++
		checks := map[string]func(t *testing.T) *httptest.ResponseRecorder{
			"answers": func(t *testing.T) *httptest.ResponseRecorder {
				w := f.post(path, known.good, asSvc)
				expect(t, w, 200, "")
				return w
			},
			"POST only": func(t *testing.T) *httptest.ResponseRecorder {
				var w *httptest.ResponseRecorder
				for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"} {
					w = f.post(path+"?"+known.good, known.good, asSvc, withMethod(method))
					expect(t, w, 405, oauth.InvalidRequest)
				}
				return w
			},
			"form only": func(t *testing.T) *httptest.ResponseRecorder {
				w := f.post(path, known.good, asSvc, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
				expect(t, w, 415, oauth.InvalidRequest)
				return w
			},
			"64 KiB": func(t *testing.T) *httptest.ResponseRecorder {
				w := f.post(path, known.good+"&x="+strings.Repeat("a", 64<<10), asSvc)
				expect(t, w, 413, oauth.InvalidRequest)
				return w
			},
			"a body that breaks off": func(t *testing.T) *httptest.ResponseRecorder {
				w := f.post(path, "", asSvc, func(r *http.Request) { r.Body = brokenBody{} })
				expect(t, w, 400, oauth.InvalidRequest)
				return w
			},
			"client authentication": func(t *testing.T) *httptest.ResponseRecorder {
				expect(t, f.post(path, known.good), 401, oauth.InvalidClient)
				w := f.post(path, known.good, withBasic("svc", "canary"))
				expect(t, w, 401, oauth.InvalidClient)
				return w
			},
			"the body counts, the query does not": func(t *testing.T) *httptest.ResponseRecorder {
				// A good request in the query is none; where nothing is required, the
				// query is seen to be ignored by what is wrong in it.
				if strings.HasPrefix(path, "/device") {
					w := f.post(path+"?scope=admin", known.good, asSvc)
					expect(t, w, 200, "")
					return w
				}
				w := f.post(path+"?"+known.good, "", asSvc)
				expect(t, w, 400, oauth.InvalidRequest)
				return w
			},
			"a repeated parameter": func(t *testing.T) *httptest.ResponseRecorder {
				w := f.post(path, known.good+"&"+known.good, asSvc)
				expect(t, w, 400, oauth.InvalidRequest)
				return w
			},
		}
		for name, check := range checks {
			t.Run(path+" "+name, func(t *testing.T) { checkNotStored(t, check(t)) })
		}
	}
	if found != len(clientEndpoints) {
		t.Errorf("%d of %d endpoints are served", found, len(clientEndpoints))
	}
	for path := range otherEndpoints {
		if !f.Serves(path) {
			t.Errorf("%s is listed and not served", path)
		}
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
func (brokenBody) Close() error             { return nil }

// A panic becomes server_error: JSON, and nothing of what happened.
func TestPanicInAnEndpoint(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.DefaultResource = ""
		c.Resources = func() []string { panic("the gateway's list") }
	})
	w := f.post("/token", ccGrant, asSvc)
	expect(t, w, 500, oauth.ServerError)
	if body := w.Body.String(); strings.Contains(body, "gateway") || strings.Contains(body, "goroutine") || strings.Contains(body, ".go") {
		t.Errorf("the answer tells too much: %s", body)
	}
	if !strings.Contains(strings.Join(f.log.lines(), ""), "the gateway's list") {
		t.Error("the log does not say what happened")
	}
	expect(t, f.post("/token", ccGrant, asRS), 200, "") // the issuer goes on
}

// net/http's way to cut a connection is no failure of ours.
func TestAbortIsPassedOn(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.DefaultResource = ""
		c.Resources = func() []string { panic(http.ErrAbortHandler) }
	})
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
	}()
	f.post("/token", ccGrant, asSvc)
}
