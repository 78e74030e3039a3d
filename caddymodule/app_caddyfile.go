package caddymodule

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() { httpcaddyfile.RegisterGlobalOption("oauth", parseApp) }

// parseApp reads the global option oauth:
//
//	oauth {
//		storage <module> { ... }
//		key_encryption_key <placeholder>...
//		admin_api on|off
//		issuer <url> { ... }
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the oauth option stands twice; put all of it into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "oauth", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the block; see parseApp for its grammar.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // option name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "storage":
			raw, err := parseStorage(d, a.StorageRaw)
			if err != nil {
				return err
			}
			a.StorageRaw = raw
		case "key_encryption_key":
			if err := a.unmarshalKeyEncryptionKeys(d); err != nil {
				return err
			}
		case "admin_api":
			if err := onOrOff(d, &a.AdminAPI); err != nil {
				return err
			}
		case "issuer":
			issuer := new(IssuerConfig)
			if err := issuer.unmarshalCaddyfile(d); err != nil {
				return err
			}
			a.Issuers = append(a.Issuers, issuer)
		default:
			return d.Errf("unknown option of oauth: %s", d.Val())
		}
	}
	return nil
}

func parseStorage(d *caddyfile.Dispenser, existing json.RawMessage) (json.RawMessage, error) {
	if existing != nil {
		return nil, d.Err("storage stands twice")
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "oauth.storage."+name)
	if err != nil {
		return nil, err
	}
	storage, ok := module.(Storage)
	if !ok {
		return nil, d.Errf("oauth.storage.%s is not a storage", name)
	}
	return caddyconfig.JSONModuleObject(storage, "module", name, nil), nil
}

// unmarshalCaddyfile reads
//
//	issuer <url> {
//		insecure_http
//		scope <name> [<description>]
//		client <id> { ... }
//		default_resource      <uri>
//		access_token_lifetime <duration>
//		signing_algorithm     ES256|EdDSA|RS256|PS256
//		key_rotation          <duration>
//
//		refresh_token_lifetime      <duration>
//		refresh_token_idle_lifetime <duration>
//		refresh_token_grace         <duration>|off
//		session_lifetime            <duration>
//
//		login local
//		login caddy
//		login upstream <issuer> { ... }
//		trusted_issuer <url> { ... }
//		applications on|off
//		welcome      on|off
//		endpoint     <name> <path>...
//		pages { ... }
//		registration open|token|approval { ... }
//	}
func (c *IssuerConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.URL) {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := c.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

func (c *IssuerConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "insecure_http":
		c.InsecureHTTP = true
		return noArguments(d)
	case "scope":
		scope := ScopeConfig{}
		switch arguments := d.RemainingArgs(); len(arguments) {
		case 2:
			scope.Description = arguments[1]
			fallthrough
		case 1:
			scope.Name = arguments[0]
		default:
			return d.ArgErr()
		}
		c.Scopes = append(c.Scopes, scope)
	case "client":
		client := ClientConfig{}
		if err := client.unmarshalCaddyfile(d); err != nil {
			return err
		}
		c.Clients = append(c.Clients, client)
	case "trusted_issuer":
		trusted := TrustedIssuerConfig{}
		if err := trusted.unmarshalCaddyfile(d); err != nil {
			return err
		}
		c.TrustedIssuers = append(c.TrustedIssuers, trusted)
	case "default_resource":
		return oneArgument(d, &c.DefaultResource)
	case "access_token_lifetime":
		return duration(d, &c.AccessTokenLifetime)
	case "signing_algorithm":
		return oneArgument(d, &c.SigningAlgorithm)
	case "key_rotation":
		return duration(d, &c.KeyRotation)
	case "refresh_token_lifetime":
		return duration(d, &c.RefreshTokenLifetime)
	case "refresh_token_idle_lifetime":
		return duration(d, &c.RefreshTokenIdleLifetime)
	case "refresh_token_grace":
		return durationOrOff(d, &c.RefreshTokenGrace)
	case "session_lifetime":
		return duration(d, &c.SessionLifetime)
	case "login":
		if c.Login == nil {
			c.Login = new(LoginConfig)
		}
		return c.Login.unmarshalCaddyfile(d)
	case "applications":
		return onOrOff(d, &c.Applications)
	case "welcome":
		return onOrOff(d, &c.Welcome)
	case "endpoint":
		return c.unmarshalEndpoint(d)
	case "registration":
		if c.Registration != nil {
			return d.Err("registration stands twice")
		}
		c.Registration = new(RegistrationConfig)
		return c.Registration.unmarshalCaddyfile(d)
	case "pages":
		if c.Pages != nil {
			return d.Err("pages stands twice")
		}
		c.Pages = new(PagesConfig)
		return c.Pages.unmarshalCaddyfile(d)
	default:
		return d.Errf("unknown option of issuer: %s", option)
	}
	return nil
}

