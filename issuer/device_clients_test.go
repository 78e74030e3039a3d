package issuer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	cli "github.com/cli/oauth/device"
	"golang.org/x/oauth2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
)

// directly hands the requests of a client library to the issuer without a
// socket, so that its waits pass in a bubble's time.
type directly struct{ f *fixture }

func (d directly) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.f.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestDeviceClients: device libraries that others wrote get their token, at the
// pace that RFC 8628 §3.5 gives them.
func TestDeviceClients(t *testing.T) {
	libraries := map[string]func(t *testing.T, client *http.Client, approve func(userCode string)) string{
		"golang.org/x/oauth2": func(t *testing.T, client *http.Client, approve func(string)) string {
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
			config := oauth2.Config{ClientID: "tv", Scopes: []string{"read"}, Endpoint: oauth2.Endpoint{
				DeviceAuthURL: fixtureURL + "/device-authorization", TokenURL: fixtureURL + "/token", AuthStyle: oauth2.AuthStyleInParams,
			}}
			device, err := config.DeviceAuth(ctx)
			must(t, err)
			approve(device.UserCode)
			token, err := config.DeviceAccessToken(ctx, device)
			must(t, err)
			return token.AccessToken
		},
		"github.com/cli/oauth": func(t *testing.T, client *http.Client, approve func(string)) string {
			code, err := cli.RequestCode(client, fixtureURL+"/device_authorization", "tv", []string{"read"})
			must(t, err)
			approve(code.UserCode)
			token, err := cli.Wait(t.Context(), client, fixtureURL+"/token", cli.WaitOptions{ClientID: "tv", DeviceCode: code})
			must(t, err)
			return token.Token
		},
	}
	for name, flow := range libraries {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, withDevices)
				alice := f.person(fixtureProfile)
				person := f.signedIn(alice)
				token := flow(t, &http.Client{Transport: directly{f}}, func(userCode string) {
					// The person takes some polls' time.
					go func() {
						time.Sleep(23 * time.Second)
						person.confirm(userCode).press(pages.ActionAllow)
					}()
				})
				if facts := f.facts(token); facts.Subject != alice.ID || !facts.HasScope("read") {
					t.Errorf("the token is for %s with %v", facts.Subject, facts.Scope)
				}
			})
		})
	}
}
