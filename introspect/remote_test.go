package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newTestRemote(server *fakeServer, config RemoteConfig) *Remote {
	config.Endpoint, config.ClientID, config.ClientSecret = "https://as.test/introspect", "rs 1", "s:e"
	config.Transport = server
	return must(NewRemote(config))
}

// RFC 7662 §2.2: what an answer means.
func TestRemoteAnswers(t *testing.T) {
	future := time.Now().Add(time.Hour).Unix()
	for _, test := range []struct {
		answer string
		status int
		want   error
	}{
		{`{"active":true}`, 200, nil},
		{fmt.Sprintf(`{"active":true,"iss":%q,"exp":%d,"token_type":"bearer","aud":"a","scope":"x y"}`, testIssuer, future), 200, nil},
		{`{"active":false}`, 200, ErrInactive},
		{`{"active":false,"sub":1}`, 200, ErrInactive},
		{`{"active":true,"exp":1}`, 200, ErrInactive},
		{fmt.Sprintf(`{"active":true,"nbf":%d}`, future), 200, ErrInactive},
		{`{"active":true,"iss":"https://evil.test"}`, 200, ErrInactive},
		{`{"active":true,"token_type":"DPoP"}`, 200, ErrInactive},
		{`{"active":true,"cnf":{"jkt":"x"}}`, 200, ErrInactive},
		{`{"active":true,"token_type":"Bearer","token_use":"access_token"}`, 200, nil},
		{`{"active":true,"token_type":"Bearer","token_use":"refresh_token"}`, 200, ErrInactive}, // Ory Hydra
		{`{"active":true,"token_use":"id"}`, 200, ErrInactive},
		{`{"active":true,"token_use":null}`, 200, ErrInactive},

		{`{}`, 200, ErrUnavailable},
		{`{"active":"true"}`, 200, ErrUnavailable},
		{`{"active":1}`, 200, ErrUnavailable},
		{`{"active":null}`, 200, ErrUnavailable},
		{`{"Active":true}`, 200, ErrUnavailable},
		{`{"active":false,"active":true}`, 200, ErrUnavailable},
		{`{"active":true}{}`, 200, ErrUnavailable},
		{`{"active":true,"sub":"a\nb"}`, 200, ErrUnavailable},
		{`{"active":true,"exp":"soon"}`, 200, ErrUnavailable},
		{`{"active":true,"scope":["a"]}`, 200, ErrUnavailable},
		{`{"active":true,"act":"x"}`, 200, ErrUnavailable},
		{`[]`, 200, ErrUnavailable},
		{``, 200, ErrUnavailable},
		{`{"active":true,"x":"` + strings.Repeat("x", 64<<10) + `"}`, 200, ErrUnavailable},
		{`{"active":true}` + strings.Repeat(" ", 64<<10), 200, ErrUnavailable},
		{`{"active":true}`, 201, ErrUnavailable},
		{`{"active":true}`, 302, ErrUnavailable},
		{`{"active":false}`, 401, ErrUnavailable}, // our credentials are wrong, not the token
		{`{"active":false}`, 500, ErrUnavailable},
	} {
		server := &fakeServer{}
		server.set(test.status, []byte(test.answer))
		token, err := newTestRemote(server, RemoteConfig{Issuer: testIssuer}).Introspect(t.Context(), "opaque")
		if !errors.Is(err, test.want) || (err == nil) != (token != nil) {
			t.Errorf("%d %.60s: %v, want %v", test.status, test.answer, err, test.want)
		}
		if errors.Is(err, ErrInactive) && errors.Is(err, ErrUnavailable) {
			t.Errorf("%.60s: the error is of both kinds", test.answer)
		}
	}
}

