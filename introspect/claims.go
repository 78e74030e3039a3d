package introspect

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Bounds of claims. A signature says who wrote a value, not that it is sane.
const (
	maxSubjectLength = 1024
	maxClaimLength   = 1024 // of client_id, jti, authorization_id and each audience
	maxAudiences     = 64
	maxActors        = 8
	minClockSkew     = time.Minute     // tolerated for iat
	maxNumericDate   = 253_402_300_799 // the last second of the year 9999
)

// claimsReader reads typed claims and keeps the first refusal.
type claimsReader struct {
	members     jsonObject
	optional    []string
	scopeClaims []string // nil: scope
	err         error
}

// parseClaims judges a payload whose signature has been verified (RFC 9068 §4).
func (j *JWT) parseClaims(payload []byte) (*Token, error) {
	members, err := parseObject(payload)
	if err != nil {
		return nil, &InactiveError{Reason: "the claims of the token are not strict JSON", Cause: err}
	}
	c := claimsReader{members: members, optional: j.config.Optional, scopeClaims: j.config.ScopeClaims}
	if issuer, ok := members["iss"].str(); !ok || issuer != j.config.Issuer {
		return nil, inactive("the token is of another issuer")
	}
	// A token bound to a key is no bearer token: whoever shows it must prove
	// that they hold the key, and nothing here can (RFC 7800 §3, RFC 9449 §7.1).
	if _, bound := members["cnf"]; bound {
		return nil, inactive("the token is bound to a key and is not accepted without proof")
	}
	token := &Token{
		Issuer:          j.config.Issuer,
		Subject:         c.text("sub", maxSubjectLength, "the sub of the token is missing or not valid"),
		ClientID:        c.clientID(),
		ID:              c.text("jti", maxClaimLength, "the jti of the token is missing or not valid"),
		AuthorizationID: c.authorizationID(),
		Audience:        c.audience(),
		Scope:           c.scope(),
		Actor:           c.actor(),
		IssuedAt:        c.time("iat", "the iat of the token is missing or not a valid time"),
		Expiry:          c.time("exp", "the exp of the token is missing or not a valid time"),
		Claims:          payload,
	}
	notBefore := c.notBefore()
	if c.err != nil {
		return nil, c.err
	}
	if err := j.checkTimes(token, notBefore); err != nil {
		return nil, err
	}
	return token, nil
}

// checkTimes judges the moments that a token names (RFC 7519 §4.1.4 to §4.1.6).
func (j *JWT) checkTimes(token *Token, notBefore time.Time) error {
	now := time.Now()
	// On or after exp it must not be accepted.
	if !now.Before(token.Expiry.Add(j.config.Leeway)) {
		return inactive("the token has expired")
	}
	if notBefore.After(now.Add(j.config.Leeway)) {
		return inactive("the token is not valid yet")
	}
	start := token.IssuedAt
	if start.IsZero() { // optional here
		start = now.Add(-j.config.Leeway)
	} else if start.After(now.Add(max(j.config.Leeway, minClockSkew))) {
		return inactive("the token was issued in the future")
	}
	if j.config.MaxLifetime > 0 && token.Expiry.Sub(start) > j.config.MaxLifetime {
		return inactive("the lifetime of the token is too long")
	}
	return nil
}

func (c *claimsReader) refuse(reason string) {
	if c.err == nil {
		c.err = inactive(reason)
	}
}

// absent tells whether a claim is missing and may be.
func (c *claimsReader) absent(name string) bool {
	_, present := c.members[name]
	return !present && slices.Contains(c.optional, name)
}

// text reads a claim that names somebody or something.
func (c *claimsReader) text(name string, length int, reason string) string {
	if c.absent(name) {
		return ""
	}
	text, ok := c.members[name].str()
	if !ok || !isName(text, length) {
		c.refuse(reason)
	}
	return text
}

// clientID reads the client that the token was issued to. An issuer that may do
// without client_id often says the same in another claim.
func (c *claimsReader) clientID() string {
	if c.absent("client_id") {
		for _, name := range []string{"azp", "appid", "cid"} {
			if _, present := c.members[name]; present {
				return c.text(name, maxClaimLength, "the "+name+" of the token is not valid")
			}
		}
	}
	return c.text("client_id", maxClaimLength, "the client_id of the token is missing or not valid")
}

