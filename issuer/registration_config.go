package issuer

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// RegistrationMode says who may register a client (RFC 7591 §1.1, §3).
type RegistrationMode string

// The modes of dynamic client registration.
const (
	// RegistrationOff: nobody; the endpoint does not exist.
	RegistrationOff RegistrationMode = ""
	// RegistrationOpen: anybody.
	RegistrationOpen RegistrationMode = "open"
	// RegistrationByToken: whoever has an initial access token.
	RegistrationByToken RegistrationMode = "token"
	// RegistrationByApproval: anybody; the client is disabled until an operator
	// approves it.
	RegistrationByApproval RegistrationMode = "approval"
)

// Defaults of a RegistrationConfig.
const (
	DefaultRegistrationRate   = 20
	DefaultRegistrationUnused = 1000

	// unusedLifetime is how long a client that registered itself is kept without
	// anybody having consented to it.
	unusedLifetime = 7 * 24 * time.Hour
	// maxRegistrationUnused bounds what every registration has to count.
	maxRegistrationUnused = 100_000
)

// RegistrationConfig says whether clients may register themselves (RFC 7591),
// and what they may have then. The zero value is off.
type RegistrationConfig struct {
	Mode RegistrationMode

	// Scopes that such a client may have, and has when it names none. Default:
	// openid, profile, email and offline_access.
	Scopes oauth.Scope

	// Resources that such a client may have tokens for; when empty, those that
	// the issuer protects.
	Resources []string

	// RefreshTokenAlways gives a refresh token to such a client if it registers for
	// the grant type refresh_token, though it does not ask for offline_access.
	// Clients of the Model Context Protocol ask for the scopes of the resource and
	// no other.
	RefreshTokenAlways bool

	// Rate is how many registrations and updates an address may make in an hour,
	// default 20. A reload gives every address its budget back.
	Rate int

	// Unused is how many clients there may be that nobody has consented to yet,
	// default 1,000. Each is forgotten after seven days, or with the request for
	// its approval.
	Unused int
}

func (c RegistrationConfig) withDefaults() RegistrationConfig {
	if len(c.Scopes) == 0 {
		c.Scopes = oauth.Scope{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeOfflineAccess}
	}
	if c.Rate == 0 {
		c.Rate = DefaultRegistrationRate
	}
	if c.Unused == 0 {
		c.Unused = DefaultRegistrationUnused
	}
	return c
}

// limiter is the budget of every address.
func (c RegistrationConfig) limiter() *limit.Limiter {
	return limit.New(c.Rate, time.Hour/time.Duration(c.Rate))
}

// validateRegistration reports the first mistake in the registration's part.
func (c *Config) validateRegistration() error {
	switch c.Registration.Mode {
	case RegistrationOff, RegistrationOpen, RegistrationByToken, RegistrationByApproval:
	default:
		return fmt.Errorf("registration %q: want %q, %q or %q", c.Registration.Mode, RegistrationOpen, RegistrationByToken, RegistrationByApproval)
	}
	for _, name := range c.Registration.Scopes {
		if !c.HasScope(name) {
			return fmt.Errorf("registration: scope %q is not declared by the issuer, which has: %s", name, c.scopeNames())
		}
	}
	for _, resource := range c.Registration.Resources {
		if err := clients.ValidateResource(resource); err != nil {
			return fmt.Errorf("registration: resource %q: want an absolute URI without fragment", resource)
		}
	}
	switch {
	case c.Registration.Rate < 0:
		return errors.New("registration: rate: want one an hour or more")
	case c.Registration.Unused < 0 || c.Registration.Unused > maxRegistrationUnused:
		return fmt.Errorf("registration: unused: want 1 to %d", maxRegistrationUnused)
	}
	return nil
}
