package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("oauth_protect", parseProtect)
	httpcaddyfile.RegisterDirectiveOrder("oauth_protect", httpcaddyfile.After, "basic_auth")
}

// parseProtect reads
//
//	oauth_protect [<matcher>] {
//		resource        <uri>
//		issuer          <url>...
//		scope           <method>[,<method>...]|* <scope>...
//		actor           <client_id>...
//		subject_issuer  <url>...
//		public          <path>...
//		allow_target    <kind>...
//		identity_header <name> <claim>
//		forward_token
//		bare_token      on|off
//	}
func parseProtect(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	protect := new(Protect)
	return protect, protect.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive; see parseProtect.
func (p *Protect) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := p.unmarshalOption(d); err != nil {
			return err
		}
	}
	if p.Resource == "" {
		return d.Err("oauth_protect needs a resource: the URI of the API behind it, which its tokens must be for")
	}
	return nil
}

func (p *Protect) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "resource":
		return oneArgument(d, &p.Resource)
	case "issuer":
		return someArguments(d, &p.Issuers)
	case "scope":
		arguments := d.RemainingArgs()
		if len(arguments) < 2 {
			return d.Err("scope wants a method, several with commas between, or *, and then the scopes that are needed")
		}
		rule := ScopeRule{Scopes: arguments[1:]}
		if arguments[0] != "*" {
			rule.Methods = strings.Split(arguments[0], ",")
		}
		p.ScopeRules = append(p.ScopeRules, rule)
	case "actor":
		return someArguments(d, &p.Actors)
	case "subject_issuer":
		return someArguments(d, &p.SubjectIssuers)
	case "public":
		return someArguments(d, (*[]string)(&p.Public))
	case "allow_target":
		return someArguments(d, &p.AllowTarget)
	case "identity_header":
		header := IdentityHeader{}
		if !d.AllArgs(&header.Name, &header.Claim) {
			return d.ArgErr()
		}
		p.IdentityHeaders = append(p.IdentityHeaders, header)
	case "forward_token":
		p.ForwardToken = true
		return noArguments(d)
	case "bare_token":
		var value string
		if !d.AllArgs(&value) || (value != "on" && value != "off") {
			return d.Err("bare_token wants on or off")
		}
		on := value == "on"
		p.BareToken = &on
	default:
		return d.Errf("unknown option of oauth_protect: %s", option)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Protect)(nil)