// isName tells whether text can name somebody or something. Control characters
// would end up in the headers and logs of whoever trusts the name.
func isName(text string, length int) bool {
	return text != "" && len(text) <= length && strings.IndexFunc(text, unicode.IsControl) < 0
}

// authorizationID reads a claim of this project's own issuer.
func (c *claimsReader) authorizationID() string {
	if _, present := c.members["authorization_id"]; !present {
		return ""
	}
	return c.text("authorization_id", maxClaimLength, "the authorization_id of the token is not valid")
}

// audience reads aud: one string or several (RFC 7519 §4.1.3).
func (c *claimsReader) audience() []string {
	if c.absent("aud") {
		return nil
	}
	audience, ok := c.members["aud"].strings()
	if !ok {
		var one string
		if one, ok = c.members["aud"].str(); ok {
			audience = []string{one}
		}
	}
	unfit := func(name string) bool { return !isName(name, maxClaimLength) }
	if !ok || len(audience) == 0 || len(audience) > maxAudiences || slices.ContainsFunc(audience, unfit) {
		c.refuse("the aud of the token is missing or not valid")
	}
	return audience
}

// scope reads scope: a string of scope tokens with one space between them (RFC
// 9068 §2.2.3, RFC 6749 §3.3). The empty string, which some issuers send, is no
// scope. An array is not the claim that RFC 8693 §4.2 defines and is refused,
// unless the configuration names the claims to read.
func (c *claimsReader) scope() []string {
	if c.scopeClaims == nil {
		return c.scopeText(c.members["scope"])
	}
	var all []string
	for _, name := range c.scopeClaims {
		value := c.members[name]
		list, ok := value.strings()
		if !ok {
			list = c.scopeText(value)
		} else if slices.ContainsFunc(list, func(s string) bool { return !isScopeToken(s) }) {
			c.refuse("the " + name + " of the token holds what is not a scope name")
		}
		for _, scope := range list {
			if !slices.Contains(all, scope) {
				all = append(all, scope)
			}
		}
	}
	return all
}

// scopeText reads scope names with one space between them; a missing value is
// none.
func (c *claimsReader) scopeText(value jsonValue) []string {
	if value == nil {
		return nil
	}
	text, ok := value.str()
	if ok && text == "" {
		return nil
	}
	scope := strings.Split(text, " ")
	if !ok || slices.ContainsFunc(scope, func(s string) bool { return !isScopeToken(s) }) {
		c.refuse("the scope of the token is not a string of scope names")
	}
	return scope
}

// isScopeToken tells whether text is a scope-token of RFC 6749 §3.3.
func isScopeToken(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return text != ""
}

// actor reads the act chain (RFC 8693 §4.1).
func (c *claimsReader) actor() *Actor {
	value, present := c.members["act"]
	if !present {
		return nil
	}
	actor, ok := parseActor(value, maxActors)
	if !ok {
		c.refuse("the act of the token is not a valid chain of actors")
	}
	return actor
}

// parseActor reads a chain of at most length actors.
func parseActor(value jsonValue, length int) (*Actor, bool) {
	members, ok := value.object()
	if !ok || length == 0 {
		return nil, false
	}
	actor := &Actor{}
	if actor.Subject, ok = members["sub"].str(); !ok || !isName(actor.Subject, maxSubjectLength) {
		return nil, false
	}
	for name, field := range map[string]*string{"iss": &actor.Issuer, "client_id": &actor.ClientID} {
		if value, present := members[name]; present {
			if *field, ok = value.str(); !ok || !isName(*field, maxClaimLength) {
				return nil, false
			}
		}
	}
	if earlier, present := members["act"]; present {
		actor.Actor, ok = parseActor(earlier, length-1)
	}
	return actor, ok
}

// time reads a NumericDate, of which a fraction is legal (RFC 7519 §2), down to
// the microsecond.
func (c *claimsReader) time(name, reason string) time.Time {
	if c.absent(name) {
		return time.Time{}
	}
	seconds, ok := c.members[name].number()
	if !ok || seconds < 0 || seconds > maxNumericDate {
		c.refuse(reason)
		return time.Time{}
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e6)*1e3)
}

// notBefore reads nbf, which may be missing.
func (c *claimsReader) notBefore() time.Time {
	if _, present := c.members["nbf"]; !present {
		return time.Time{}
	}
	return c.time("nbf", "the nbf of the token is not a valid time")
}
