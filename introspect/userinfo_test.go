package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newTestUserinfo(server *fakeServer, config UserinfoConfig) *Userinfo {
	config.Issuer, config.Endpoint, config.Transport = testIssuer, "https://as.test/userinfo", server
	return must(NewUserinfo(config))
}

// OpenID Connect Core §5.3.2, §5.3.3: what an answer means.
func TestUserinfoAnswers(t *testing.T) {
	for _, test := range []struct {
		answer string
		status int
		want   error
	}{
		{`{"sub":"bob"}`, 200, nil},
		{`{"sub":"bob","email":"b@as.test","iss":"` + testIssuer + `"}`, 200, nil},
		{`{"error":"invalid_token"}`, 401, ErrInactive},
		{`{"error":"insufficient_scope"}`, 403, ErrInactive},
		{`{"sub":"bob","iss":"https://evil.test"}`, 200, ErrInactive},

		{`{}`, 200, ErrUnavailable},
		{`{"sub":""}`, 200, ErrUnavailable},
		{`{"sub":7}`, 200, ErrUnavailable},
		{`{"sub":null}`, 200, ErrUnavailable},
		{`{"sub":"a\nb"}`, 200, ErrUnavailable},
		{`{"Sub":"bob"}`, 200, ErrUnavailable},
		{`{"sub":"bob","sub":"ada"}`, 200, ErrUnavailable},
		{`{"sub":"` + strings.Repeat("s", 1025) + `"}`, 200, ErrUnavailable},
		{`{"sub":"bob"}{}`, 200, ErrUnavailable},
		{`["bob"]`, 200, ErrUnavailable},
		{``, 200, ErrUnavailable},
		{`<html>`, 200, ErrUnavailable},
		{`{"sub":"bob"}` + strings.Repeat(" ", 64<<10), 200, ErrUnavailable},
		{`{"sub":"bob"}`, 201, ErrUnavailable},
		{`{"sub":"bob"}`, 302, ErrUnavailable},
		{`{"sub":"bob"}`, 400, ErrUnavailable},
		{`{"sub":"bob"}`, 500, ErrUnavailable},
	} {
		server := &fakeServer{}
		server.set(test.status, []byte(test.answer))
		token, err := newTestUserinfo(server, UserinfoConfig{}).Introspect(t.Context(), "opaque")
		if !errors.Is(err, test.want) || (err == nil) != (token != nil) {
			t.Errorf("%d %.60s: %v, want %v", test.status, test.answer, err, test.want)
		}
		if errors.Is(err, ErrInactive) && errors.Is(err, ErrUnavailable) {
			t.Errorf("%.60s: the error is of both kinds", test.answer)
		}
	}
}

// OpenID Connect Core §5.3.1, over a socket, at the endpoint that the metadata
// names: the token stands in the header, and only issuer and subject are known.
func TestUserinfoExchange(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Start()
	defer server.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"userinfo_endpoint":"%s/me"}`, server.URL, server.URL)
	})
	kind := "application/json; charset=utf-8"
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.Header.Get("Authorization") != "Bearer a+b/c=" || r.URL.RawQuery != "" {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		w.Header().Set("Content-Type", kind)
		fmt.Fprint(w, `{"sub":"bob","aud":"x","scope":"y","client_id":"z","exp":4000000000}`)
	})
	server.Config.Handler = mux

	userinfo := must(NewUserinfo(UserinfoConfig{Issuer: server.URL}))
	defer userinfo.Close()
	got, err := userinfo.Introspect(t.Context(), "a+b/c=")
	if err != nil || got.Issuer != server.URL || got.Subject != "bob" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got.Audience != nil || got.Scope != nil || got.ClientID != "" || time.Until(got.Expiry) > userinfoTTL {
		t.Errorf("what is said of a person was taken for facts of the token: %+v", got)
	}
	// A signed answer (§5.3.2) is not understood.
	kind = "application/jwt"
	signed := must(NewUserinfo(UserinfoConfig{Issuer: server.URL, Endpoint: server.URL + "/me"}))
	defer signed.Close()
	if _, err := signed.Introspect(t.Context(), "a+b/c="); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a signed answer: %v", err)
	}
}

// A token is good for a minute from when it was shown, and shown again after half
// of it, so that none is returned that is about to expire. A refusal holds for
// five seconds, a failure not at all.
func TestUserinfoTTL(t *testing.T) {
	for _, test := range []struct {
		status   int
		believed time.Duration
	}{{200, 30 * time.Second}, {401, 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeServer{}
			server.set(test.status, []byte(`{"sub":"bob"}`))
			userinfo := newTestUserinfo(server, UserinfoConfig{})
			first, _ := userinfo.Introspect(t.Context(), "opaque")
			if first != nil && time.Until(first.Expiry) != time.Minute {
				t.Errorf("good for %v", time.Until(first.Expiry))
			}
			time.Sleep(test.believed - 1)
			userinfo.Introspect(t.Context(), "opaque")
			if server.count() != 1 {
				t.Errorf("%d: asked again before %v", test.status, test.believed)
			}
			time.Sleep(1)
			userinfo.Introspect(t.Context(), "opaque")
			if server.count() != 2 {
				t.Errorf("%d: not asked again after %v", test.status, test.believed)
			}
			synctest.Wait()
		})
	}
}

// Requests with one token share a question, nobody waits over two seconds, and
// after Close nothing is asked.
func TestUserinfoBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{delay: time.Hour}
		userinfo := newTestUserinfo(server, UserinfoConfig{Concurrency: 2})
		start := time.Now()
		var group sync.WaitGroup
		for n := range 100 {
			group.Go(func() {
				_, err := userinfo.Introspect(t.Context(), fmt.Sprint(n%4))
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		group.Wait()
		if waited := time.Since(start); waited != requestWait || server.count() != 2 {
			t.Errorf("waited %v for %d questions, want 2 at a time", waited, server.count())
		}
		userinfo.Close()
		synctest.Wait()
		_, err := userinfo.Introspect(t.Context(), "later")
		if !errors.Is(err, ErrUnavailable) || time.Since(start) > requestWait {
			t.Errorf("after Close: %v", err)
		}
		if _, err := userinfo.Introspect(t.Context(), "a b"); !errors.Is(err, ErrInactive) {
			t.Errorf("no token: %v", err)
		}
	})
}

// A configuration that would send tokens in the clear is refused.
func TestNewUserinfoRefuses(t *testing.T) {
	for name, config := range map[string]UserinfoConfig{
		"nothing":           {},
		"issuer over http":  {Issuer: "http://as.test"},
		"no issuer":         {Endpoint: "https://as.test/me"},
		"endpoint by http":  {Issuer: testIssuer, Endpoint: "http://as.test/me"},
		"credentials in it": {Issuer: testIssuer, Endpoint: "https://a:b@as.test/me"},
		"negative":          {Issuer: testIssuer, Entries: -1},
		"negative turns":    {Issuer: testIssuer, Concurrency: -1},
	} {
		if _, err := NewUserinfo(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
