package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// Without an endpoint of its own, a Remote asks the one in the issuer's metadata
// (RFC 8414 §2). The metadata is fetched when it is needed, once an hour, and no
// sooner than 30 seconds after the last fetch, however that ended; what is known
// holds for a day while the issuer fails.
func TestRemoteDiscovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metadata, down := 0, true
		server := &fakeServer{answer: func(r *http.Request) (int, []byte) {
			switch r.URL.Path {
			case "/.well-known/oauth-authorization-server":
				metadata++
				if down {
					return 503, nil
				}
				return 200, fmt.Appendf(nil, `{"issuer":%q,"introspection_endpoint":"https://as.test/i"}`, testIssuer)
			case "/i":
				return 200, []byte(`{"active":true,"sub":"bob"}`)
			}
			return 404, nil
		}}
		remote := must(NewRemote(RemoteConfig{Issuer: testIssuer, ClientID: "a", ClientSecret: "b", Transport: server}))
		defer remote.Close()
		if metadata != 0 {
			t.Error("the issuer is asked at once")
		}
		ask := func(step string, want error, fetches int) {
			t.Helper()
			token, err := remote.Introspect(t.Context(), fmt.Sprint("token", time.Now().UnixNano()))
			if !errors.Is(err, want) || (err == nil) != (token != nil && token.Subject == "bob") {
				t.Errorf("%s: %+v, %v, want %v", step, token, err, want)
			}
			synctest.Wait()
			if metadata != fetches {
				t.Errorf("%s: %d fetches, want %d", step, metadata, fetches)
			}
		}
		ask("it fails", ErrUnavailable, 1)
		down = false
		time.Sleep(keysCoolDown - 1)
		ask("it has failed just before", ErrUnavailable, 1)
		time.Sleep(1)
		ask("after the cool-down", nil, 2)
		time.Sleep(keysRefreshAge - 1)
		ask("it is known", nil, 2)
		down = true
		time.Sleep(1)
		ask("it is old and cannot be refreshed", nil, 3)
		time.Sleep(keysMaxAge - keysRefreshAge - time.Second)
		ask("it is very old", nil, 4)
		time.Sleep(time.Second)
		ask("it is too old", ErrUnavailable, 4)
		down = false
		time.Sleep(keysCoolDown)
		ask("it is there again", nil, 5)
	})
}

// An issuer that publishes no such endpoint cannot be asked.
func TestDiscoveredEndpointMissing(t *testing.T) {
	server := &fakeServer{}
	server.set(200, fmt.Appendf(nil, `{"issuer":%q}`, testIssuer))
	remote := must(NewRemote(RemoteConfig{Issuer: testIssuer, ClientID: "a", ClientSecret: "b", Transport: server}))
	userinfo := must(NewUserinfo(UserinfoConfig{Issuer: testIssuer, Transport: server}))
	for name, introspector := range map[string]Introspector{"introspection": remote, "userinfo": userinfo} {
		if _, err := introspector.Introspect(t.Context(), "opaque"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
