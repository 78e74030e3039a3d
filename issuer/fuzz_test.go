package issuer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// FuzzTokenRequest: whatever is sent, the answer is JSON and not 5xx, and a
// token is given only to whoever sent a right secret.
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
	fixture := newFixture(f, func(c *Config) { c.Logger = nil }) // millions of lines
	secrets := []string{svcSecret, rsSecret, "canary-other"}
	f.Fuzz(func(t *testing.T, method, target, contentType, authorization, body string) {
		r, err := http.NewRequest(method, "http://gw.test", strings.NewReader(body))
		if err != nil {
			return // net/http lets no such method through
		}
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		r.Header.Set("Content-Type", contentType)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		fixture.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		checkAnswer(t, w)
		if !strings.Contains(w.Body.String(), "access_token\":") {
			return
		}
		given, err := readCredentials(r.Header, fuzzedForm(body))
		if err != nil {
			t.Fatalf("a token without credentials: %v", err)
		}
		for _, secret := range secrets {
			if given.secret == secret {
				return
			}
		}
		t.Errorf("a token for %q with the secret %q", given.clientID, given.secret)
	})
}

func fuzzedForm(body string) oauth.Form {
	f, err := oauth.ParseForm(body)
	if err != nil {
		return oauth.Form{}
	}
	return f
}
