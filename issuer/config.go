package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// Defaults of a Config.
const (
	DefaultAccessTokenLifetime = time.Hour
	DefaultKeyRotation         = 90 * 24 * time.Hour

	DefaultRefreshTokenLifetime     = 30 * 24 * time.Hour
	DefaultRefreshTokenIdleLifetime = 14 * 24 * time.Hour
	DefaultRefreshTokenGrace        = 5 * time.Second
	DefaultSessionLifetime          = 12 * time.Hour

	// jwksMaxAge is for how long others may cache the JWKS; a new key is
	// published for twice as long before it signs.
	jwksMaxAge = 5 * time.Minute

	// A lifetime outside of these is a mistake of unit.
	minTokenLifetime = 10 * time.Second
	maxTokenLifetime = 24 * time.Hour
	minKeyRotation   = time.Hour
)

// Config says what an issuer is. It is not changed after New.
type Config struct {
	// URL is the issuer identifier: the iss of its tokens, and the prefix of
	// its endpoints (RFC 8414 §2). https, or http on a loopback host.
	URL string

	// InsecureHTTP allows http on other hosts, for a network that is trusted.
	InsecureHTTP bool

	// Scopes are all there are. Clients are registered with some of them.
	Scopes []ScopeConfig

	// Clients declared here exist beside those in the storage.
	Clients []clients.Client

	// DefaultResource is the audience of tokens whose request and client name
	// none. When it is empty and Resources names exactly one, that is it.
	DefaultResource string

	// Resources returns what the gateways of this process protect with tokens
	// of this issuer. It is asked on every request and must be fast.
	Resources func() []string

	AccessTokenLifetime time.Duration  // 10 seconds to 24 hours, default one hour
	SigningAlgorithm    keys.Algorithm // default ES256

	// Refresh tokens die when the sign-in they came from is RefreshTokenLifetime
	// old (default 30 days), or unused for RefreshTokenIdleLifetime (14 days).
	// For RefreshTokenGrace (5 seconds, at most a minute) a used one may be sent again
	// and gets the same successor, for answers that were lost; negative is none. The
	// lifetimes, and that of a session, are a minute or more.
	RefreshTokenLifetime     time.Duration
	RefreshTokenIdleLifetime time.Duration
	RefreshTokenGrace        time.Duration

	// SessionLifetime is how long a sign-in lasts (12 hours).
	SessionLifetime time.Duration

	// LocalLogin lets people sign in with a password that is kept here.
	LocalLogin bool

	// Upstreams are providers where people may sign in.
	Upstreams []upstream.Config

	// TrustedIssuers are those whose tokens may be exchanged for ours.
	TrustedIssuers []TrustedIssuer

	// CaddyUser, if set, returns the user that the web server has established
	// for a request, or "". It must not believe anything a client can send.
	CaddyUser func(*http.Request) string

	// Applications lets people request an application, and operators answer.
	Applications bool

	// OnApplication, if set, is called after a request for an application was
	// stored, by the goroutine that answers the applicant: they wait for it.
	// What the applicant typed is a stranger's text.
	OnApplication func(context.Context, Application)

	// Welcome serves a page at the issuer's URL that tells how to use it.
	Welcome bool

	// Endpoints are more paths for endpoints, by the endpoint's name (see
	// EndpointNames) and below the issuer's URL: {"token": {"/oauth/token.php"}}.
	// Metadata names the canonical ones.
	Endpoints map[string][]string

	// Pages says how the pages look. Its BasePath, HTTPS and RenderFailed are set by
	// New.
	Pages pages.Options

	// Registration says whether clients may register themselves.
	Registration RegistrationConfig

	// KeyRotation is the age at which a signing key is replaced: an hour or more,
	// default 90 days.
	KeyRotation time.Duration

	// Logger gets refusals (debug) and failures (error). Nothing it gets holds a
	// secret or a token.
	Logger *slog.Logger

	// AuditLogger gets the audit trail (info). The default is Logger.
	AuditLogger *slog.Logger

	// Observer is told what happens, to count it. The default is nobody.
	Observer Observer

	// ClientIP returns the address of whoever sent the request, for the audit
	// trail. The default is the peer's.
	ClientIP func(*http.Request) string

	// RequestID returns what the web server's own log calls a request, for the
	// audit trail. The default is "".
	RequestID func(*http.Request) string
}

