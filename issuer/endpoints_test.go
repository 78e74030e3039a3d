package issuer

import (
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// An endpoint's other paths answer as its own does, and the metadata names its
// own.
func TestEndpointAliases(t *testing.T) {
	for _, url := range []string{fixtureURL, fixtureURL + "/realm"} {
		f := newFixture(t, withPeople, func(c *Config) {
			c.URL = url
			c.Endpoints = map[string][]string{
				"token": {"/oauth/token.php", "/v1/token"}, "introspect": {"/oauth/introspect"}, "jwks": {"/oauth/keys"},
				"authorize": {"/oauth/authorize.php"}, "device_authorization": {"/oauth/device"},
			}
		})
		base := f.basePath()
		for _, path := range []string{"/token", "/token/", "/oauth/token.php", "/oauth/token.php/", "/v1/token"} {
			expect(t, f.post(base+path, ccGrant, asSvc), 200, "")
		}
		expect(t, f.post(base+"/oauth/introspect", "token=x", asSvc), 200, "")
		expect(t, f.get(base+"/oauth/token.php"), 405, oauth.InvalidRequest)
		if own, other := f.get(base+"/.well-known/jwks.json"), f.get(base+"/oauth/keys/"); own.Body.String() != other.Body.String() {
			t.Errorf("keys at the other path: %s", other.Body)
		}
		f.visitor().get(base+"/oauth/authorize.php").expectStatus(400, "the authorization endpoint, without a request")
		if strings.Contains(string(f.metadata), "/oauth/") {
			t.Errorf("the metadata names an alias: %s", f.metadata)
		}
		if base != "" && f.Serves("/oauth/token.php") {
			t.Error("an alias is served outside of the issuer's path")
		}
		for _, path := range []string{"/oauth", "/oauth/", "/oauth/token.php/x", "/oauth/token", "/oauth//token.php", "/oauth/token.php//"} {
			if f.Serves(base + path) {
				t.Errorf("%s is served", path)
			}
		}
	}
}

func TestEndpointAliasesRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		path []string
		says string
	}{
		{"tokens", []string{"/x"}, "want one of authorize, "},
		{"register", []string{"/x"}, "does not have it"},
		{"token", []string{"oauth/token.php"}, "begins with one slash"},
		{"token", []string{""}, "begins with one slash"},
		{"token", []string{"/"}, "begins with one slash"},
		{"token", []string{"//x"}, "begins with one slash"},
		{"token", []string{"/x/"}, "ends with none"},
		{"token", []string{"/x/../y"}, "nor .. as a part"},
		{"token", []string{"/./y"}, "neither . nor"},
		{"token", []string{"/x*"}, "want a path"},
		{"token", []string{"/{x}"}, "want a path"},
		{"token", []string{"/x?y=z"}, "want a path"},
		{"token", []string{"/x#y"}, "want a path"},
		{"token", []string{"/%78"}, "want a path"},
		{"token", []string{"/x y"}, "want a path"},
		{"token", []string{"https://elsewhere.test/x"}, "want a path"},
		{"token", []string{"/x\n"}, "want a path"},
		{"token", []string{"/authorize"}, "answers something else"},
		{"token", []string{"/token"}, "or the same already"},
		{"token", []string{"/.well-known/openid-configuration"}, "answers something else"},
		{"token", []string{"/assets/x"}, "answers something else"},
		{"token", []string{"/applications"}, "answers something else"},
		{"token", []string{"/applications/new"}, "answers something else"},
		{"token", []string{"/login/callback/x"}, "answers something else"},
		{"token", []string{"/register/x"}, "answers something else"},
		{"token", []string{"/x", "/x"}, "endpoint token has this path already"},
		{"token", []string{"/x", "/taken"}, "endpoint introspect has this path already"},
	} {
		c := Config{URL: fixtureURL, Endpoints: map[string][]string{test.name: test.path, "introspect": {"/taken"}}}
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.name) {
			t.Errorf("%s %q: %v, want it to say %q", test.name, test.path, err, test.says)
		}
	}
}

// Every name is of an endpoint that some configuration has.
func TestEndpointNames(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Registration.Mode = RegistrationOpen })
	for name, path := range endpointPaths {
		if !f.Serves(path) {
			t.Errorf("%s: %s is not served", name, path)
		}
	}
}
