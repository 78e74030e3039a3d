package issuer

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const (
	maxRedirectURIs      = 20
	maxRedirectURILength = 2048
	maxClientName        = 100 // characters
)

// registrableGrants are the grant types that a client can give itself: those in
// which a person decides. The others rest on an operator's decision.
var registrableGrants = []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantDeviceCode}

// refusedMetadata are members that ask for something this server does not do, and
// whose silent loss would leave a client less safe, or less capable, than it
// believes. Most are addresses that a server would fetch: this one fetches none.
var refusedMetadata = []struct {
	name string
	code oauth.ErrorCode
}{
	{"software_statement", oauth.InvalidSoftwareStatement},
	{"jwks_uri", oauth.InvalidClientMetadata},
	{"jwks", oauth.InvalidClientMetadata},
	{"request_uris", oauth.InvalidClientMetadata},
	{"sector_identifier_uri", oauth.InvalidClientMetadata},
	{"backchannel_logout_uri", oauth.InvalidClientMetadata},
}

// sentMetadata is client metadata as a client sends it (RFC 7591 §2). A member
// that is null counts as left out (RFC 7592 §2.2); unknown ones are ignored.
type sentMetadata map[string]json.RawMessage

// readMetadata reads client metadata from the body of a request.
func readMetadata(w http.ResponseWriter, r *http.Request) (sentMetadata, error) {
	if err := oauth.CheckMediaType(r.Header, "application/json"); err != nil {
		return nil, err
	}
	body, err := oauth.ReadBody(w, r)
	if err != nil {
		return nil, err
	}
	members, err := introspect.ReadObject(body)
	if err != nil {
		return nil, oauth.Refuse(oauth.InvalidClientMetadata, "the body is not one JSON object that everybody reads alike: %s", err).Because(err)
	}
	return members, nil
}

func (m sentMetadata) has(name string) bool {
	value, ok := m[name]
	return ok && string(value) != "null"
}

// text returns a member that must be a string; "" if it was left out.
func (m sentMetadata) text(name string) (text string, err error) {
	if m.has(name) && json.Unmarshal(m[name], &text) != nil {
		return "", oauth.Refuse(oauth.InvalidClientMetadata, "%s must be a string", name)
	}
	return text, nil
}

// texts returns a member that must be an array of strings; nil if it was left
// out or is empty.
func (m sentMetadata) texts(name string, code oauth.ErrorCode) (texts []string, err error) {
	if !m.has(name) {
		return nil, nil
	}
	var elements []*string // a null element is no string
	if json.Unmarshal(m[name], &elements) != nil || slices.Contains(elements, nil) {
		return nil, oauth.Refuse(code, "%s must be an array of strings", name)
	}
	for _, element := range elements {
		texts = append(texts, *element)
	}
	return texts, nil
}

// selfDescription is what a client says about itself, after the policy has
// accepted it.
type selfDescription struct {
	name           string
	authMethod     string
	grantTypes     []string
	redirectURIs   []string
	postLogoutURIs []string
	scope          oauth.Scope

	refreshTokenAlways bool // the policy says so
}

// clientType follows from how the client authenticates (RFC 7591 §2).
func (d *selfDescription) clientType() string {
	if d.authMethod == noClientAuth {
		return clients.Public
	}
	return clients.Confidential
}

// describe writes the description into a client's metadata; what else an operator
// decided about the client stays.
func (d *selfDescription) describe(m *clients.Metadata) {
	m.Name, m.GrantTypes, m.RedirectURIs, m.PostLogoutRedirectURIs, m.Scope = d.name, d.grantTypes, d.redirectURIs, d.postLogoutURIs, d.scope
	m.RefreshTokenAlways = d.refreshTokenAlways
}

