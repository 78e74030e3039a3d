package caddymodule

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
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

	// KeyRotation is the age at which a signing key is replaced: default 90d.
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
	SecretHash string `json:"secret_hash,omitempty"`

	// Secret in clear, for secrets that are kept elsewhere already: use
	// {env.BILLING_SECRET} or {file./path}, not the secret itself.
	Secret string `json:"secret,omitempty"`

	// GrantTypes the client may use.
	GrantTypes []string `json:"grant_types,omitempty"`

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
		Resources:           resources, Logger: logger, ClientIP: clientIP,
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

func (c *ClientConfig) client() (issuer.Client, error) {
	client := issuer.Client{ClientMetadata: issuer.ClientMetadata{
		ID: c.ID, Name: c.Name, Type: issuer.Confidential,
		GrantTypes: c.GrantTypes, Scope: c.Scopes, Resources: c.Resources,
	}}
	if c.Public {
		client.Type = issuer.Public
	}
	if c.SecretHash != "" {
		text, err := caddy.NewReplacer().ReplaceOrErr(c.SecretHash, true, true)
		if err != nil {
			return client, fmt.Errorf("secret_hash: %w", err)
		}
		var hash issuer.SecretHash
		if err := hash.UnmarshalText([]byte(text)); err != nil {
			return client, fmt.Errorf("secret_hash: %w", err)
		}
		client.Secrets = append(client.Secrets, issuer.ClientSecret{Hash: hash})
	}
	if c.Secret != "" {
		secret, err := caddy.NewReplacer().ReplaceOrErr(c.Secret, true, true)
		if err != nil {
			return client, fmt.Errorf("secret: %w", err)
		}
		client.Secrets = append(client.Secrets, issuer.ClientSecret{Hash: issuer.HashSecret(secret)})
	}
	return client, nil
}

// clientIP is the address that Caddy found, trusted proxies considered.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}
