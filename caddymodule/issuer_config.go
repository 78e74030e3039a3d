package caddymodule

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// IssuerConfig is one issuer: who it is, which scopes it knows, which clients
// it has from the start.
type IssuerConfig struct {
	// URL of the issuer, the `iss` of its tokens: https, without query,
	// fragment or slash at its end. http is allowed on localhost.
	URL string `json:"url"`

	// InsecureHTTP allows an http URL on another host, for trusted networks.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// Scopes that the issuer can grant.
	Scopes []ScopeConfig `json:"scopes,omitempty"`

	// Clients declared here are read-only at run time. Others are made with
	// `caddy oauth client add`.
	Clients []ClientConfig `json:"clients,omitempty"`

	// DefaultResource is the audience of tokens for which neither the request
	// nor the client names one. Default: the resource that this server
	// protects, if it is only one.
	DefaultResource string `json:"default_resource,omitempty"`

	// AccessTokenLifetime: default 1h, 10s to 24h.
	AccessTokenLifetime caddy.Duration `json:"access_token_lifetime,omitempty"`

	// SigningAlgorithm: ES256 (default), EdDSA, RS256 or PS256.
	SigningAlgorithm string `json:"signing_algorithm,omitempty"`

	// RefreshTokenLifetime is how old the sign-in may be that a refresh token
	// came from: default 30d, at least 1m.
	RefreshTokenLifetime caddy.Duration `json:"refresh_token_lifetime,omitempty"`

	// RefreshTokenIdleLifetime is how long a refresh token may be unused:
	// default 14d, at least 1m.
	RefreshTokenIdleLifetime caddy.Duration `json:"refresh_token_idle_lifetime,omitempty"`

	// RefreshTokenGrace is for how long a used refresh token may be sent again,
	// by a client whose answer was lost, and gets the same successor: default
	// 5s, at most 1m; negative is off.
	RefreshTokenGrace caddy.Duration `json:"refresh_token_grace,omitempty"`

	// SessionLifetime is how long a person stays signed in: default 12h, at
	// least 1m.
	SessionLifetime caddy.Duration `json:"session_lifetime,omitempty"`

	// Login says who authenticates people. Default: local.
	Login *LoginConfig `json:"login,omitempty"`

	// TrustedIssuers are those whose tokens may be exchanged for ours.
	TrustedIssuers []TrustedIssuerConfig `json:"trusted_issuers,omitempty"`

	// Applications lets people request an application at /applications/new, and
	// operators answer. Default: true.
	Applications *bool `json:"applications,omitempty"`

	// Welcome serves a page at the issuer's URL that tells how to use it. Default:
	// true.
	Welcome *bool `json:"welcome,omitempty"`

	// Endpoints are more paths for endpoints, by the name of the endpoint and
	// below the issuer's URL. The metadata goes on naming the usual ones.
	Endpoints map[string][]string `json:"endpoints,omitempty"`

	// Pages says how the pages look that people see.
	Pages *PagesConfig `json:"pages,omitempty"`

	// Registration lets clients register themselves. Off by default.
	Registration *RegistrationConfig `json:"registration,omitempty"`

	// KeyRotation is the age at which a signing key is replaced: default 90d, at
	// least 1h.
	KeyRotation caddy.Duration `json:"key_rotation,omitempty"`
}

