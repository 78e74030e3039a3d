package caddymodule

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// IdentityHeader is a header that tells the API something about the caller.
type IdentityHeader struct {
	// Name of the header.
	Name string `json:"name"`

	// Claim of the token whose value it has: sub, client_id, scope, act (the
	// actors, the current one first, with commas between) or any other. A string
	// stands as it is, with "%" and all that is not printable ASCII percent-encoded
	// (RFC 3986 §2.1); other values stand as JSON. A token without the claim gives
	// no header.
	Claim string `json:"claim"`
}

// defaultIdentityHeaders are set when the configuration names none.
var defaultIdentityHeaders = []IdentityHeader{
	{Name: "X-Auth-Subject", Claim: "sub"},
	{Name: "X-Auth-Client", Claim: "client_id"},
	{Name: "X-Auth-Scope", Claim: "scope"},
	{Name: "X-Auth-Actor", Claim: "act"},
}

// neverFromOutside are headers by which proxies commonly tell an API who calls,
// or by which a request says that it is another one than it is: another method,
// another URL. An API that was behind such a proxy before may still believe
// them, so no client may send them.
var neverFromOutside = []string{
	"X-User", "X-User-Id", "X-User-Name", "X-User-Email", "X-User-Groups", "X-User-Roles", "X-Userinfo", "X-Username",
	"X-Auth-User", "X-Auth-Username", "X-Auth-Email", "X-Auth-Roles", "X-Auth-Groups", "X-Auth-Scopes", "X-Auth-Act",
	"X-Auth-Actor", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Token", "X-Auth-Request-User",
	"X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token",
	"Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Remote-User", "X-Remote-Group",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Access-Token", "X-Forwarded-Authorization", "X-Authorization", "X-Access-Token", "X-ID-Token",
	"X-Authenticated-User", "X-Authenticated-Userid", "X-Authenticated-Scope", "X-Consumer-ID", "X-Consumer-Username",
	"X-Consumer-Custom-ID", "X-Credential-Identifier", "X-Anonymous-Consumer", "X-Client-Id", "X-Client-Verify",
	"X-Ssl-Client-Dn", "X-Ssl-Client-Verify", "X-Forwarded-Client-Cert", "X-Token-Subject", "X-Jwt-Payload",
	"X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id", "X-Goog-Iap-Jwt-Assertion",
	"X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Accesstoken", "X-Ms-Client-Principal",
	"X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name", "Cf-Access-Jwt-Assertion",
	"Cf-Access-Authenticated-User-Email", "X-Endpoint-Api-Userinfo", "X-Webauth-User", "X-Vouch-User", "X-Token",
	"Proxy-Authorization",

	"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Original-URI",
	"X-Original-Method", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Path",
}

// ofProxies are headers by which a proxy in front tells where a request came from.
// One that Caddy trusts (trusted_proxies) may send them; Caddy itself sees to
// X-Forwarded-For, -Proto and -Host.
var ofProxies = []string{
	"Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Ssl",
	"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Front-End-Https",
}

// identity says what the API is told about the caller, and keeps anybody else
// from telling it.
type identity struct {
	headers []IdentityHeader
	denied  map[string]bool // by folded name; false: unless a trusted proxy sends it
	longest int             // of the folded names
}

// newIdentity prepares the headers. tokenHeader, the one of the identity token,
// may be empty. Without others, only what the gate itself sets is kept from
// outside.
func newIdentity(configured []IdentityHeader, tokenHeader string, others bool) (identity, error) {
	if len(configured) == 0 {
		configured = defaultIdentityHeaders
	}
	id := identity{denied: make(map[string]bool)}
	if tokenHeader != "" {
		if !httpguts.ValidHeaderFieldName(tokenHeader) {
			return id, fmt.Errorf("identity token in header %q: want the name of a header", tokenHeader)
		}
		if err := id.reserve(tokenHeader); err != nil {
			return id, fmt.Errorf("identity token: %w", err)
		}
	}
	for _, h := range configured {
		if !httpguts.ValidHeaderFieldName(h.Name) || h.Claim == "" {
			return id, fmt.Errorf("identity header %q from claim %q: want a header name and the name of a claim", h.Name, h.Claim)
		}
		if err := id.reserve(h.Name); err != nil {
			return id, fmt.Errorf("identity header: %w", err)
		}
		h.Name = textproto.CanonicalMIMEHeaderKey(h.Name)
		id.headers = append(id.headers, h)
	}
	if others {
		for _, name := range neverFromOutside {
			id.deny(name)
		}
		for _, name := range ofProxies {
			if folded := id.fold(name); !id.denied[folded] {
				id.denied[folded] = false
			}
		}
	}
	return id, nil
}