// ScopeConfig is a scope and what it means to the people who grant it.
type ScopeConfig struct {
	Name        string
	Description string
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.AccessTokenLifetime, DefaultAccessTokenLifetime},
		{&c.RefreshTokenLifetime, DefaultRefreshTokenLifetime},
		{&c.RefreshTokenIdleLifetime, DefaultRefreshTokenIdleLifetime},
		{&c.RefreshTokenGrace, DefaultRefreshTokenGrace},
		{&c.SessionLifetime, DefaultSessionLifetime},
		{&c.KeyRotation, DefaultKeyRotation},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	c.Registration = c.Registration.withDefaults()
	if c.SigningAlgorithm == "" {
		c.SigningAlgorithm = keys.ES256
	}
	if c.Resources == nil {
		c.Resources = func() []string { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AuditLogger == nil {
		c.AuditLogger = c.Logger
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.ClientIP == nil {
		c.ClientIP = peerAddress
	}
	if c.RequestID == nil {
		c.RequestID = func(*http.Request) string { return "" }
	}
	return c
}

func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Validate reports the first mistake in the configuration, those in the files that
// it names too, without changing anything. New calls it too.
func (c Config) Validate() error {
	c = c.withDefaults()
	if err := validateIssuerURL(c.URL, c.InsecureHTTP); err != nil {
		return err
	}
	if err := c.SigningAlgorithm.Validate(); err != nil {
		return err
	}
	if c.AccessTokenLifetime < minTokenLifetime || c.AccessTokenLifetime > maxTokenLifetime {
		return fmt.Errorf("access token lifetime %s: want %s to %s", c.AccessTokenLifetime, minTokenLifetime, maxTokenLifetime)
	}
	if c.RefreshTokenLifetime < time.Minute || c.RefreshTokenIdleLifetime < time.Minute || c.SessionLifetime < time.Minute {
		return errors.New("refresh token and session lifetimes: want a minute or more")
	}
	if c.RefreshTokenGrace > time.Minute {
		return fmt.Errorf("refresh token grace %s: want a minute or less; in it a stolen token can be used beside the real one", c.RefreshTokenGrace)
	}
	if c.KeyRotation < minKeyRotation {
		return fmt.Errorf("key rotation every %s: want %s or more", c.KeyRotation, minKeyRotation)
	}
	if c.DefaultResource != "" {
		if err := clients.ValidateResource(c.DefaultResource); err != nil {
			return fmt.Errorf("default resource %q: want an absolute URI without fragment", c.DefaultResource)
		}
	}
	if err := c.validateScopes(); err != nil {
		return err
	}
	if err := c.validateTrustedIssuers(); err != nil {
		return err
	}
	if err := c.validateRegistration(); err != nil {
		return err
	}
	if err := c.validateClients(); err != nil {
		return err
	}
	if err := c.validateEndpoints(); err != nil {
		return err
	}
	if err := c.look().Validate(); err != nil {
		return fmt.Errorf("issuer %s: %w", c.URL, err)
	}
	_, err := c.providers()
	return err
}

// look is how the pages look, with what follows from the rest of the configuration.
func (c *Config) look() pages.Options {
	look := c.Pages
	look.BasePath, look.HTTPS = pathOf(c.URL), strings.HasPrefix(c.URL, "https:")
	look.RenderFailed = func(r *http.Request, page string, err error) {
		c.Logger.ErrorContext(r.Context(), "a page could not be rendered", "page", page, "error", err)
	}
	return look
}

// providers makes those where people may sign in. It asks nobody.
func (c *Config) providers() ([]*upstream.Provider, error) {
	var providers []*upstream.Provider
	for _, config := range c.Upstreams {
		provider, err := upstream.New(config)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: login: %w", c.URL, err)
		}
		if slices.ContainsFunc(providers, func(other *upstream.Provider) bool { return other.ID() == provider.ID() }) {
			return nil, fmt.Errorf("issuer %s: login: upstream %q is configured twice; give one of them another id", c.URL, provider.ID())
		}
		providers = append(providers, provider)
	}
	return providers, nil
}

func (c *Config) validateScopes() error {
	seen := make(map[string]bool)
	for _, scope := range c.Scopes {
		if !oauth.ValidScopeToken(scope.Name) {
			return fmt.Errorf("scope %q: RFC 6749 section 3.3 allows printable ASCII without space, quote and backslash", scope.Name)
		}
		if oauth.PersonalScopes.Has(scope.Name) {
			continue // declared to describe it
		}
		if seen[scope.Name] {
			return fmt.Errorf("scope %q is declared twice", scope.Name)
		}
		seen[scope.Name] = true
	}
	return nil
}

func (c *Config) validateClients() error {
	seen := make(map[string]bool)
	for i := range c.Clients {
		client := &c.Clients[i]
		if err := client.Validate(c.scopeNames()); err != nil {
			return fmt.Errorf("client %s: %w", client.ID, err)
		}
		client.DefaultScope()
		if seen[client.ID] {
			return fmt.Errorf("client %s is declared twice", client.ID)
		}
		seen[client.ID] = true
		switch hasSecret := len(client.Secrets) > 0; {
		case client.Type == clients.Confidential && !hasSecret:
			return fmt.Errorf("client %s: a confidential client needs a secret", client.ID)
		case client.Type == clients.Public && hasSecret:
			return fmt.Errorf("client %s: %w", client.ID, clients.ErrPublic)
		}
	}
	return nil
}

// validateIssuerURL: an https URL with neither query nor fragment (RFC 8414 §2),
// in the one spelling that everybody compares with.
func validateIssuerURL(issuer string, insecureHTTP bool) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return fmt.Errorf("issuer URL: %w", err)
	}
	switch {
	case issuer == "":
		return errors.New("the issuer has no URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("issuer %s: want an https URL", issuer)
	case u.Host == "" || u.User != nil:
		return fmt.Errorf("issuer %s: want https://host with an optional port and path", issuer)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#"):
		return fmt.Errorf("issuer %s: an issuer URL has neither query nor fragment (RFC 8414 section 2)", issuer)
	case u.Scheme == "http" && !clients.IsLoopback(u.Hostname()) && !insecureHTTP:
		return fmt.Errorf("issuer %s: http sends secrets and tokens in clear; use https, or write insecure_http in the issuer's block if the network is trusted", issuer)
	case strings.HasSuffix(u.Path, "/"):
		return fmt.Errorf("issuer %s: leave out the slash at the end; clients compare the URL byte for byte", issuer)
	case u.EscapedPath() != u.Path || strings.ContainsAny(issuer, " \"\\<>"):
		return fmt.Errorf("issuer %s: use only characters that need no escape", issuer)
	case u.Host != strings.ToLower(u.Host):
		return fmt.Errorf("issuer %s: write the host in lower case; clients compare the URL byte for byte", issuer)
	}
	return nil
}

// HasScope tells whether the issuer can grant a scope.
func (c Config) HasScope(name string) bool {
	return oauth.PersonalScopes.Has(name) || slices.ContainsFunc(c.Scopes, func(s ScopeConfig) bool { return s.Name == name })
}

// scopeNames lists every scope there is, those of OpenID Connect first.
func (c *Config) scopeNames() oauth.Scope {
	names := slices.Clone(oauth.PersonalScopes)
	for _, s := range c.Scopes {
		if !names.Has(s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// keyPolicy follows from the lifetimes.
func (c *Config) keyPolicy() keys.Policy {
	return keys.Policy{
		Algorithm: c.SigningAlgorithm, RotateEvery: c.KeyRotation,
		PublishAhead: 2 * jwksMaxAge, MaxLifetime: c.AccessTokenLifetime,
	}
}