// ScopeConfig is a scope and what it means to people.
type ScopeConfig struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// ClientConfig is a client declared in the configuration.
type ClientConfig struct {
	// ID of the client, its `client_id`.
	ID string `json:"id"`

	// Name of the client, for people.
	Name string `json:"name,omitempty"`

	// Public: the client has no secret.
	Public bool `json:"public,omitempty"`

	// SecretHash is the SHA-256 of the secret: "sha256:" and 64 hexadecimal
	// digits. `caddy oauth secret` makes a secret and its hash. Placeholders
	// such as {env.BILLING_HASH} and {file./path} are allowed.
	SecretHash string `json:"secret_hash,omitempty" placeholders:"client"`

	// Secret in clear, for secrets that are kept elsewhere already: use
	// {env.BILLING_SECRET} or {file./path}, not the secret itself.
	Secret string `json:"secret,omitempty" placeholders:"client"`

	// GrantTypes the client may use.
	GrantTypes []string `json:"grant_types,omitempty"`

	// RedirectURIs are where answers to authorization requests may go: compared
	// character for character, but for the port on loopback hosts.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// PostLogoutRedirectURIs are where the browser may go after signing out.
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`

	// PKCEOptional lets a confidential client do without PKCE.
	PKCEOptional bool `json:"pkce_optional,omitempty"`

	// ShortCodeVerifier accepts verifiers from 32 characters on.
	ShortCodeVerifier bool `json:"short_code_verifier,omitempty"`

	// RefreshTokenAlways gives a refresh token though offline_access was not
	// asked for.
	RefreshTokenAlways bool `json:"refresh_token_always,omitempty"`

	// Impersonation lets the client exchange tokens without an actor token.
	Impersonation bool `json:"impersonation,omitempty"`

	// Scopes the client may have.
	Scopes []string `json:"scopes,omitempty"`

	// Resources the client may have tokens for; all that the issuer protects
	// when empty.
	Resources []string `json:"resources,omitempty"`
}

// issuerConfig makes the issuer's own configuration of it. Placeholders are
// resolved here and nowhere later: never with text of a request.
func (c *IssuerConfig) issuerConfig(logger *slog.Logger, resources func() []string) (issuer.Config, error) {
	config := issuer.Config{
		URL: c.URL, InsecureHTTP: c.InsecureHTTP, DefaultResource: c.DefaultResource,
		AccessTokenLifetime: time.Duration(c.AccessTokenLifetime),
		SigningAlgorithm:    keys.Algorithm(c.SigningAlgorithm),
		KeyRotation:         time.Duration(c.KeyRotation),
		Resources:           resources, Logger: logger, ClientIP: clientIP, RequestID: requestID,
		RefreshTokenLifetime:     time.Duration(c.RefreshTokenLifetime),
		RefreshTokenIdleLifetime: time.Duration(c.RefreshTokenIdleLifetime),
		RefreshTokenGrace:        time.Duration(c.RefreshTokenGrace),
		SessionLifetime:          time.Duration(c.SessionLifetime),
		Pages:                    c.Pages.options(),
		Registration:             c.Registration.registration(),
	}
	config.Applications, config.Welcome, config.Endpoints = onUnlessOff(c.Applications), onUnlessOff(c.Welcome), c.Endpoints
	if err := c.Login.apply(&config); err != nil {
		return config, fmt.Errorf("issuer %s: login: %w", c.URL, err)
	}
	for _, declared := range c.TrustedIssuers {
		trusted, err := declared.trustedIssuer()
		if err != nil {
			return config, fmt.Errorf("issuer %s: trusted issuer %s: %w", c.URL, declared.Issuer, err)
		}
		config.TrustedIssuers = append(config.TrustedIssuers, trusted)
	}
	for _, scope := range c.Scopes {
		config.Scopes = append(config.Scopes, issuer.ScopeConfig(scope))
	}
	for _, declared := range c.Clients {
		client, err := declared.client()
		if err != nil {
			return config, fmt.Errorf("issuer %s: client %s: %w", c.URL, declared.ID, err)
		}
		config.Clients = append(config.Clients, client)
	}
	if err := config.Validate(); err != nil {
		return config, err
	}
	return config, nil
}

func (c *ClientConfig) client() (clients.Client, error) {
	client := clients.Client{Metadata: clients.Metadata{
		ID: c.ID, Name: c.Name, Type: clients.Confidential,
		GrantTypes: c.GrantTypes, Scope: c.Scopes, Resources: c.Resources,
		RedirectURIs: c.RedirectURIs, PostLogoutRedirectURIs: c.PostLogoutRedirectURIs,
		PKCEOptional: c.PKCEOptional, ShortCodeVerifier: c.ShortCodeVerifier, RefreshTokenAlways: c.RefreshTokenAlways, Impersonation: c.Impersonation,
	}}
	if c.Public {
		client.Type = clients.Public
	}
	if c.SecretHash != "" {
		text, err := caddy.NewReplacer().ReplaceOrErr(c.SecretHash, true, true)
		if err != nil {
			return client, fmt.Errorf("secret_hash: %w", err)
		}
		var hash clients.SecretHash
		if err := hash.UnmarshalText([]byte(text)); err != nil {
			return client, fmt.Errorf("secret_hash: %w", err)
		}
		client.Secrets = append(client.Secrets, clients.Secret{Hash: hash})
	}
	if c.Secret != "" {
		secret, err := caddy.NewReplacer().ReplaceOrErr(c.Secret, true, true)
		if err != nil {
			return client, fmt.Errorf("secret: %w", err)
		}
		client.Secrets = append(client.Secrets, clients.Secret{Hash: clients.HashSecret(secret)})
	}
	return client, nil
}

// clientIP is the address that Caddy found, trusted proxies considered.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}