// ofHTTP are headers with a meaning of their own. The gate removes what a client
// sends under the names it reserves, and could not do its work without these.
var ofHTTP = []string{"Authorization", "Connection", "Content-Length", "Host", "Origin", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// reserve denies a name to clients that the gate itself sets, once.
func (id *identity) reserve(name string) error {
	if slices.Contains(ofHTTP, textproto.CanonicalMIMEHeaderKey(name)) {
		return fmt.Errorf("header %s has a meaning of its own; choose another name", name)
	}
	before := len(id.denied)
	if id.deny(name); len(id.denied) == before {
		return fmt.Errorf("header %s stands twice", name)
	}
	return nil
}

func (id *identity) deny(name string) { id.denied[id.fold(name)] = true }

// fold returns the folded form of a name that is to be looked for.
func (id *identity) fold(name string) string {
	var buffer [128]byte
	folded := string(fold(buffer[:0], name, len(buffer)))
	id.longest = max(id.longest, len(folded))
	return folded
}

// fold appends the letters and digits of a header's name in lower case: names
// that differ only in "-", "_", "." and case are one variable to CGI, PHP, WSGI
// and others. It stops beyond limit, where no name of interest is.
func fold(to []byte, name string, limit int) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			continue
		}
		if to = append(to, c); len(to) > limit {
			return to
		}
	}
	return to
}

// strip removes from a request what only the gate may say. It runs on every
// request, also on those that need no token.
func (id *identity) strip(r *http.Request) {
	var buffer [128]byte
	for name := range r.Header {
		if always, listed := id.denied[string(fold(buffer[:0], name, id.longest))]; always || listed && !fromTrustedProxy(r) {
			delete(r.Header, name)
		}
	}
	// Trailers arrive after the decision and would be forwarded with the rest.
	if r.Trailer != nil {
		r.Trailer = nil
		r.Header.Del("Trailer")
	}
	cleanConnection(r.Header)
}

// fromTrustedProxy tells whether the request came from a proxy that the server is
// configured to trust.
func fromTrustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// cleanConnection leaves in Connection only what concerns this connection. A
// proxy removes the headers that Connection names (RFC 9110 §7.6.1), which must
// not be those the gate sets. An upgrade other than to a websocket (to h2c, say)
// would carry requests past the gate.
func cleanConnection(h http.Header) {
	values, sent := h["Connection"]
	upgrade := h["Upgrade"]
	if !sent && upgrade == nil {
		return
	}
	websocket := len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket")
	if !websocket {
		delete(h, "Upgrade")
		delete(h, "Http2-Settings")
	}
	var kept []string
	for _, token := range []string{"close", "keep-alive", "upgrade"} {
		if httpguts.HeaderValuesContainsToken(values, token) && (token != "upgrade" || websocket) {
			kept = append(kept, token)
		}
	}
	if len(kept) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// set tells the API who calls.
func (id *identity) set(r *http.Request, token *introspect.Token) {
	values := make([]string, len(id.headers)) // one piece of memory for all
	for n, h := range id.headers {
		value, ok := claimText(token, h.Claim)
		if !ok {
			continue
		}
		if h.Claim != "act" { // whose parts are encoded already
			value = headerText(value)
		}
		values[n] = value
		r.Header[h.Name] = values[n : n+1 : n+1]
	}
}

// actorText is the chain of who acts for the subject, the current actor first.
// Each name is encoded as a header's value is, commas too, so that a comma
// separates and nothing else.
func actorText(token *introspect.Token) string {
	var chain []string
	for actor := token.Actor; actor != nil; actor = actor.Actor {
		chain = append(chain, strings.ReplaceAll(headerText(actor.Name(token.Issuer)), ",", "%2C"))
	}
	return strings.Join(chain, ", ")
}

// headerText percent-encodes "%" and whatever is not printable ASCII, so that
// any value is one line and can be decoded without guessing.
func headerText(value string) string {
	plain := true
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < 0x20 || c > 0x7e || c == '%' {
			plain = false
			break
		}
	}
	if plain {
		return value
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c < 0x20 || c > 0x7e || c == '%' {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