// acceptMetadata holds what a client sent against the policy.
func (i *Issuer) acceptMetadata(sent sentMetadata) (d *selfDescription, err error) {
	for _, refused := range refusedMetadata {
		if sent.has(refused.name) {
			return nil, oauth.Refuse(refused.code, "%s is not supported", refused.name)
		}
	}
	d = new(selfDescription)
	if d.authMethod, err = acceptAuthMethod(sent); err != nil {
		return nil, err
	}
	if d.grantTypes, err = acceptGrantTypes(sent); err != nil {
		return nil, err
	}
	d.refreshTokenAlways = i.config.Registration.RefreshTokenAlways && slices.Contains(d.grantTypes, oauth.GrantRefreshToken)
	if err := acceptResponseTypes(sent, d.grantTypes); err != nil {
		return nil, err
	}
	if d.scope, err = i.acceptScope(sent); err != nil {
		return nil, err
	}
	if d.redirectURIs, err = i.acceptRedirectURIs(sent, d.grantTypes); err != nil {
		return nil, err
	}
	// OpenID Connect RP-Initiated Logout §3.1
	if d.postLogoutURIs, err = i.acceptURIs(sent, "post_logout_redirect_uris", oauth.InvalidClientMetadata); err != nil {
		return nil, err
	}
	d.name, err = acceptClientName(sent)
	return d, err
}

// acceptAuthMethod: client_secret_basic when left out (RFC 7591 §2).
func acceptAuthMethod(sent sentMetadata) (string, error) {
	method, err := sent.text("token_endpoint_auth_method")
	switch {
	case err != nil:
		return "", err
	case method == "":
		return clientSecretBasic, nil
	case method != clientSecretBasic && method != clientSecretPost && method != noClientAuth:
		return "", oauth.Refuse(oauth.InvalidClientMetadata, "token_endpoint_auth_method: want %s, %s or %s", clientSecretBasic, clientSecretPost, noClientAuth)
	}
	return method, nil
}

// acceptGrantTypes: authorization_code when left out (RFC 7591 §2).
func acceptGrantTypes(sent sentMetadata) ([]string, error) {
	asked, err := sent.texts("grant_types", oauth.InvalidClientMetadata)
	if err != nil {
		return nil, err
	}
	if len(asked) == 0 {
		return []string{oauth.GrantAuthorizationCode}, nil
	}
	var accepted []string
	for _, grantType := range asked {
		if !slices.Contains(registrableGrants, grantType) {
			return nil, oauth.Refuse(oauth.InvalidClientMetadata, "grant_types: a client may register itself for %s", strings.Join(registrableGrants, ", "))
		}
		if !slices.Contains(accepted, grantType) {
			accepted = append(accepted, grantType)
		}
	}
	if len(accepted) == 1 && accepted[0] == oauth.GrantRefreshToken {
		return nil, oauth.Refuse(oauth.InvalidClientMetadata, "grant_types: with %s alone the client would never get a token to refresh", oauth.GrantRefreshToken)
	}
	return accepted, nil
}

// acceptResponseTypes: code, which goes with authorization_code (RFC 7591 §2.1).
func acceptResponseTypes(sent sentMetadata, grantTypes []string) error {
	asked, err := sent.texts("response_types", oauth.InvalidClientMetadata)
	if err != nil {
		return err
	}
	for _, responseType := range asked {
		switch {
		case responseType != "code":
			return oauth.Refuse(oauth.InvalidClientMetadata, "response_types: this server knows code")
		case !slices.Contains(grantTypes, oauth.GrantAuthorizationCode):
			return oauth.Refuse(oauth.InvalidClientMetadata, "response_types: code goes with the grant type %s (RFC 7591 section 2.1)", oauth.GrantAuthorizationCode)
		}
	}
	return nil
}

// acceptScope: what clients may register for, or some of it.
func (i *Issuer) acceptScope(sent sentMetadata) (oauth.Scope, error) {
	text, err := sent.text("scope")
	if err != nil {
		return nil, err
	}
	allowed := i.config.Registration.Scopes
	switch asked, ok := oauth.ParseScope(text); {
	case ok && len(asked) == 0:
		return allowed, nil
	case ok && allowed.Contains(asked):
		return asked, nil
	}
	return nil, oauth.Refuse(oauth.InvalidClientMetadata, "scope: a client may register itself for %s", allowed)
}

