package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
	return eachOption(d, c.unmarshalOption)
}

func (c *IssuerConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "insecure_http":
		c.InsecureHTTP = true
		return noArguments(d)
	case "scope":
		return c.unmarshalScope(d)
	case "client":
		return repeatedBlock(d, &c.Clients)
	case "trusted_issuer":
		return repeatedBlock(d, &c.TrustedIssuers)
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
		return oneBlock(d, &c.Registration)
	case "pages":
		return oneBlock(d, &c.Pages)
	default:
		return unknownOption(d, "issuer", "access_token_lifetime applications client default_resource endpoint insecure_http "+
			"key_rotation login pages refresh_token_grace refresh_token_idle_lifetime refresh_token_lifetime registration scope session_lifetime signing_algorithm trusted_issuer welcome")
	}
}

// unmarshalScope takes the name of a scope and, if there is one, its description.
func (c *IssuerConfig) unmarshalScope(d *caddyfile.Dispenser) error {
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
	return eachOption(d, c.unmarshalOption)
}

func (c *ClientConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "name":
		return oneArgument(d, &c.Name)
	case "public":
		c.Public = true
		return noArguments(d)
	case "secret_hash":
		return oneArgument(d, &c.SecretHash)
	case "secret":
		return oneArgument(d, &c.Secret)
	case "grant":
		return someArguments(d, &c.GrantTypes)
	case "scope":
		return someArguments(d, &c.Scopes)
	case "resource":
		return someArguments(d, &c.Resources)
	case "redirect_uri":
		return someArguments(d, &c.RedirectURIs)
	case "post_logout_redirect_uri":
		return someArguments(d, &c.PostLogoutRedirectURIs)
	case "pkce":
		c.PKCEOptional = true
		return thisArgument(d, "optional")
	case "refresh_token":
		c.RefreshTokenAlways = true
		return thisArgument(d, "always")
	case "short_code_verifier":
		c.ShortCodeVerifier = true
		return noArguments(d)
	case "impersonation":
		c.Impersonation = true
		return noArguments(d)
	default:
		return unknownOption(d, "client", "grant impersonation name pkce "+
			"post_logout_redirect_uri public redirect_uri refresh_token resource scope secret secret_hash short_code_verifier")
	}
}
