package clients

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ValidateRedirectURI says whether a client may be registered with the URI:
// absolute, without fragment, wildcard or credentials (RFC 6749 §3.1.2); https,
// or http on a loopback host (RFC 8252 §7.3), or a private-use scheme that is a
// reversed domain name (RFC 8252 §7.1).
func ValidateRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return fmt.Errorf("redirect URI %q: %w", uri, err)
	case strings.Contains(uri, "#"), strings.Contains(uri, "*"), u.User != nil, strings.ContainsAny(uri, "\\ \"<>^`{|}"):
		return fmt.Errorf("redirect URI %q: no fragment, wildcard, credentials, space or backslash is allowed (RFC 6749 section 3.1.2)", uri)
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= 0x20 || r >= 0x7f }):
		return fmt.Errorf("redirect URI %q: percent-encode what is not printable ASCII", uri)
	case u.Port() != "" && !canonicalPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("redirect URI %q: write the port as a plain number, or leave it out", uri)
	case !plainHost(u):
		return fmt.Errorf("redirect URI %q: write the host as it is: no percent-encoding, and an address in its usual form", uri)
	case u.Scheme == "https":
		return requireHost(u, uri)
	case u.Scheme == "http":
		if !IsLoopback(u.Hostname()) {
			return fmt.Errorf("redirect URI %q: http would show codes to the network; use https (http is for loopback hosts, RFC 8252 section 7.3)", uri)
		}
		return requireHost(u, uri)
	case strings.Contains(u.Scheme, "."):
		if u.Opaque == "" && u.Host != "" {
			return fmt.Errorf("redirect URI %q: a private-use scheme has a path only, such as %s:/cb (RFC 8252 section 7.1)", uri, u.Scheme)
		}
		return nil
	}
	return fmt.Errorf("redirect URI %q: want https, http on a loopback host, or a private-use scheme such as com.example.app:/cb (RFC 8252 section 7)", uri)
}

func requireHost(u *url.URL, uri string) error {
	if u.Hostname() == "" || u.Opaque != "" {
		return fmt.Errorf("redirect URI %q: the host is missing", uri)
	}
	return nil
}

// plainHost: a host that browsers take for what it looks like. They undo
// percent-encoding in it, and read 127.1 and 0x7f.1 as addresses.
func plainHost(u *url.URL) bool {
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r == '%' || r >= 0x7f }) {
		return false
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	hex, prefixed := strings.CutPrefix(last, "0x")
	number := last != "" && strings.Trim(last, "0123456789") == "" || prefixed && strings.Trim(hex, "0123456789abcdef") == ""
	if !number && !strings.Contains(host, ":") {
		return true
	}
	_, err := netip.ParseAddr(u.Hostname())
	return err == nil
}

var errRedirectURI = errors.New("the redirect URI is not registered")

// ProvenRedirectURI returns where the answer to an authorization request may go:
// the URI of the request if it is registered, character for character (RFC 9700
// §2.1), or the only registered one if the request has none. OpenID Connect
// requests must have one (OpenID Connect Core §3.1.2.1).
func (c *Client) ProvenRedirectURI(requested string, openID bool) (string, error) {
	if requested == "" {
		if openID || len(c.RedirectURIs) != 1 {
			return "", errRedirectURI
		}
		return c.RedirectURIs[0], nil
	}
	if slices.Contains(c.RedirectURIs, requested) {
		return requested, nil
	}
	for _, registered := range c.RedirectURIs {
		if sameButLoopbackPort(registered, requested) {
			return requested, nil
		}
	}
	return "", errRedirectURI
}

// sameButLoopbackPort: a native client listens on the port it gets, so on a
// loopback host the port may differ and nothing else (RFC 8252 §7.3). The two
// are compared as text around the port, so that no parser's view of the URI can
// widen the match.
func sameButLoopbackPort(registered, requested string) bool {
	prefix, path, ok := splitLoopback(registered)
	if !ok {
		return false
	}
	prefix2, path2, ok := splitLoopback(requested)
	return ok && prefix == prefix2 && path == path2
}

// splitLoopback splits http://host[:port]/path at the port, for the three
// loopback hosts.
func splitLoopback(uri string) (host, path string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", "", false
	}
	authority, path := rest, ""
	if n := strings.IndexAny(rest, "/?"); n >= 0 {
		authority, path = rest[:n], rest[n:]
	}
	host = authority
	if n := strings.LastIndexByte(authority, ':'); n >= 0 && !strings.HasSuffix(authority, "]") {
		port := authority[n+1:]
		if !canonicalPort(port) || port == AdminPort {
			return "", "", false
		}
		host = authority[:n]
	}
	switch host {
	case "127.0.0.1", "[::1]", "localhost":
		return host, path, true
	}
	return "", "", false
}

// AdminPort is where Caddy's admin endpoint listens by default. No answer is sent
// there, unless an operator has registered a client with that very URI: a browser
// must never be sent there with what a stranger chose.
const AdminPort = "2019"

// canonicalPort: a port in its one spelling; others may be read differently.
func canonicalPort(port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number != 0 && port == strconv.FormatUint(number, 10)
}

// LoopbackOrPrivate tells whether any program on the person's machine could
// receive what is sent to the URI.
func LoopbackOrPrivate(uri string) bool {
	u, err := url.Parse(uri)
	return err != nil || u.Scheme != "https"
}

// RedirectHost is what a person may know a redirect URI by.
func RedirectHost(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return u.Hostname()
	}
	host, _, err := net.SplitHostPort(u.Host)
	if err != nil {
		return u.Host
	}
	return host
}

// IsLoopback: a host that never leaves the machine.
func IsLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
