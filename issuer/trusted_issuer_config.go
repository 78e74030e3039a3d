package issuer

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// TrustedIssuer is an issuer whose tokens may be subject tokens (RFC 8693 §2.1).
// Whoever can make its tokens can act here as any of its people, within Audience,
// Clients, AuthorizedParties and Scope.
type TrustedIssuer struct {
	// Issuer is what iss of its tokens is, byte for byte: https, or http on this
	// machine.
	Issuer string

	// Audience is whom its tokens must be for: every aud of a token must be in
	// it, and there must be one, so that a token which was made for somebody else
	// cannot be brought here by them. Default: our own issuer URL.
	Audience []string

	// Types are the accepted typ of its JWT access tokens. Default: at+jwt (RFC
	// 9068 §2.1), and then client_id and jti are required too. "JWT" is for
	// issuers that do not say at+jwt; "" among them means that typ may be
	// missing. ID tokens need no type.
	Types []string

	// KeySetURL is where its keys are. Default: jwks_uri of its metadata.
	KeySetURL string

	// ClientID and ClientSecret are what this server authenticates with at the
	// introspection endpoint, where opaque tokens are then judged (RFC 7662).
	// IntrospectionEndpoint: by default the one in the issuer's metadata.
	IntrospectionEndpoint string
	ClientID              string
	ClientSecret          string

	// Userinfo has opaque tokens judged by the userinfo endpoint in the issuer's
	// metadata. It says nothing of the audience: a token that the issuer made for
	// any of its clients is good here, so that each of these clients can act as
	// its users. It is for issuers all of whose clients are trusted.
	Userinfo bool

	// Clients are those of our clients that may exchange its tokens. Empty: every
	// client with the grant.
	Clients []string

	// AuthorizedParties are the clients of the issuer whose tokens are accepted
	// (client_id, azp or appid of the token). Empty: any.
	AuthorizedParties []string

	// SubjectClaim names the claim that tells the person. Default: sub. Any other
	// must be one that the issuer never gives to a second person. For email, the
	// token must say that the address is verified.
	SubjectClaim string

	// SubjectPrefix is put before the claim. Default: Issuer and "|", so that no
	// foreign subject passes for one of ours or of another issuer. Where it is
	// set, "" too, whoever sets it vouches for that.
	SubjectPrefix *string

	// Scope is the most that an exchanged token may have. Empty: what the client
	// may have.
	Scope oauth.Scope
}

// maxOpaqueIssuers bounds how many issuers one opaque token may be shown to.
const maxOpaqueIssuers = 8

// withDefaults fills in what was left out. ours is our own issuer URL.
func (t TrustedIssuer) withDefaults(ours string) TrustedIssuer {
	if len(t.Audience) == 0 {
		t.Audience = []string{ours}
	}
	if len(t.Types) == 0 {
		t.Types = []string{typeAccessToken}
	}
	if t.SubjectClaim == "" {
		t.SubjectClaim = claimSubject
	}
	if t.SubjectPrefix == nil {
		prefix := t.Issuer + "|"
		t.SubjectPrefix = &prefix
	}
	return t
}

// takesOpaque tells whether opaque tokens of the issuer can be judged.
func (t *TrustedIssuer) takesOpaque() bool { return t.introspects() || t.Userinfo }

func (t *TrustedIssuer) introspects() bool { return t.ClientID != "" }

func (t *TrustedIssuer) keySetConfig() introspect.RemoteKeySetConfig {
	return introspect.RemoteKeySetConfig{Issuer: t.Issuer, URL: t.KeySetURL}
}

func (t *TrustedIssuer) introspectionConfig() introspect.RemoteConfig {
	return introspect.RemoteConfig{
		Issuer: t.Issuer, Endpoint: t.IntrospectionEndpoint,
		ClientID: t.ClientID, ClientSecret: t.ClientSecret,
	}
}

// validate reports the first mistake, without touching anything.
func (t TrustedIssuer) validate() error {
	u, err := url.Parse(t.Issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery || strings.ContainsAny(t.Issuer, "|#") {
		return errors.New("want its issuer URL, as in the iss of its tokens, without query and fragment")
	}
	if err := t.validatePlaces(); err != nil {
		return err
	}
	switch asksToo := t.IntrospectionEndpoint != "" || t.ClientSecret != ""; {
	case t.ClientID == "" && asksToo, t.ClientID != "" && t.ClientSecret == "":
		return errors.New("introspection needs a client id and a secret (RFC 7662 section 2.1)")
	case t.introspects() && t.Userinfo:
		return errors.New("opaque tokens are judged by introspection or by userinfo, not by both")
	case t.Userinfo && len(t.AuthorizedParties) > 0:
		return errors.New("the userinfo endpoint does not tell whom a token was issued to; leave authorized parties or userinfo out")
	}
	for name, values := range map[string][]string{"audience": t.Audience, "client": t.Clients, "authorized party": t.AuthorizedParties} {
		if slices.Contains(values, "") {
			return fmt.Errorf("an empty %s", name)
		}
	}
	if t.SubjectPrefix != nil && !soundSubject(*t.SubjectPrefix+"x") {
		return errors.New("the subject prefix has control characters or is too long")
	}
	return nil
}

// validatePlaces: every place that is asked is one that may be trusted with keys
// and tokens. What asks there says so itself.
func (t *TrustedIssuer) validatePlaces() error {
	for _, place := range []string{t.Issuer, t.KeySetURL} {
		if place == "" && t.Issuer != "" {
			continue
		}
		set, err := introspect.NewRemoteKeySet(introspect.RemoteKeySetConfig{URL: place})
		if err != nil {
			return fmt.Errorf("%q: want an https URL, or http on this machine: %w", place, err)
		}
		if err := set.Close(); err != nil {
			return err
		}
	}
	if t.introspects() && t.ClientSecret != "" {
		remote, err := introspect.NewRemote(t.introspectionConfig())
		if err != nil {
			return err
		}
		return remote.Close()
	}
	return nil
}

// validateTrustedIssuers judges what they are together.
func (c *Config) validateTrustedIssuers() error {
	seen, opaque := make(map[string]bool), 0
	for _, t := range c.TrustedIssuers {
		if err := t.validate(); err != nil {
			return fmt.Errorf("trusted issuer %s: %w", t.Issuer, err)
		}
		switch {
		case t.Issuer == c.URL:
			return fmt.Errorf("trusted issuer %s is this issuer; its own tokens can be exchanged anyway", t.Issuer)
		case seen[t.Issuer]:
			return fmt.Errorf("trusted issuer %s is configured twice", t.Issuer)
		}
		seen[t.Issuer] = true
		for _, name := range t.Scope {
			if !c.HasScope(name) {
				return fmt.Errorf("trusted issuer %s: scope %q is not declared by the issuer, which has: %s", t.Issuer, name, c.scopeNames())
			}
		}
		if t.takesOpaque() {
			opaque++
		}
	}
	if opaque > maxOpaqueIssuers {
		return fmt.Errorf("%d trusted issuers with opaque tokens: want %d or fewer, for each token is shown to one after the other", opaque, maxOpaqueIssuers)
	}
	return nil
}
