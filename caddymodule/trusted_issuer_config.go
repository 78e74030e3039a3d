package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// TrustedIssuerConfig is another issuer whose tokens clients may exchange for
// tokens of this one (RFC 8693).
type TrustedIssuerConfig struct {
	// Issuer URL, as in the `iss` of its tokens, byte for byte.
	Issuer string `json:"issuer"`

	// Audience: every `aud` of its tokens must be one of these. Default: the URL
	// of this issuer.
	Audience []string `json:"audience,omitempty"`

	// Types are the accepted `typ` of its access tokens. Default: at+jwt. "JWT"
	// for issuers that do not say at+jwt; "" if `typ` may be missing.
	Types []string `json:"types,omitempty"`

	// JWKSURI is where its keys are. Default: as in its metadata.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// Introspection judges its opaque tokens.
	Introspection *IntrospectionConfig `json:"introspection,omitempty"`

	// Userinfo has its opaque tokens judged by its userinfo endpoint, which does
	// not tell whom a token was made for: every client of that issuer can then
	// act here as each of its users.
	Userinfo bool `json:"userinfo,omitempty"`

	// Clients that may exchange its tokens. Default: every client with the grant.
	Clients []string `json:"clients,omitempty"`

	// AuthorizedParties are the clients of that issuer whose tokens are
	// accepted. Default: any.
	AuthorizedParties []string `json:"authorized_parties,omitempty"`

	// SubjectClaim tells the person. Default: sub.
	SubjectClaim string `json:"subject_claim,omitempty"`

	// SubjectPrefix is put before the claim. Default: the issuer's URL and "|".
	// "" is none: then people of that issuer pass for people of this one.
	SubjectPrefix *string `json:"subject_prefix,omitempty"`

	// Scopes are the most that an exchanged token has. Default: those of the
	// client.
	Scopes []string `json:"scopes,omitempty"`
}

// IntrospectionConfig is an introspection endpoint and what this server
// authenticates with there. Placeholders of the environment and of files are
// allowed in the id and the secret.
type IntrospectionConfig struct {
	// Endpoint of introspection. Default: as in the issuer's metadata.
	Endpoint string `json:"endpoint,omitempty"`

	ClientID     string `json:"client_id" placeholders:"resolved"`
	ClientSecret string `json:"client_secret" placeholders:"resolved"`
}

// trustedIssuer makes the issuer's own configuration of it.
func (c *TrustedIssuerConfig) trustedIssuer() (issuer.TrustedIssuer, error) {
	trusted := issuer.TrustedIssuer{
		Issuer: c.Issuer, Audience: c.Audience, Types: c.Types, KeySetURL: c.JWKSURI, Userinfo: c.Userinfo,
		Clients: c.Clients, AuthorizedParties: c.AuthorizedParties,
		SubjectClaim: c.SubjectClaim, SubjectPrefix: c.SubjectPrefix, Scope: c.Scopes,
	}
	if c.Introspection == nil {
		return trusted, nil
	}
	asked, err := c.Introspection.resolved()
	if err != nil {
		return trusted, err
	}
	trusted.IntrospectionEndpoint, trusted.ClientID, trusted.ClientSecret = asked.Endpoint, asked.ClientID, asked.ClientSecret
	return trusted, nil
}

// resolved returns it with its placeholders replaced.
func (c *IntrospectionConfig) resolved() (*IntrospectionConfig, error) {
	all := *c
	for _, field := range []struct {
		name string
		text *string
	}{
		{"client_id", &all.ClientID},
		{"client_secret", &all.ClientSecret},
	} {
		text, err := caddy.NewReplacer().ReplaceOrErr(*field.text, true, true)
		if err != nil {
			return nil, fmt.Errorf("introspection: %s: %w", field.name, err)
		}
		if text == "" {
			return nil, fmt.Errorf("introspection: the %s is empty", field.name)
		}
		*field.text = text
	}
	return &all, nil
}

// unmarshalCaddyfile reads
//
//	trusted_issuer <url> {
//		audience         <aud>...
//		type             <typ>...
//		jwks_uri         <url>
//		introspection    [<endpoint>] <client_id> <client_secret>
//		userinfo
//		client           <id>...
//		authorized_party <id>...
//		subject_claim    <claim>
//		subject_prefix   <text>|none
//		scope            <scope>...
//	}
func (c *TrustedIssuerConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.Issuer) {
		return d.ArgErr()
	}
	return eachOption(d, c.unmarshalOption)
}

func (c *TrustedIssuerConfig) unmarshalOption(d *caddyfile.Dispenser) (err error) {
	switch option := d.Val(); option {
	case "audience":
		return someArguments(d, &c.Audience)
	case "type":
		return someArguments(d, &c.Types)
	case "jwks_uri":
		return oneArgument(d, &c.JWKSURI)
	case "introspection":
		c.Introspection, err = parseIntrospection(d, c.Introspection)
		return err
	case "userinfo":
		c.Userinfo = true
		return noArguments(d)
	case "client":
		return someArguments(d, &c.Clients)
	case "authorized_party":
		return someArguments(d, &c.AuthorizedParties)
	case "subject_claim":
		return oneArgument(d, &c.SubjectClaim)
	case "subject_prefix":
		c.SubjectPrefix, err = parseSubjectPrefix(d, c.SubjectPrefix)
		return err
	case "scope":
		return someArguments(d, &c.Scopes)
	default:
		return unknownOption(d, "trusted_issuer", "audience authorized_party client introspection jwks_uri scope subject_claim subject_prefix type userinfo")
	}
}

// parseIntrospection reads
//
//	introspection [<endpoint>] <client_id> <client_secret>
func parseIntrospection(d *caddyfile.Dispenser, existing *IntrospectionConfig) (*IntrospectionConfig, error) {
	if existing != nil {
		return nil, d.Err("introspection stands twice")
	}
	config := new(IntrospectionConfig)
	switch arguments := d.RemainingArgs(); len(arguments) {
	case 3:
		config.Endpoint, config.ClientID, config.ClientSecret = arguments[0], arguments[1], arguments[2]
	case 2:
		config.ClientID, config.ClientSecret = arguments[0], arguments[1]
	default:
		return nil, d.ArgErr()
	}
	return config, nil
}

// parseSubjectPrefix reads
//
//	subject_prefix <text>|none
func parseSubjectPrefix(d *caddyfile.Dispenser, existing *string) (*string, error) {
	if existing != nil {
		return nil, d.Err("subject_prefix stands twice")
	}
	var prefix string
	if err := oneArgument(d, &prefix); err != nil {
		return nil, err
	}
	if prefix == "none" {
		prefix = ""
	}
	return &prefix, nil
}