// acceptRedirectURIs: at least one where answers go by redirection (RFC 7591 §2).
func (i *Issuer) acceptRedirectURIs(sent sentMetadata, grantTypes []string) ([]string, error) {
	uris, err := i.acceptURIs(sent, "redirect_uris", oauth.InvalidRedirectURI)
	if err == nil && len(uris) == 0 && slices.Contains(grantTypes, oauth.GrantAuthorizationCode) {
		return nil, oauth.Refuse(oauth.InvalidRedirectURI, "redirect_uris: at least one is needed for the grant type %s", oauth.GrantAuthorizationCode)
	}
	return uris, err
}

// acceptURIs: addresses that this server will send browsers to.
func (i *Issuer) acceptURIs(sent sentMetadata, name string, code oauth.ErrorCode) ([]string, error) {
	uris, err := sent.texts(name, code)
	switch {
	case err != nil:
		return nil, err
	case len(uris) > maxRedirectURIs:
		return nil, oauth.Refuse(code, "%s: at most %d", name, maxRedirectURIs)
	}
	for n, uri := range uris {
		switch {
		case slices.Contains(uris[:n], uri):
			return nil, oauth.Refuse(code, "%s: number %d stands there already", name, n+1)
		case len(uri) > maxRedirectURILength:
			return nil, oauth.Refuse(code, "%s: number %d is longer than %d characters", name, n+1, maxRedirectURILength)
		case clients.ValidateRedirectURI(uri) != nil, i.isRisky(uri):
			// The reason quotes a stranger's text; the rule does as well.
			return nil, oauth.Refuse(code, "%s: number %d is not allowed; want https, http on a loopback host, or a private-use scheme such as "+
				"com.example.app:/cb, without fragment, wildcard, credentials or control characters, and neither this server itself nor port %s of the loopback host", name, n+1, clients.AdminPort)
		}
	}
	return uris, nil
}

// isRisky: redirect URIs that an operator may have reasons for and a stranger has
// not. At the issuer's own origin an answer would be read by one of its own
// endpoints; an encoded control character waits for somebody who decodes it.
func (i *Issuer) isRisky(uri string) bool {
	u, err := url.Parse(uri)
	own, ownErr := url.Parse(i.config.URL)
	if err != nil || ownErr != nil {
		return true
	}
	query, err := url.QueryUnescape(u.RawQuery)
	if err != nil {
		return true
	}
	opaque, err := url.PathUnescape(u.Opaque)
	if err != nil || strings.ContainsFunc(u.Path+opaque+query, unicode.IsControl) {
		return true
	}
	return sameOrigin(u, own) || clients.IsLoopback(u.Hostname()) && u.Port() == clients.AdminPort
}

// sameOrigin compares as browsers do, and takes a dot after the host for nothing.
func sameOrigin(a, b *url.URL) bool {
	host := func(u *url.URL) string { return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") }
	port := func(u *url.URL) string {
		switch port := u.Port(); {
		case port != "":
			return port
		case u.Scheme == "https":
			return "443"
		}
		return "80"
	}
	return a.Scheme == b.Scheme && host(a) == host(b) && port(a) == port(b)
}

// acceptClientName: what people will read on the consent page, so nothing that
// turns text around or hides in it.
func acceptClientName(sent sentMetadata) (string, error) {
	name, err := sent.text("client_name")
	switch {
	case err != nil:
		return "", err
	case utf8.RuneCountInString(name) > maxClientName:
		return "", oauth.Refuse(oauth.InvalidClientMetadata, "client_name: at most %d characters", maxClientName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", oauth.Refuse(oauth.InvalidClientMetadata, "client_name: printable characters and spaces only")
	}
	return strings.TrimSpace(name), nil
}
