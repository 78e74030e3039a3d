package issuer

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// OpenID Connect Discovery §3: the algorithms with which ID tokens are signed. A
// key of a new one is published before it signs, and until then both are named:
// clients refuse what is signed otherwise.
func TestMetadataAlgorithms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		expectAlgorithms := func(want ...string) {
			t.Helper()
			var document struct {
				Algorithms []string `json:"id_token_signing_alg_values_supported"`
			}
			must(t, json.Unmarshal(f.get("/.well-known/openid-configuration").Body.Bytes(), &document))
			if !slices.Equal(document.Algorithms, want) {
				t.Errorf("algorithms %v, want %v", document.Algorithms, want)
			}
		}
		expectAlgorithms("ES256")
		f.config.SigningAlgorithm = keys.EdDSA
		f.restart()
		expectAlgorithms("ES256", "EdDSA")
		time.Sleep(24 * time.Hour)
		expectAlgorithms("EdDSA")
	})
}

// TestMetadataPlaces: RFC 8414 §3.1 and OpenID Connect Discovery §4.
func TestMetadataPlaces(t *testing.T) {
	for issuer, paths := range map[string][]string{
		"https://gw.test": {
			"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
		},
		"https://gw.test/auth": {
			"/.well-known/oauth-authorization-server/auth", "/.well-known/openid-configuration/auth", // inserted
			"/auth/.well-known/oauth-authorization-server", "/auth/.well-known/openid-configuration", // appended
		},
	} {
		f := newFixture(t, func(c *Config) { c.URL = issuer })
		var first []byte
		for _, path := range paths {
			for _, slash := range []string{"", "/"} {
				w := f.get(path+slash, func(r *http.Request) {
					r.Host = "evil.test"
					r.Header.Set("X-Forwarded-Host", "evil.test")
					r.Header.Set("Forwarded", "host=evil.test")
				})
				if w.Code != 200 {
					t.Fatalf("%s: %d", path, w.Code)
				}
				if first == nil {
					first = w.Body.Bytes()
				}
				if !bytes.Equal(first, w.Body.Bytes()) || bytes.Contains(first, []byte("evil")) {
					t.Errorf("%s: %s", path, w.Body)
				}
				if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Cache-Control") != "public, max-age=3600" {
					t.Errorf("%s: headers %v", path, w.Header())
				}
				if !f.Serves(path + slash) {
					t.Errorf("Serves(%q) is false", path+slash)
				}
			}
		}
		var document struct {
			Issuer string `json:"issuer"`
		}
		if err := json.Unmarshal(first, &document); err != nil || document.Issuer != issuer { // RFC 8414 §3.3
			t.Errorf("issuer %q, want %q byte for byte (%v)", document.Issuer, issuer, err)
		}
	}
	f := newFixture(t, func(c *Config) { c.URL = "https://gw.test/auth" })
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/token", "/", ""} {
		if f.Serves(path) {
			t.Errorf("an issuer with a path serves %q, which is another's", path)
		}
	}
}

// RFC 8414 §2: only what works. Each endpoint that is named answers, each that
// answers clients is named, and what is listed as supported is.
func TestMetadataIsTrue(t *testing.T) {
	f := newFixture(t)
	var document map[string]any
	if err := json.Unmarshal(f.get("/.well-known/oauth-authorization-server").Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	for name, value := range document {
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		path, ok := strings.CutPrefix(value.(string), fixtureURL)
		if !ok || !f.Serves(path) {
			t.Errorf("%s is %v, which is not served", name, value)
		}
	}
	strs := func(name string) (all []string) {
		list, ok := document[name].([]any)
		if !ok {
			t.Errorf("%s is %v", name, document[name])
		}
		for _, one := range list {
			all = append(all, one.(string))
		}
		return all
	}
	if got := strs("grant_types_supported"); !slices.Equal(got, oauth.GrantTypes()) {
		t.Errorf("grant_types_supported %v, want %v", got, oauth.GrantTypes())
	}
	for _, scope := range []string{"read", "write", "admin"} {
		if !slices.Contains(strs("scopes_supported"), scope) {
			t.Errorf("scopes_supported lacks %s", scope)
		}
	}
	strs("response_types_supported") // REQUIRED
	working := map[string]func() int{
		"client_secret_basic": func() int { return f.post("/token", ccGrant, asSvc).Code },
		"client_secret_post": func() int {
			return f.post("/token", ccGrant+"&"+url.Values{"client_id": {"svc"}, "client_secret": {svcSecret}}.Encode()).Code
		},
	}
	for _, endpoint := range []string{"token", "introspection", "revocation"} {
		for _, method := range strs(endpoint + "_endpoint_auth_methods_supported") {
			if method == noClientAuth && endpoint != "introspection" {
				continue
			}
			if works := working[method]; works == nil || works() != 200 {
				t.Errorf("%s is said to support %s", endpoint, method)
			}
		}
	}
	// What this project's own gate makes of it.
	if _, err := introspect.ParseKeySet(f.get("/.well-known/jwks.json").Body.Bytes()); err != nil {
		t.Error(err)
	}
}

// RFC 7517 §5, over HTTP.
func TestServeJWKS(t *testing.T) {
	f := newFixture(t)
	w := f.get("/.well-known/jwks.json")
	if !bytes.Equal(w.Body.Bytes(), f.realm.keys.JWKS()) {
		t.Errorf("JWKS %s", w.Body)
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("headers %v", w.Header())
	}
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"k"`} {
		if strings.Contains(w.Body.String(), private) {
			t.Errorf("the JWKS has the private member %s", private)
		}
	}
	w = f.post("/.well-known/jwks.json", "")
	expect(t, w, 405, oauth.InvalidRequest)
	if w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow %q", w.Header().Get("Allow"))
	}
}
