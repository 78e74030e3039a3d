package issuer

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// TestValidateIssuerURL: RFC 8414 §2, and one spelling only, since everybody
// compares it byte for byte (§3.3).
func TestValidateIssuerURL(t *testing.T) {
	for _, good := range []string{
		"https://auth.test", "https://auth.test:8443", "https://auth.test/a/b", "https://[2001:db8::1]",
		"http://localhost:8080", "http://127.0.0.1", "http://[::1]:80/x", "http://auth.localhost",
	} {
		if err := validateIssuerURL(good, false); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"":                              "empty",
		"auth.test":                     "relative",
		"//auth.test":                   "no scheme",
		"ftp://auth.test":               "another scheme",
		"https://":                      "no host",
		"https:auth.test":               "no authority",
		"https://user@auth.test":        "user",
		"https://auth.test?x=1":         "query",
		"https://auth.test?":            "an empty query",
		"https://auth.test#x":           "fragment",
		"https://auth.test#":            "an empty fragment",
		"https://auth.test/":            "a slash at the end",
		"https://auth.test/a/":          "a slash at the end of a path",
		"https://AUTH.test":             "upper case",
		"https://auth.test/%61":         "an escape",
		"https://auth.test/é":           "needs an escape",
		"https://auth.test/a b":         "a space",
		"https://auth.test/\"":          "a quote, which would end the realm",
		"https://auth.test\n":           "a control character",
		"http://auth.test":              "http",
		"http://10.0.0.1":               "http in a private network",
		"http://localhost.evil.test":    "a name that begins with localhost",
		"http://127.0.0.1.evil.test":    "a name that begins with an address",
		"http://evil.test/http://[::1]": "an address in the path",
	} {
		if validateIssuerURL(bad, false) == nil {
			t.Errorf("%q is accepted (%s)", bad, why)
		}
	}
	if err := validateIssuerURL("http://auth.test", true); err != nil {
		t.Errorf("insecure_http: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	base := func() Config {
		return Config{URL: fixtureURL, Scopes: []ScopeConfig{{Name: "read"}}, Clients: []clients.Client{{
			Metadata: newService("svc"), Secrets: []clients.Secret{{Hash: clients.HashSecret("x")}},
		}}}
	}
	good := base()
	good.Clients[0].Type = clients.Confidential
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Config)
		says   string // a word of the message that helps to find the mistake
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "URL"},
		{"an algorithm that is not known", func(c *Config) { c.SigningAlgorithm = "HS256" }, "HS256"},
		{"a lifetime in the wrong unit: seconds", func(c *Config) { c.AccessTokenLifetime = 3600 }, "lifetime"},
		{"a lifetime in the wrong unit: days", func(c *Config) { c.AccessTokenLifetime = 25 * time.Hour }, "lifetime"},
		{"a negative lifetime", func(c *Config) { c.AccessTokenLifetime = -time.Hour }, "lifetime"},
		{"a rotation under an hour", func(c *Config) { c.KeyRotation = time.Hour - 1 }, "rotation"},
		{"a default resource that is relative", func(c *Config) { c.DefaultResource = "api" }, "api"},
		{"a default resource with a fragment", func(c *Config) { c.DefaultResource = fixtureAPI + "#" }, "fragment"},
		{"a scope without name", func(c *Config) { c.Scopes = append(c.Scopes, ScopeConfig{}) }, "scope"},
		{"RFC 6749 §3.3 a scope with a space", func(c *Config) { c.Scopes[0].Name = "a b" }, "a b"},
		{"a scope twice", func(c *Config) { c.Scopes = append(c.Scopes, c.Scopes[0]) }, "twice"},
		{"a client twice", func(c *Config) { c.Clients = append(c.Clients, c.Clients[0]) }, "twice"},
		{"a client without id", func(c *Config) { c.Clients[0].ID = "" }, "1 to 128"},
		{"a client without type", func(c *Config) { c.Clients[0].Type = "" }, "confidential"},
		{"a confidential client without secret", func(c *Config) { c.Clients[0].Secrets = nil }, "needs a secret"},
		{"a public client with a secret", func(c *Config) { c.Clients[0].Type, c.Clients[0].GrantTypes = clients.Public, nil }, "no secret"},
		{"RFC 6749 §4.4 a public client with cc", func(c *Config) { c.Clients[0].Type, c.Clients[0].Secrets = clients.Public, nil }, "public"},
		{"a grant that is not known", func(c *Config) { c.Clients[0].GrantTypes = []string{"password"} }, "password"},
		{"a client's scope that is not declared", func(c *Config) { c.Clients[0].Scope = oauth.Scope{"write"} }, "write"},
		{"a client's resource that is relative", func(c *Config) { c.Clients[0].Resources = []string{"api"} }, "api"},
		{"pages with a logo that is not there", func(c *Config) { c.Pages.LogoFile = "none.svg" }, "none.svg"},
		{"pages with templates that are not there", func(c *Config) { c.Pages.TemplateDir = "none" }, "none"},
		{"a provider without client id", func(c *Config) { c.Upstreams = []upstream.Config{{ID: "a", Issuer: "https://idp.test"}} }, "client id"},
		{"a provider twice", func(c *Config) {
			provider := upstream.Config{ID: "a", Issuer: "https://idp.test", ClientID: "x"}
			c.Upstreams = []upstream.Config{provider, provider}
		}, "twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := base()
			c.Clients[0].Type = clients.Confidential
			test.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want a message with %q", err, test.says)
			}
			if _, err := New(t.Context(), c, NewState(nil)); err == nil { // before the storage is touched
				t.Error("New accepts it")
			}
		})
	}
}

func TestSecretHashText(t *testing.T) {
	text := "sha256:" + strings.Repeat("0a", 32)
	var hash clients.SecretHash
	if err := hash.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if back, err := hash.MarshalText(); err != nil || string(back) != text {
		t.Errorf("%s, %v", back, err)
	}
	for _, bad := range []string{"", "canary", text[7:], "sha256:", text + "00", text[:len(text)-2], "SHA256:" + text[7:], "sha512:" + text[7:], text[:len(text)-1] + "g"} {
		err := hash.UnmarshalText([]byte(bad))
		if err == nil {
			t.Errorf("%q is accepted", bad)
		} else if strings.Contains(err.Error(), canary) {
			t.Error("the message quotes what may be the secret itself")
		}
	}
}
