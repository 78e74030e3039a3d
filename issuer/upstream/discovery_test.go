package upstream

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// OpenID Connect Discovery §4.3, and endpoints as safe as the issuer.
func TestMetadataIsRefused(t *testing.T) {
	for _, test := range []struct {
		must  string
		fault func(m map[string]any)
	}{
		{"issuer MUST be identical", func(m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" }},
		{"issuer MUST be there", set("issuer", nil)},
		{"authorization_endpoint MUST be there", set("authorization_endpoint", nil)},
		{"token_endpoint MUST be there", set("token_endpoint", nil)},
		{"jwks_uri MUST be there", set("jwks_uri", nil)},
		{"authorization_endpoint MUST NOT be a script", set("authorization_endpoint", "javascript:alert(1)")},
		{"token_endpoint MUST be https", set("token_endpoint", "http://192.0.2.1/token")},
		{"jwks_uri MUST be https", set("jwks_uri", "http://192.0.2.1/jwks")},
		{"userinfo_endpoint MUST be https", set("userinfo_endpoint", "http://192.0.2.1/userinfo")},
		{"a fragment would swallow the query", set("authorization_endpoint", "https://idp.example/a#")},
		{"no algorithm that only the provider can use (RFC 8725 §3.1)", set("id_token_signing_alg_values_supported", []string{"HS256", "none"})},
	} {
		t.Run(test.must, func(t *testing.T) {
			p := newToy(t)
			p.metadata = test.fault
			_, _, err := p.provider(t, nil).Begin(t.Context(), testRedirectURI, "", "", false)
			checkOneKind(t, err, ErrRefused)
		})
	}
	t.Run("an https issuer MUST NOT point at http on this machine", func(t *testing.T) {
		if err := checkEndpoint("http://127.0.0.1/token", "https://idp.example"); !errors.Is(err, errInsecure) { //nolint:bodyclose // there is no answer
			t.Error(err)
		}
	})
}

// scripted is a network that answers the metadata, or fails while it is down.
type scripted struct {
	mu      sync.Mutex
	down    bool
	tokens  string // the path of the token endpoint
	fetches int
}

const scriptedIssuer = "https://idp.example/tenant/"

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Second): // of the bubble
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	if s.down {
		return nil, errors.New("no route")
	}
	if r.URL.String() != "https://idp.example/tenant/.well-known/openid-configuration" {
		return nil, errors.New("another URL")
	}
	body := `{"issuer":"` + scriptedIssuer + `","authorization_endpoint":"https://idp.example/a","jwks_uri":"https://idp.example/k",
		"token_endpoint":"https://idp.example/` + s.tokens + `"}`
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (s *scripted) set(down bool, tokens string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.tokens = down, tokens
}

func TestDiscoveryIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &scripted{tokens: "t1"}
		d := newDiscovery(scriptedIssuer, newClient(network))
		expect := func(why string, fetches int, tokens string) {
			t.Helper()
			m, err := d.get(t.Context())
			switch {
			case tokens == "" && !errors.Is(err, ErrUnavailable):
				t.Errorf("%s: got %v, want ErrUnavailable", why, err)
			case tokens != "" && err != nil:
				t.Errorf("%s: %v", why, err)
			case tokens != "" && m.TokenEndpoint != "https://idp.example/"+tokens:
				t.Errorf("%s: got %s", why, m.TokenEndpoint)
			}
			time.Sleep(2 * time.Second) // a fetch in the background ends
			synctest.Wait()
			if network.fetches != fetches {
				t.Errorf("%s: %d fetches, want %d", why, network.fetches, fetches)
			}
		}
		network.set(true, "t1")
		expect("the provider is down", 1, "")
		expect("a failure is not retried at once", 1, "")
		time.Sleep(discoveryPause)
		network.set(false, "t1")
		expect("a failure is retried", 2, "t1")
		keys := d.current.keys
		time.Sleep(metadataLifetime - time.Minute)
		expect("metadata is kept for an hour", 2, "t1")
		time.Sleep(time.Minute)
		network.set(true, "t1")
		expect("the last good metadata is kept", 3, "t1")
		expect("a failed refresh is not retried at once", 3, "t1")
		time.Sleep(discoveryPause)
		network.set(false, "t2")
		expect("nobody waits for a refresh", 4, "t1")
		expect("the refresh is used", 4, "t2")
		if d.current.keys != keys {
			t.Error("the keys were forgotten although their URL is the same")
		}
	})
}

// Many people at once ask the provider once, and one who leaves does not end
// the attempt for the others.
func TestDiscoveryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &scripted{tokens: "t1"}
		d := newDiscovery(scriptedIssuer, newClient(network))
		ctx, leave := contextOf(t)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := d.get(ctx)
			checkLeft(t, err)
		})
		synctest.Wait()
		leave()
		for range 20 {
			group.Go(func() {
				if _, err := d.get(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if network.fetches != 1 {
			t.Errorf("%d fetches", network.fetches)
		}
	})
}

func checkLeft(t *testing.T, err error) {
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("who leaves gets %v", err)
	}
}

// An exchange lasts ten seconds at most.
func TestExchangeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		began := time.Now()
		_, err := newDiscovery(scriptedIssuer, newClient(silent)).get(t.Context())
		checkOneKind(t, err, ErrUnavailable)
		if took := time.Since(began); took != exchangeTimeout {
			t.Errorf("took %s", took)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// No request leaves over http but to this machine, whoever makes it.
func TestTransportRefusesHTTP(t *testing.T) {
	client := newClient(roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("sent")
	}))
	response, err := client.Post("http://idp.example/token", "text/plain", strings.NewReader("code"))
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, errInsecure) {
		t.Error(err)
	}
}
