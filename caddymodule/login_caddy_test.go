package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const loginCaddyfile = `{
	oauth {
		issuer $GATE {
			login caddy
		}
	}
}

$GATE {
	route {
		@people path /authorize /login /consent /account /device
		basic_auth @people {
			carol $CAROL
		}
		oauth_issuer
	}
}
`

// withBasicAuth is a browser whose user has typed a password into its own dialog.
type withBasicAuth struct{ name, password string }

func (b withBasicAuth) RoundTrip(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth(b.name, b.password)
	return http.DefaultTransport.RoundTrip(r)
}

// TestLoginCaddy: whoever Caddy's own authentication has established can sign in
// as that, and nobody else.
func TestLoginCaddy(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte(canary), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, strings.ReplaceAll(loginCaddyfile, "$CAROL", string(hash)), "")

	stranger := s.browser()
	stranger.open(s.url + "/account")
	if strings.Contains(stranger.page, `value="caddy"`) {
		t.Error("a stranger is offered to sign in as somebody")
	}
	carol := s.browser()
	carol.browser.Transport = withBasicAuth{"carol", canary}
	carol.open(s.url + "/account")
	carol.press(s.url+"/login", "caddy")
	contains(t, carol.page, "carol", `value="logout"`)

	var listed struct {
		Users []map[string]any `json:"users"`
	}
	a := s.adminCall("GET", "/oauth/users?issuer="+url.QueryEscape(s.url), nil)
	a.want(t, 200)
	if err := json.Unmarshal([]byte(a.body), &listed); err != nil || len(listed.Users) != 1 || listed.Users[0]["username"] != "caddy:carol" {
		t.Errorf("people %s: want the one whom Caddy knows", a.body)
	}
}
