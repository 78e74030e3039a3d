package upstream

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Provider is an OpenID provider at which people sign in. Its methods may be
// called by several goroutines at once. It has nothing to close: an exchange
// ends within ten seconds, an idle connection within ninety.
type Provider struct {
	config    Config
	client    *http.Client
	discovery *discovery
}

// New checks the configuration and returns its provider. It asks nobody: the
// metadata is fetched when it is first needed, so that a provider that is down
// keeps no server from starting. The error names everything that is wrong.
func New(c Config) (*Provider, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Name = cmp.Or(c.Name, c.ID)
	c.Scopes = slices.Clone(c.Scopes)
	if len(c.Scopes) == 0 {
		c.Scopes = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	}
	c.Claims = c.Claims.withDefaults()
	c.AllowedDomains = slices.Clone(c.AllowedDomains)
	client := newClient(newTransport())
	return &Provider{config: c, client: client, discovery: newDiscovery(c.Issuer, client)}, nil
}

// ID is the name of the provider in URLs and forms.
func (p *Provider) ID() string { return p.config.ID }

// Name is the name of the provider for people.
func (p *Provider) Name() string { return p.config.Name }

// Issuer is the issuer identifier of the provider.
func (p *Provider) Issuer() string { return p.config.Issuer }
