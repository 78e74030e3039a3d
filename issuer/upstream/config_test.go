package upstream

import (
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	good := Config{ID: "corp-1", Issuer: "https://idp.example.com/tenant", ClientID: "gate"}
	p, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if p.ID() != "corp-1" || p.Name() != "corp-1" || p.Issuer() != good.Issuer {
		t.Errorf("got %q %q %q", p.ID(), p.Name(), p.Issuer())
	}
	for _, test := range []struct {
		change func(c *Config)
		want   string // in the error
	}{
		{func(c *Config) { c.ID = "" }, "id must be"},
		{func(c *Config) { c.ID = "a/b" }, "id must be"},
		{func(c *Config) { c.ID = "Corp" }, "id must be"},
		{func(c *Config) { c.ID = strings.Repeat("a", 33) }, "id must be"},
		{func(c *Config) { c.Name = "a\nb" }, "name"},
		{func(c *Config) { c.Issuer = "" }, "issuer"},
		{func(c *Config) { c.Issuer = "http://idp.example.com" }, "https"},
		{func(c *Config) { c.Issuer = "http://localhost.example.com" }, "https"},
		{func(c *Config) { c.Issuer = "https://idp.example.com?" }, "query"},
		{func(c *Config) { c.Issuer = "https://idp.example.com#" }, "fragment"},
		{func(c *Config) { c.Issuer = "https://a:b@idp.example.com" }, "user"},
		{func(c *Config) { c.ClientID = "" }, "client id"},
		{func(c *Config) { c.AuthMethod = "private_key_jwt"; c.ClientSecret = "s" }, "private_key_jwt"},
		{func(c *Config) { c.AuthMethod = ClientSecretPost }, "secret"},
		{func(c *Config) { c.Scopes = []string{"profile"} }, "openid"},
		{func(c *Config) { c.Scopes = []string{"openid", "a b"} }, "a b"},
		{func(c *Config) { c.AllowedDomains = []string{"@example.com"} }, "domain"},
		{func(c *Config) { c.AllowedDomains = []string{""} }, "domain"},
	} {
		c := good
		test.change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", c, err, test.want)
		}
	}
}
