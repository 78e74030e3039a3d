package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// RegistrationConfig says whether clients may register themselves (RFC 7591), and
// what they may have then.
type RegistrationConfig struct {
	// Mode: open (anybody may), token (whoever has a token made with `caddy oauth
	// registration-token create`) or approval (anybody may, and the client works
	// once an operator has approved it).
	Mode string `json:"mode"`

	// Scopes that such a client may have, and has when it names none. Default:
	// openid, profile, email and offline_access.
	Scopes []string `json:"scopes,omitempty"`

	// Resources that such a client may have tokens for; all that the issuer
	// protects when empty.
	Resources []string `json:"resources,omitempty"`

	// RefreshTokenAlways gives such a client a refresh token, if it registers for
	// the grant type, though it does not ask for offline_access.
	RefreshTokenAlways bool `json:"refresh_token_always,omitempty"`

	// Rate is how many registrations and updates an address may make in an hour:
	// default 20.
	Rate int `json:"rate,omitempty"`

	// Unused is how many clients there may be that nobody has consented to yet:
	// default 1000. Each is forgotten after seven days, or with the
	// request for its approval.
	Unused int `json:"unused,omitempty"`
}

// registration is the configuration as package issuer has it. c may be nil.
func (c *RegistrationConfig) registration() issuer.RegistrationConfig {
	if c == nil {
		return issuer.RegistrationConfig{}
	}
	return issuer.RegistrationConfig{
		Mode: issuer.RegistrationMode(c.Mode), Scopes: c.Scopes, Resources: c.Resources, RefreshTokenAlways: c.RefreshTokenAlways,
		Rate: c.Rate, Unused: c.Unused,
	}
}

// unmarshalCaddyfile reads
//
//	registration open|token|approval {
//		scope         <name>...
//		resource      <uri>...
//		refresh_token always
//		rate          <number an hour>
//		unused        <number>
//	}
func (c *RegistrationConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.Mode) || c.Mode == "" {
		return d.ArgErr()
	}
	return eachOption(d, c.unmarshalOption)
}

func (c *RegistrationConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "scope":
		return someArguments(d, &c.Scopes)
	case "resource":
		return someArguments(d, &c.Resources)
	case "refresh_token":
		c.RefreshTokenAlways = true
		return thisArgument(d, "always")
	case "rate":
		return positiveNumber(d, &c.Rate)
	case "unused":
		return positiveNumber(d, &c.Unused)
	default:
		return unknownOption(d, "registration", "rate refresh_token resource scope unused")
	}
}
