package issuer

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// endpointPaths are the endpoints that can have more paths than their own, by
// the names that the configuration uses. One that is off has none.
var endpointPaths = map[string]string{
	"authorize":            "/authorize",
	"token":                "/token",
	"device_authorization": "/device-authorization",
	"device":               "/device",
	"introspect":           "/introspect",
	"revoke":               "/revoke",
	"userinfo":             "/userinfo",
	"end_session":          "/end-session",
	"register":             "/register",
	"jwks":                 "/.well-known/jwks.json",
	"openid_configuration": "/.well-known/openid-configuration",
	"server_metadata":      "/.well-known/oauth-authorization-server",
}

// EndpointNames lists the names that Config.Endpoints knows.
func EndpointNames() []string { return slices.Sorted(maps.Keys(endpointPaths)) }

// aliasPath is a path of segments that no client, proxy or server spells
// otherwise: no escapes, no wildcards, nothing of a query.
var aliasPath = regexp.MustCompile(`^(/[A-Za-z0-9._~$!&'()+,;=:@-]+)+$`)

// validateEndpoints refuses a path that is no path, or somebody else's.
func (c *Config) validateEndpoints() error {
	i := &Issuer{config: *c}
	surface, taken := i.surface(), make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		canonical, ok := endpointPaths[name]
		if !ok {
			return fmt.Errorf("endpoint %q: want one of %s", name, strings.Join(EndpointNames(), ", "))
		}
		if _, on := surface[i.path(canonical)]; !on {
			return fmt.Errorf("endpoint %s: this issuer does not have it; turn it on, or leave out its paths", name)
		}
		for _, alias := range c.Endpoints[name] {
			if !aliasPath.MatchString(alias) || path.Clean(alias) != alias {
				return fmt.Errorf("endpoint %s %q: want a path below the issuer's URL, such as /oauth/token.php: it begins with one slash and ends with none, and has neither . nor .. as a part, nor a wildcard, escape or query", name, alias)
			}
			if other, twice := taken[alias]; twice {
				return fmt.Errorf("endpoint %s %s: endpoint %s has this path already", name, alias, other)
			}
			if i.answersAt(surface, i.path(alias)) {
				return fmt.Errorf("endpoint %s %s: the issuer answers something else at this path, or the same already", name, alias)
			}
			taken[alias] = name
		}
	}
	return nil
}

// answersAt tells whether a path belongs to the issuer, or to pages of it that
// another configuration has.
func (i *Issuer) answersAt(surface map[string]endpoint, at string) bool {
	for _, prefix := range []string{"/assets", "/applications", "/login", "/register"} {
		if at == i.path(prefix) || strings.HasPrefix(at, i.path(prefix)+"/") {
			return true
		}
	}
	_, own := surface[at]
	return own
}

// withAliases adds the configured paths to the endpoints' own.
func (i *Issuer) withAliases(routes map[string]endpoint) map[string]endpoint {
	for name, aliases := range i.config.Endpoints {
		for _, alias := range aliases {
			routes[i.path(alias)] = routes[i.path(endpointPaths[name])]
		}
	}
	return routes
}

// path is the path of one of our own pages.
func (i *Issuer) path(endpoint string) string { return i.basePath() + endpoint }
