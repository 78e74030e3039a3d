package clients

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindClient is the storage kind of clients made at run time.
const kindClient = "client"

// Client types, RFC 6749 §2.1.
const (
	Confidential = "confidential"
	Public       = "public"
)

// Metadata is what is said about a client when it is registered. The JSON
// names are those of RFC 7591 §2 where it has one.
type Metadata struct {
	ID   string `json:"client_id"`
	Name string `json:"client_name,omitempty"`

	// Type is Confidential or Public (RFC 6749 §2.1); only the first has secrets.
	Type string `json:"client_type"`

	GrantTypes []string `json:"grant_types,omitempty"`

	// RedirectURIs are where answers to authorization requests may go: compared
	// character for character, but for the port on loopback hosts.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// PostLogoutRedirectURIs are where the browser may go after signing out.
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`

	// Scope is all the client may be granted, and what it is granted when it
	// does not ask for anything in particular.
	Scope oauth.Scope `json:"scope,omitempty"`

	// Resources the client may have tokens for; when empty, those that the
	// issuer protects.
	Resources []string `json:"resources,omitempty"`

	// PKCEOptional lets a confidential client do without PKCE, for client
	// software that cannot do it.
	PKCEOptional bool `json:"pkce_optional,omitempty"`

	// ShortCodeVerifier accepts verifiers from 32 characters on, where RFC 7636
	// §4.1 demands 43.
	ShortCodeVerifier bool `json:"short_code_verifier,omitempty"`

	// RefreshTokenAlways gives a refresh token though offline_access was not
	// asked for, for OAuth clients that do not know it.
	RefreshTokenAlways bool `json:"refresh_token_always,omitempty"`

	// Impersonation lets the client exchange tokens without an actor token: the
	// new token then does not tell that the client acts for the subject.
	Impersonation bool `json:"impersonation,omitempty"`

	// Disabled takes every right from the client without forgetting it.
	Disabled bool `json:"disabled,omitempty"`
}

// Client is a registered client. Those declared in the configuration are
// read-only at run time; the others are records of the storage.
type Client struct {
	Metadata
	Created  time.Time `json:"created,omitzero"`
	Secrets  []Secret  `json:"secrets,omitempty"`
	Declared bool      `json:"-"`

	// LastDisabled is when an operator last disabled the client; zero: never. What
	// was granted to it until then stays taken back when it is enabled again.
	LastDisabled time.Time `json:"last_disabled,omitzero"`

	// Registration is set if the client registered itself.
	Registration *Registration `json:"registration,omitempty"`
}

// Secret is a secret as it is kept: a hash. A secret made here has 256
// random bits, which no one can search, so one round of SHA-256 protects it and
// costs next to nothing; a slow hash would only help someone who floods /token.
type Secret struct {
	Hash    SecretHash `json:"hash"`
	Created time.Time  `json:"created,omitzero"`
	// Expires is set on rotation, so that both secrets work for a while; zero
	// means never.
	Expires time.Time `json:"expires,omitzero"`
}

// SecretHash is the SHA-256 of a client secret; in text "sha256:" and 64 hex
// digits.
type SecretHash [sha256.Size]byte

// HashSecret hashes a client secret.
func HashSecret(secret string) SecretHash { return sha256.Sum256([]byte(secret)) }

// MarshalText writes "sha256:<hex>".
func (h SecretHash) MarshalText() ([]byte, error) {
	return []byte("sha256:" + hex.EncodeToString(h[:])), nil
}

// UnmarshalText reads "sha256:<hex>".
func (h *SecretHash) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "sha256:")
	decoded, err := hex.DecodeString(digits)
	if !ok || err != nil || len(decoded) != len(h) {
		return errors.New(`a secret hash is "sha256:" and 64 hexadecimal digits`)
	}
	*h = SecretHash(decoded)
	return nil
}

// NewSecret makes a client secret of 256 random bits.
func NewSecret() string { return record.RandomText(32) }

// HasSecret compares in constant time with each secret in force.
func (c *Client) HasSecret(secret string, now time.Time) bool {
	given, found := HashSecret(secret), 0
	for _, s := range c.Secrets {
		inForce := 0
		if s.Expires.IsZero() || now.Before(s.Expires) {
			inForce = 1
		}
		found |= subtle.ConstantTimeCompare(given[:], s.Hash[:]) & inForce
	}
	return found == 1
}

// DisplayName is what people know a client by.
func (m *Metadata) DisplayName() string {
	if m.Name != "" {
		return m.Name
	}
	return m.ID
}

// MayUse tells whether the client is registered for a grant type.
func (m *Metadata) MayUse(grantType string) bool {
	return slices.Contains(m.GrantTypes, grantType)
}

// StaysConnected tells whether what is granted for a scope comes with a refresh
// token.
func (m *Metadata) StaysConnected(scope oauth.Scope) bool {
	return m.RefreshTokenAlways || scope.Has(oauth.ScopeOfflineAccess)
}

// Validate holds metadata against what an issuer with these scopes can do, so that
// a mistake is seen when it is made and not by the client's first user. Short names
// of grant types become the full ones.
func (m *Metadata) Validate(scopes oauth.Scope) error {
	if err := validateID(m.ID); err != nil {
		return err
	}
	if m.Type != Confidential && m.Type != Public {
		return fmt.Errorf("client type %q: want %q or %q", m.Type, Confidential, Public)
	}
	for n, name := range m.GrantTypes {
		name = oauth.FullGrantType(name)
		m.GrantTypes[n] = name
		if !oauth.IsGrantType(name) {
			return fmt.Errorf("grant type %q: want one of %s", name, strings.Join(oauth.GrantTypes(), ", "))
		}
		if oauth.ConfidentialOnly(name) && m.Type == Public {
			return fmt.Errorf("grant type %q is not for public clients: it rests on the client's secret alone", name)
		}
	}
	for _, token := range m.Scope {
		if !scopes.Has(token) {
			return fmt.Errorf("scope %q is not declared by the issuer, which has: %s", token, scopes)
		}
	}
	if err := m.validateRedirects(); err != nil {
		return err
	}
	for _, resource := range m.Resources {
		if err := ValidateResource(resource); err != nil {
			return fmt.Errorf("resource %q: want an absolute URI without fragment", resource)
		}
	}
	return nil
}

// validateRedirects: a client that people sign in for needs somewhere to be
// answered, and each place must be a safe one.
func (m *Metadata) validateRedirects() error {
	if m.MayUse(oauth.GrantAuthorizationCode) && len(m.RedirectURIs) == 0 {
		return errors.New("a client with the grant type authorization_code needs a redirect URI")
	}
	if m.PKCEOptional && m.Type == Public {
		return errors.New("PKCE cannot be optional for a public client: nothing else protects its codes")
	}
	if m.RefreshTokenAlways && !m.MayUse(oauth.GrantRefreshToken) {
		return errors.New("a client that always gets a refresh token needs the grant type refresh_token")
	}
	for _, uri := range slices.Concat(m.RedirectURIs, m.PostLogoutRedirectURIs) {
		if err := ValidateRedirectURI(uri); err != nil {
			return err
		}
	}
	return nil
}

// validateID allows what survives every place an id stands in: forms,
// Basic credentials, URLs, logs, file names.
func validateID(id string) error {
	for _, c := range []byte(id) {
		if c <= 0x20 || c >= 0x7f || strings.IndexByte(`"\<>&'%:/?#`+"`", c) >= 0 {
			return fmt.Errorf("client id %q: use letters, digits and - . _ ~ @ +", id)
		}
	}
	if id == "" || len(id) > 128 {
		return errors.New("a client id has 1 to 128 characters")
	}
	return nil
}

// clientKey puts the clients of one issuer under one prefix.
func clientKey(issuer, id string) string { return issuer + " " + id }

// Get returns a stored client. The error is storage.ErrNotFound or
// storage.ErrDamaged.
func Get(tx storage.Tx, issuer, id string) (*Client, error) {
	value, err := tx.Get(kindClient, clientKey(issuer, id))
	if err != nil {
		return nil, err
	}
	return Decode(value)
}

// Decode decodes the record of a client. The error is storage.ErrDamaged.
func Decode(value []byte) (*Client, error) {
	client := new(Client)
	if err := json.Unmarshal(value, client); err != nil {
		return nil, fmt.Errorf("%w: client: %w", storage.ErrDamaged, err)
	}
	return client, nil
}

// Put writes a client, to be forgotten when it is unused for too long, if it
// registered itself.
func Put(tx storage.Tx, issuer string, client *Client) error {
	value, err := json.Marshal(client)
	if err != nil {
		return err
	}
	return tx.Put(kindClient, clientKey(issuer, client.ID), value, client.expiry())
}

// Any tells whether a client is stored, even a damaged one.
func Any(tx storage.Tx, issuer string) (bool, error) {
	found := errors.New("a client")
	err := tx.List(kindClient, clientKey(issuer, ""), func(string, []byte) error { return found })
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// Delete deletes the records of a client.
func Delete(tx storage.Tx, issuer, id string) error {
	key := clientKey(issuer, id)
	return errors.Join(tx.Delete(kindClient, key), tx.Delete(kindUnused, key))
}

// ReplaceSecrets gives the client one secret in place of all it has.
func (c *Client) ReplaceSecrets() (secret string) {
	secret = NewSecret()
	c.Secrets = []Secret{{Hash: HashSecret(secret), Created: record.Now()}}
	return secret
}

// SecretsInForce counts the secrets that work at now.
func (c *Client) SecretsInForce(now time.Time) int {
	n := 0
	for _, s := range c.Secrets {
		if s.Expires.IsZero() || now.Before(s.Expires) {
			n++
		}
	}
	return n
}
