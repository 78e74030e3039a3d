package caddymodule

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterDirective("oauth_protect", parseProtect)
	httpcaddyfile.RegisterDirectiveOrder("oauth_protect", httpcaddyfile.After, "basic_auth")
	httpcaddyfile.RegisterDirective("oauth_resource_metadata", parseResourceMetadata)
	httpcaddyfile.RegisterDirectiveOrder("oauth_resource_metadata", httpcaddyfile.Before, "basic_auth")
}

// parseProtect reads
//
//	oauth_protect [<matcher>] {
//		resource        <uri>
//		issuer          <url>...
//		trusted_issuer  <url> {
//			profile        keycloak|entra|auth0|okta
//			audience       <aud>...|none
//			type           <typ>...
//			jwks_uri       <url>
//			introspection  [<endpoint>] <client_id> <client_secret>
//			scope          <scope>...
//			subject_prefix <text>|none
//			leeway         <duration>
//			max_lifetime   <duration>
//		}
//		scope           <method>[,<method>...]|* [<path>...] <scope>...
//		any_scope       <method>[,<method>...]|* [<path>...] <scope>...
//		client          <client_id>...
//		subject         <sub>...
//		actor           <client_id>...
//		subject_issuer  <url>...
//		claim           <name> <value>...
//		expression      <cel>
//		optional
//		public          <path>...
//		allow_target    <kind>...
//		cors            <origin>...
//		identity_header <name> <claim>
//		identity_token  <header>
//		forward_token
//		bare_token      on|off
//		stream_grace    <duration>
//		metadata        on|off
//		report_only
//	}
//
// and adds a route for the metadata of the resource.
func parseProtect(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() { // the name of the directive, which a matcher follows
		return nil, h.ArgErr()
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	protect := new(Protect)
	if err := protect.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	route := h.NewRoute(matcher, protect)
	resource, err := url.Parse(protect.Resource)
	if err != nil || !protect.PublishMetadata {
		return route, nil // Provision says what is wrong with the resource
	}
	return append(metadataRoute(h, protect.Resource, resource), route...), nil
}

// metadataRoute is the route at the well-known place of a resource.
func metadataRoute(h httpcaddyfile.Helper, name string, resource *url.URL) []httpcaddyfile.ConfigValue {
	path := metadataPath(resource)
	matcher := caddy.ModuleMap{"path": h.JSON(caddyhttp.MatchPath{path, path + "/"})}
	if query := resource.Query(); len(query) > 0 { // which is a part of the well-known place
		matcher["query"] = h.JSON(caddyhttp.MatchQuery(query))
	}
	return h.NewRoute(matcher, &ResourceMetadata{Resource: name})
}

// parseResourceMetadata reads
//
//	oauth_resource_metadata <resource>
func parseResourceMetadata(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // directive name
	var name string
	if !h.AllArgs(&name) {
		return nil, h.ArgErr()
	}
	resource, err := url.Parse(name)
	if err != nil || resource.Host == "" {
		return nil, h.Errf("resource %q: want the URL that a gate has for it", name)
	}
	return metadataRoute(h, name, resource), nil
}

// UnmarshalCaddyfile reads the directive; see parseProtect.
func (p *Protect) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	p.PublishMetadata = true
	p.Lines = make(map[string]string)
	p.noteLine(d, wholeGate)
	if err := eachOption(d, p.unmarshalOption); err != nil {
		return err
	}
	if p.Resource == "" {
		return d.Err("oauth_protect needs a resource: the URI of the API behind it, which its tokens must be for")
	}
	return nil
}

// noteLine remembers where an option of the JSON stands in the Caddyfile.
func (p *Policy) noteLine(d *caddyfile.Dispenser, option string) {
	if _, noted := p.Lines[option]; !noted {
		p.Lines[option] = fmt.Sprintf("%s:%d", d.File(), d.Line())
	}
}

// notedArguments is someArguments for an option that a question of the gate rests on.
func (p *Policy) notedArguments(d *caddyfile.Dispenser, option string, values *[]string) error {
	p.noteLine(d, option)
	return someArguments(d, values)
}

// unmarshalOption reads what concerns the handler, and leaves what concerns the
// token to the policy.
func (p *Protect) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "optional":
		p.noteLine(d, "bare_token")
		p.Optional = true
		return noArguments(d)
	case "public":
		return p.notedArguments(d, "public", (*[]string)(&p.Public))
	case "cors":
		if p.CORS == nil {
			p.CORS = new(CORS)
		}
		return someArguments(d, &p.CORS.Origins)
	case "identity_header":
		header := IdentityHeader{}
		if !d.AllArgs(&header.Name, &header.Claim) {
			return d.ArgErr()
		}
		p.IdentityHeaders = append(p.IdentityHeaders, header)
		return nil
	case "identity_token":
		p.noteLine(d, "identity_token")
		return oneArgument(d, &p.IdentityToken)
	case "forward_token":
		p.ForwardToken = true
		return noArguments(d)
	case "stream_grace":
		return duration(d, &p.StreamGrace)
	case "metadata":
		if err := onOrOff(d, &p.metadata); err != nil {
			return err
		}
		p.PublishMetadata = *p.metadata
		return nil
	case "report_only":
		p.ReportOnly = true
		return noArguments(d)
	default:
		return p.unmarshalPolicyOption(d)
	}
}

