package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// LoginConfig says who authenticates people. Several ways can be on at once;
// the sign-in page then offers them.
type LoginConfig struct {
	// Local: names and passwords kept here, made with `caddy oauth user add`.
	Local bool `json:"local,omitempty"`

	// Caddy: the user that an authentication handler before oauth_issuer has
	// established, in {http.auth.user.id}.
	Caddy bool `json:"caddy,omitempty"`

	// Upstreams are OpenID providers.
	Upstreams []UpstreamConfig `json:"upstreams,omitempty"`
}

// UpstreamConfig is an OpenID provider where people sign in. Register with it
// the redirect URI <issuer>/login/callback/<id>.
type UpstreamConfig struct {
	// Issuer URL of the provider.
	Issuer string `json:"issuer"`

	// ID of the provider in URLs: lower-case letters, digits and dashes.
	// Default: "upstream".
	ID string `json:"id,omitempty"`

	// Name on the button.
	Name string `json:"name,omitempty"`

	// ClientID and ClientSecret are what the provider gave this server.
	// Placeholders of the environment and of files are allowed in both.
	ClientID     string `json:"client_id" placeholders:"upstreamConfig"`
	ClientSecret string `json:"client_secret,omitempty" placeholders:"upstreamConfig"`

	// Scopes to ask for. Default: openid profile email.
	Scopes []string `json:"scopes,omitempty"`

	// AuthMethod: client_secret_basic or client_secret_post. Default: what the
	// provider offers.
	AuthMethod string `json:"auth_method,omitempty"`

	// Claims names the provider's claims where they are not the standard's, by
	// username, name, given_name, family_name, email, email_verified, locale and
	// picture.
	Claims map[string]string `json:"claims,omitempty"`

	// RequireVerifiedEmail admits only people with a verified e-mail address.
	RequireVerifiedEmail bool `json:"require_verified_email,omitempty"`

	// AllowedDomains admits only verified e-mail addresses in these domains.
	AllowedDomains []string `json:"allowed_domains,omitempty"`
}

// apply puts the ways to sign in into the issuer's configuration.
func (c *LoginConfig) apply(config *issuer.Config) error {
	if c == nil {
		config.LocalLogin = true
		return nil
	}
	config.LocalLogin = c.Local
	if c.Caddy {
		config.CaddyUser = caddyUser
	}
	for _, u := range c.Upstreams {
		converted, err := u.upstreamConfig()
		if err != nil {
			return fmt.Errorf("upstream %s: %w", u.Issuer, err)
		}
		config.Upstreams = append(config.Upstreams, converted)
	}
	return nil
}

// caddyUser is the user that an authentication handler has established for the
// request. Placeholders under http.auth are set by handlers, never by clients.
func caddyUser(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	user, _ := repl.GetString("http.auth.user.id")
	return user
}

func (u *UpstreamConfig) upstreamConfig() (upstream.Config, error) {
	config := upstream.Config{
		ID: u.ID, Name: u.Name, Issuer: u.Issuer, Scopes: u.Scopes, AuthMethod: u.AuthMethod,
		RequireVerifiedEmail: u.RequireVerifiedEmail, AllowedDomains: u.AllowedDomains,
	}
	if config.ID == "" {
		config.ID = "upstream"
	}
	for _, field := range []struct {
		from string
		to   *string
	}{{u.ClientID, &config.ClientID}, {u.ClientSecret, &config.ClientSecret}} {
		text, err := caddy.NewReplacer().ReplaceOrErr(field.from, true, true)
		if err != nil && field.from != "" {
			return config, err
		}
		*field.to = text
	}
	names := map[string]*string{
		"username": &config.Claims.Username, "name": &config.Claims.Name, "given_name": &config.Claims.GivenName,
		"family_name": &config.Claims.FamilyName, "email": &config.Claims.Email, "email_verified": &config.Claims.EmailVerified,
		"locale": &config.Claims.Locale, "picture": &config.Claims.Picture,
	}
	for name, claim := range u.Claims {
		to, ok := names[name]
		if !ok {
			return config, fmt.Errorf("claim %q is not one that can be mapped", name)
		}
		*to = claim
	}
	return config, nil
}

// unmarshalCaddyfile reads
//
//	login local
//	login caddy
//	login upstream <issuer> {
//		id            <id>
//		name          <name>
//		client_id     <id>
//		client_secret <secret>
//		scope         <scope>...
//		auth_method   client_secret_basic|client_secret_post
//		claim         <ours> <theirs>
//		require_verified_email
//		allowed_domain <domain>...
//	}
func (c *LoginConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	switch way := d.Val(); way {
	case "local":
		c.Local = true
		return noArguments(d)
	case "caddy":
		c.Caddy = true
		return noArguments(d)
	case "upstream":
		return repeatedBlock(d, &c.Upstreams)
	default:
		return d.Errf("unknown way to log in: %s; there is local, upstream and caddy", way)
	}
}

func (u *UpstreamConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&u.Issuer) {
		return d.ArgErr()
	}
	return eachOption(d, u.unmarshalOption)
}

func (u *UpstreamConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "id":
		return oneArgument(d, &u.ID)
	case "name":
		return oneArgument(d, &u.Name)
	case "client_id":
		return oneArgument(d, &u.ClientID)
	case "client_secret":
		return oneArgument(d, &u.ClientSecret)
	case "scope":
		return someArguments(d, &u.Scopes)
	case "auth_method":
		return oneArgument(d, &u.AuthMethod)
	case "claim":
		var ours, theirs string
		if !d.AllArgs(&ours, &theirs) {
			return d.ArgErr()
		}
		if u.Claims == nil {
			u.Claims = make(map[string]string)
		}
		u.Claims[ours] = theirs
	case "require_verified_email":
		u.RequireVerifiedEmail = true
		return noArguments(d)
	case "allowed_domain":
		return someArguments(d, &u.AllowedDomains)
	default:
		return unknownOption(d, "login upstream", "allowed_domain auth_method claim client_id client_secret id name require_verified_email scope")
	}
	return nil
}
