package upstream

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Identity is a person as the provider describes them. Issuer and Subject
// together name the person, and nothing else does (Core §5.7): an account must
// never be found by Username or Email, which people change and give away.
//
// Texts for people are shortened and have no control characters. A username or
// an email address that is too long or has such characters is left out whole.
type Identity struct {
	// Issuer is Config.Issuer; Subject is at most 255 ASCII characters.
	Issuer, Subject string

	// Username is a label, at most 254 bytes, and never empty.
	Username string

	// Name, GivenName and FamilyName have at most 128 characters each.
	Name, GivenName, FamilyName string

	// Email has at most 254 bytes. EmailVerified is true only if the provider
	// says it of this address.
	Email         string
	EmailVerified bool

	// Locale is a language tag (BCP 47). Picture is an https URL of at most
	// 2048 bytes; whoever shows it tells its host who is looking.
	Locale, Picture string

	// AuthTime is when the person authenticated, zero if the provider does not
	// say. AMR (RFC 8176) and ACR say how.
	AuthTime time.Time
	AMR      []string
	ACR      string
}

// identify makes an Identity of what the ID token states and what the UserInfo
// endpoint adds. The ID token, which is signed, goes first.
func (p *Provider) identify(stated, added claims) (*Identity, error) {
	names := p.config.Claims
	pick := func(name string) string {
		if text := stated.text(name); text != "" {
			return text
		}
		return added.text(name)
	}
	identity := &Identity{
		Issuer: p.config.Issuer, Subject: stated.text("sub"),
		Name:       displayText(pick(names.Name), 128),
		GivenName:  displayText(pick(names.GivenName), 128),
		FamilyName: displayText(pick(names.FamilyName), 128),
		Locale:     languageTag(pick(names.Locale)),
		Picture:    pictureURL(pick(names.Picture)),
		AuthTime:   stated.time("auth_time"), AMR: stated.texts("amr"), ACR: identifier(stated.text("acr"), 255),
	}
	identity.Email, identity.EmailVerified = p.email(stated, added)
	if names.Username != "" {
		if identity.Username = identifier(pick(names.Username), 254); identity.Username == "" {
			return nil, refused("the claim %q, which is the username, is missing or not a plain text", names.Username)
		}
		return identity, nil
	}
	for _, name := range []string{identifier(pick("preferred_username"), 254), identity.Email, identity.Subject} {
		if identity.Username == "" {
			identity.Username = name
		}
	}
	return identity, nil
}

// email returns the address and whether it was verified. The one says nothing
// of the other unless both speak of the same address.
func (p *Provider) email(stated, added claims) (address string, verified bool) {
	names := p.config.Claims
	address = stated.text(names.Email)
	if address == "" {
		address = added.text(names.Email)
	}
	source := stated
	if _, ok := stated[names.EmailVerified]; !ok || stated.text(names.Email) != address {
		source = added
	}
	verified = source.isTrue(names.EmailVerified) && source.text(names.Email) == address
	address = emailAddress(address)
	return address, verified && address != ""
}

// emailAddress returns text if it looks like one address (RFC 5321 §4.5.3.1),
// and else nothing.
func emailAddress(text string) string {
	local, domain, found := strings.Cut(text, "@")
	if !found || local == "" || domain == "" || strings.ContainsAny(text, " <>,;") || strings.Contains(domain, "@") {
		return ""
	}
	return identifier(text, 254)
}

// languageTag returns text if it is built like a language tag, with a hyphen
// for the underscore that some providers use (Core §5.1).
func languageTag(text string) string {
	text = strings.ReplaceAll(text, "_", "-")
	outside := func(r rune) bool { return !isDomainCharacter(r) || r == '.' }
	if len(text) > 35 || strings.ContainsFunc(text, outside) {
		return ""
	}
	return text
}

func pictureURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return identifier(text, 2048)
}

// admit returns ErrNotAllowed for a person whom the configuration keeps out.
func (p *Provider) admit(identity *Identity) error {
	if !p.config.RequireVerifiedEmail && len(p.config.AllowedDomains) == 0 {
		return nil
	}
	if !identity.EmailVerified {
		return fmt.Errorf("%w: the provider does not say that the email address was verified", ErrNotAllowed)
	}
	_, domain, _ := strings.Cut(identity.Email, "@")
	// Domains have no case, in ASCII alone: what folds from beyond it is longer.
	isDomain := func(allowed string) bool { return strings.EqualFold(allowed, domain) && len(allowed) == len(domain) }
	if len(p.config.AllowedDomains) > 0 && !slices.ContainsFunc(p.config.AllowedDomains, isDomain) {
		return fmt.Errorf("%w: the email address is not in an allowed domain", ErrNotAllowed)
	}
	return nil
}