func (p *Policy) unmarshalPolicyOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "resource":
		p.noteLine(d, "resource")
		return oneArgument(d, &p.Resource)
	case "issuer":
		return p.notedArguments(d, "issuers", &p.Issuers)
	case "trusted_issuer":
		p.noteLine(d, "issuers")
		foreign := new(ForeignIssuer)
		p.TrustedIssuers = append(p.TrustedIssuers, foreign)
		return foreign.unmarshalCaddyfile(d)
	case "scope", "any_scope":
		p.noteLine(d, "scope_rules")
		p.noteLine(d, fmt.Sprintf("scope_rules/%d", len(p.ScopeRules)))
		return p.unmarshalScopeRule(d, option == "any_scope")
	case "client":
		return p.notedArguments(d, "clients", &p.Clients)
	case "subject":
		return p.notedArguments(d, "subjects", &p.Subjects)
	case "actor":
		return p.notedArguments(d, "actors", &p.Actors)
	case "subject_issuer":
		return p.notedArguments(d, "subject_issuers", &p.SubjectIssuers)
	case "claim":
		p.noteLine(d, fmt.Sprintf("claim_rules/%d", len(p.ClaimRules)))
		arguments := d.RemainingArgs()
		if len(arguments) < 2 {
			return d.Err("claim wants the name of a claim and the values of which it must have one")
		}
		p.ClaimRules = append(p.ClaimRules, ClaimRule{arguments[0], arguments[1:]})
		return nil
	case "expression":
		p.noteLine(d, "expression")
		return p.unmarshalExpression(d)
	case "allow_target":
		return p.notedArguments(d, "allow_target", &p.AllowTarget)
	case "bare_token":
		p.noteLine(d, "bare_token")
		return onOrOff(d, &p.BareToken)
	default:
		return unknownOption(d, "oauth_protect", "actor allow_target any_scope bare_token claim client cors expression forward_token "+
			"identity_header identity_token issuer metadata optional public report_only resource scope stream_grace subject subject_issuer trusted_issuer")
	}
}

func (p *Policy) unmarshalScopeRule(d *caddyfile.Dispenser, anyOf bool) error {
	option := d.Val()
	arguments := d.RemainingArgs()
	rule := ScopeRule{}
	if len(arguments) > 0 && arguments[0] != "*" {
		rule.Methods = strings.Split(arguments[0], ",")
	}
	for arguments = arguments[min(1, len(arguments)):]; len(arguments) > 0 && strings.HasPrefix(arguments[0], "/"); arguments = arguments[1:] {
		rule.Paths = append(rule.Paths, arguments[0])
	}
	if len(arguments) == 0 {
		return d.Errf("%s wants a method, several with commas between, or *, then paths, if it is not for all, and then the scopes that are needed", option)
	}
	if anyOf {
		rule.AnyScopes = arguments
	} else {
		rule.Scopes = arguments
	}
	p.ScopeRules = append(p.ScopeRules, rule)
	return nil
}

// unmarshalExpression reads it as Caddy's matcher does.
func (p *Policy) unmarshalExpression(d *caddyfile.Dispenser) error {
	if p.Expression != nil {
		return d.Err("expression stands twice; combine them with &&")
	}
	p.Expression = new(caddyhttp.MatchExpression)
	if d.CountRemainingArgs() > 1 { // quotes inside belong to the expression
		p.Expression.Expr = strings.Join(d.RemainingArgsRaw(), " ")
		return nil
	}
	return oneArgument(d, &p.Expression.Expr)
}

// unmarshalCaddyfile reads a trusted_issuer; see parseProtect.
func (c *ForeignIssuer) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.Issuer) {
		return d.ArgErr()
	}
	return eachOption(d, c.unmarshalOption)
}

func (c *ForeignIssuer) unmarshalOption(d *caddyfile.Dispenser) (err error) {
	switch option := d.Val(); option {
	case "profile":
		return oneArgument(d, &c.Profile)
	case "audience":
		if err := someArguments(d, &c.Audience); err != nil {
			return err
		}
		for n, name := range c.Audience {
			if name == "none" {
				c.Audience[n] = ""
			}
		}
		return nil
	case "type":
		return someArguments(d, &c.Types)
	case "jwks_uri":
		return oneArgument(d, &c.JWKSURI)
	case "introspection":
		c.Introspection, err = parseIntrospection(d, c.Introspection)
		return err
	case "scope":
		return someArguments(d, &c.Scopes)
	case "subject_prefix":
		c.SubjectPrefix, err = parseSubjectPrefix(d, c.SubjectPrefix)
		return err
	case "leeway":
		return duration(d, &c.Leeway)
	case "max_lifetime":
		return duration(d, &c.MaxLifetime)
	default:
		return unknownOption(d, "trusted_issuer", "audience introspection jwks_uri leeway max_lifetime profile scope subject_prefix type")
	}
}

var _ caddyfile.Unmarshaler = (*Protect)(nil)