// RFC 7662 §2.1, over a socket: the request, and the facts of the answer.
func TestRemoteExchange(t *testing.T) {
	const answer = `{"active":true,"sub":"bob","client_id":"web","aud":["a","b"],"scope":"x y","jti":"j","exp":4000000000,"iat":1000,"act":{"sub":"svc"}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.Method != "POST" || id != "rs+1" || secret != "s%3Ae" || r.PostFormValue("token") != "a+b/c=" || r.PostFormValue("token_type_hint") != "access_token" {
			t.Errorf("%s with %q %q %v", r.Method, id, secret, r.PostForm)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Write([]byte(answer))
	}))
	defer server.Close()
	remote := must(NewRemote(RemoteConfig{Endpoint: server.URL, ClientID: "rs 1", ClientSecret: "s:e", Issuer: testIssuer}))
	got, err := remote.Introspect(t.Context(), "a+b/c=")
	want := &Token{
		Issuer: testIssuer, Subject: "bob", ClientID: "web", Audience: []string{"a", "b"}, Scope: []string{"x", "y"}, ID: "j",
		IssuedAt: time.Unix(1000, 0), Expiry: time.Unix(4e9, 0), Actor: &Actor{Subject: "svc"}, Claims: []byte(answer),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// What cannot be a token is not sent to anybody.
func TestRemoteRefusesUnasked(t *testing.T) {
	server := &fakeServer{}
	remote := newTestRemote(server, RemoteConfig{})
	for _, token := range []string{"", "a b", "a\x00", "a&token=b", strings.Repeat("a", MaxTokenLength+1)} {
		_, err := remote.Introspect(t.Context(), token)
		wantInactive(t, err, "")
	}
	if server.count() != 0 {
		t.Error("the endpoint was asked")
	}
}

// An answer is believed for the TTL, an inactive one for less, none past exp.
func TestRemoteTTL(t *testing.T) {
	for _, test := range []struct {
		answer   string
		believed time.Duration
	}{
		{`{"active":true}`, 30 * time.Second},
		{`{"active":true,"exp":946684810}`, 10 * time.Second}, // synctest starts at 2000-01-01
		{`{"active":false}`, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &fakeServer{}
			server.set(200, []byte(test.answer))
			remote := newTestRemote(server, RemoteConfig{})
			remote.Introspect(t.Context(), "opaque")
			time.Sleep(test.believed - 1)
			remote.Introspect(t.Context(), "opaque")
			if server.count() != 1 {
				t.Errorf("%s: asked again before %v", test.answer, test.believed)
			}
			time.Sleep(1)
			remote.Introspect(t.Context(), "opaque")
			if server.count() != 2 {
				t.Errorf("%s: not asked again after %v", test.answer, test.believed)
			}
			synctest.Wait()
		})
	}
}

// A failure is not remembered.
func TestRemoteFailureIsNotRemembered(t *testing.T) {
	server := &fakeServer{}
	server.set(503, nil)
	remote := newTestRemote(server, RemoteConfig{})
	_, err := remote.Introspect(t.Context(), "opaque")
	if !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	server.set(200, []byte(`{"active":true}`))
	if _, err := remote.Introspect(t.Context(), "opaque"); err != nil {
		t.Error(err)
	}
}

// Requests with one token share a question; with many, the questions at a time
// are bounded, so are those that wait, and nobody waits over two seconds.
func TestRemoteBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{delay: time.Second}
		server.set(200, []byte(`{"active":true}`))
		remote := newTestRemote(server, RemoteConfig{Concurrency: 2, Entries: 10})
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { _ = must(remote.Introspect(t.Context(), "same")) })
		}
		group.Wait()
		if server.count() != 1 {
			t.Errorf("%d questions about one token, want one", server.count())
		}
		start := time.Now()
		for i := range 50 {
			group.Go(func() { remote.Introspect(t.Context(), fmt.Sprint(i)) })
		}
		synctest.Wait()
		if got := server.count(); got != 1+2 {
			t.Errorf("%d questions at a time, want 2", got-1)
		}
		remote.mu.Lock()
		got := len(remote.asked)
		remote.mu.Unlock()
		if got != 2*waitingPerTurn {
			t.Errorf("%d questions wait, want %d", got, 2*waitingPerTurn)
		}
		group.Wait()
		if waited := time.Since(start); waited > requestWait {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(remote.asked) != 0 || len(remote.active.byToken) > 10 {
			t.Errorf("%d questions and %d answers are kept", len(remote.asked), len(remote.active.byToken))
		}
	})
}

// A revocation: what is remembered is dropped, and what is being asked is not
// shared with later requests, nor remembered.
func TestRemoteForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{delay: time.Second}
		server.set(200, []byte(`{"active":true,"sub":"bob"}`))
		remote := newTestRemote(server, RemoteConfig{})
		_ = must(remote.Introspect(t.Context(), "known"))
		go remote.Introspect(t.Context(), "asked")
		go remote.Introspect(t.Context(), "answered-since")
		synctest.Wait()
		remote.Forget(func(token *Token) bool { return token.Subject == "bob" })
		for _, token := range []string{"known", "asked", "answered-since"} {
			before := server.count()
			remote.Introspect(t.Context(), token)
			if server.count() != before+1 {
				t.Errorf("%s: answered as of before the revocation", token)
			}
		}
	})
}

// A configuration that would send tokens or secrets in the clear is refused.
func TestNewRemoteRefuses(t *testing.T) {
	good := RemoteConfig{Endpoint: "https://as.test/i", ClientID: "a", ClientSecret: "b"}
	for name, change := range map[string]func(*RemoteConfig){
		"http":      func(c *RemoteConfig) { c.Endpoint = "http://as.test/i" },
		"not a URL": func(c *RemoteConfig) { c.Endpoint = "as.test" },
		"user":      func(c *RemoteConfig) { c.Endpoint = "https://a:b@as.test/i" },
		"loopback?": func(c *RemoteConfig) { c.Endpoint = "http://localhost.evil.test/i" },
		"no client": func(c *RemoteConfig) { c.ClientID = "" },
		"no secret": func(c *RemoteConfig) { c.ClientSecret = "" },
		"a day":     func(c *RemoteConfig) { c.TTL = 24 * time.Hour },
		"negative":  func(c *RemoteConfig) { c.Entries = -1 },
	} {
		config := good
		change(&config)
		if _, err := NewRemote(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
