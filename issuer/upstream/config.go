package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// The values of Config.AuthMethod (Core §9).
const (
	ClientSecretBasic = "client_secret_basic"
	ClientSecretPost  = "client_secret_post"
)

// Config says which provider signs people in, and what it must say of them.
type Config struct {
	// ID names the provider in URLs and forms: 1 to 32 of [a-z0-9-]. Every
	// provider should have a redirect URI of its own that holds it (RFC 9700
	// §4.4.2.1).
	ID string

	// Name is on the button, at most 64 characters. It defaults to ID.
	Name string

	// Issuer is the provider's issuer identifier: https, or http on a loopback
	// host, without query and fragment. It is compared byte for byte with its
	// metadata, its answers and its ID tokens.
	Issuer string

	// ClientID and ClientSecret are what the provider gave this client. The
	// secret is empty for a public client, which PKCE alone protects.
	ClientID, ClientSecret string

	// Scopes are what is asked for; openid must be among them. The default is
	// openid, profile, email.
	Scopes []string

	// AuthMethod is how the secret is shown at the token endpoint. "" takes
	// client_secret_basic, or client_secret_post where the metadata offers only
	// that.
	AuthMethod string

	// Claims says which claims hold what, where that is not the standard's.
	Claims ClaimNames

	// RequireVerifiedEmail admits only people of whom the provider says that
	// their email address was verified.
	RequireVerifiedEmail bool

	// AllowedDomains admits only people with a verified email address in one of
	// these domains, in ASCII (xn--). A subdomain is another domain. Empty
	// admits every domain.
	AllowedDomains []string
}

// ClaimNames maps the members of an Identity to the claims that hold them. An
// empty name is the claim of Core §5.1. The subject is always sub.
type ClaimNames struct {
	// Username, if it is set, must be in what the provider says. Where it is
	// not set, the username is preferred_username, else email, else sub.
	Username string

	Name, GivenName, FamilyName, Email, EmailVerified, Locale, Picture string
}

// withDefaults returns the names with those of Core §5.1 for the empty ones,
// but for Username, which has three.
func (n ClaimNames) withDefaults() ClaimNames {
	for _, d := range []struct {
		name     *string
		standard string
	}{
		{&n.Name, "name"}, {&n.GivenName, "given_name"}, {&n.FamilyName, "family_name"}, {&n.Email, "email"},
		{&n.EmailVerified, "email_verified"}, {&n.Locale, "locale"}, {&n.Picture, "picture"},
	} {
		if *d.name == "" {
			*d.name = d.standard
		}
	}
	return n
}

// check returns everything that is wrong with the configuration.
func (c Config) check() error {
	problems := []error{checkID(c.ID), checkIssuer(c.Issuer), c.checkClient(), checkScopes(c.Scopes), checkDomains(c.AllowedDomains)}
	if displayText(c.Name, 64) != c.Name {
		problems = append(problems, errors.New("the name has more than 64 characters, spaces around it, or control characters"))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("upstream %q: %w", c.ID, err)
	}
	return nil
}

func checkID(id string) error {
	if id == "" || len(id) > 32 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("the id must be 1 to 32 of a-z, 0-9 and -")
	}
	return nil
}

func checkIssuer(issuer string) error {
	if err := checkURL(issuer); err != nil {
		return fmt.Errorf("the issuer: %w", err)
	}
	if strings.ContainsAny(issuer, "?#") {
		return errors.New("the issuer must have no query and no fragment (OpenID Connect Discovery §3)")
	}
	return nil
}

func (c Config) checkClient() error {
	switch {
	case c.ClientID == "":
		return errors.New("the client id is missing")
	case c.AuthMethod != "" && c.AuthMethod != ClientSecretBasic && c.AuthMethod != ClientSecretPost:
		return fmt.Errorf("the authentication method %q is neither %s nor %s", c.AuthMethod, ClientSecretBasic, ClientSecretPost)
	case c.AuthMethod != "" && c.ClientSecret == "":
		return fmt.Errorf("%s needs a client secret", c.AuthMethod)
	}
	return nil
}

func checkScopes(scopes []string) error {
	if len(scopes) > 0 && !slices.Contains(scopes, oidc.ScopeOpenID) {
		return errors.New("the scopes must include openid (Core §3.1.2.1)")
	}
	for _, scope := range scopes {
		outside := func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }
		if scope == "" || strings.ContainsFunc(scope, outside) {
			return fmt.Errorf("%q is not a scope (RFC 6749 §3.3)", scope)
		}
	}
	return nil
}

func checkDomains(domains []string) error {
	for _, domain := range domains {
		outside := func(r rune) bool { return !isDomainCharacter(r) }
		if domain == "" || strings.ContainsFunc(domain, outside) || strings.Trim(domain, ".-") != domain {
			return fmt.Errorf("%q is not a domain in ASCII", domain)
		}
	}
	return nil
}

func isDomainCharacter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.'
}

// checkURL returns an error unless text is a URL that may be trusted with codes
// and secrets: https, or http to this very machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("the URL cannot be parsed")
	case u.Host == "" || u.User != nil || strings.Contains(text, "#"):
		return fmt.Errorf("%q is not an absolute URL without user and fragment", u.Redacted())
	case !isTrusted(u):
		return fmt.Errorf("%q is not an https URL", u.Redacted())
	}
	return nil
}

// isTrusted: https, or http that never leaves the machine.
func isTrusted(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
