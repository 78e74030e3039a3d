package signin

import "github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"

// caddyProvider vouches for those whom a handler of Caddy's has signed in.
const caddyProvider = "caddy"

// Logins are the ways to sign in that there are: whoever vouches for people (see
// users.User.Provider), "" for the passwords that are kept here.
type Logins map[string]bool

// LoginsOf returns the ways to sign in of a configuration.
func LoginsOf(config Config) Logins {
	all := Logins{"": config.LocalLogin, caddyProvider: config.CaddyUser != nil}
	for _, provider := range config.Upstreams {
		all[provider.Issuer()] = true
	}
	return all
}

// UseLogins makes the ways to sign in of a configuration those in force.
func (p *People) UseLogins(all Logins) { p.logins.Store(&all) }

// MayAct tells whether a person may do anything: they are not disabled, and could sign
// in, by the latest configuration. Someone for whom another provider vouched ends with
// the line of the configuration that names it, of which no record tells.
func (p *People) MayAct(user *users.User) bool {
	all := p.logins.Load()
	return !user.Disabled && all != nil && (*all)[user.Provider]
}