// unmarshalCaddyfile reads
//
//	client <id> {
//		name        <name>
//		public
//		secret_hash <hash>
//		secret      <placeholder>
//		grant       <type>...
//		scope       <name>...
//		resource    <uri>...
//
//		redirect_uri             <uri>...
//		post_logout_redirect_uri <uri>...
//		pkce                     optional
//		refresh_token            always
//		short_code_verifier
//		impersonation
//	}
func (c *ClientConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.ID) {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "name":
			err = oneArgument(d, &c.Name)
		case "public":
			c.Public = true
			err = noArguments(d)
		case "secret_hash":
			err = oneArgument(d, &c.SecretHash)
		case "secret":
			err = oneArgument(d, &c.Secret)
		case "grant":
			err = someArguments(d, &c.GrantTypes)
		case "scope":
			err = someArguments(d, &c.Scopes)
		case "resource":
			err = someArguments(d, &c.Resources)
		case "redirect_uri":
			err = someArguments(d, &c.RedirectURIs)
		case "post_logout_redirect_uri":
			err = someArguments(d, &c.PostLogoutRedirectURIs)
		case "pkce":
			c.PKCEOptional = true
			err = thisArgument(d, "optional")
		case "refresh_token":
			c.RefreshTokenAlways = true
			err = thisArgument(d, "always")
		case "short_code_verifier":
			c.ShortCodeVerifier = true
			err = noArguments(d)
		case "impersonation":
			c.Impersonation = true
			err = noArguments(d)
		default:
			err = d.Errf("unknown option of client: %s", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The shapes of an option's arguments. Each refuses what it does not
// expect, a repetition of a single value included.

func noArguments(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func oneArgument(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	if *value != "" {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(value) || strings.TrimSpace(*value) == "" {
		return d.ArgErr()
	}
	return nil
}

func someArguments(d *caddyfile.Dispenser, values *[]string) error {
	arguments := d.RemainingArgs()
	if len(arguments) == 0 {
		return d.ArgErr()
	}
	*values = append(*values, arguments...)
	return nil
}

func duration(d *caddyfile.Dispenser, value *caddy.Duration) error {
	var text string
	option := d.Val()
	if *value != 0 {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	parsed, err := caddy.ParseDuration(text)
	if err == nil && parsed <= 0 {
		err = errors.New("want a positive duration")
	}
	if err != nil {
		return d.Errf("%s: %v", option, err)
	}
	*value = caddy.Duration(parsed)
	return nil
}

// thisArgument demands the only word an option knows.
func thisArgument(d *caddyfile.Dispenser, word string) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) || value != word {
		return d.Errf("%s wants the word %s", option, word)
	}
	return nil
}

// durationOrOff reads a duration, or off as a negative one.
func durationOrOff(d *caddyfile.Dispenser, value *caddy.Duration) error {
	if d.CountRemainingArgs() == 1 {
		if lookahead := d.RemainingArgs(); lookahead[0] == "off" {
			*value = -1
			return nil
		}
		d.Prev()
	}
	return duration(d, value)
}
