package caddymodule

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// The placeholders of a caller. Everything after the gate reads them, the access
// log included (it reads http.auth.user.id).
const (
	userPlaceholder  = "http.auth.user."
	claimPlaceholder = userPlaceholder + "claims."
)

// caller is who calls, for the placeholders. A gate that refuses the request takes
// the token back: what comes after it (another authentication provider, an error
// page, or the API where refusals are only reported) must not take a stranger for
// whoever that token speaks for.
type caller struct{ token *introspect.Token }

// setPlaceholders makes the caller known. Values are looked up only when somebody
// asks.
func setPlaceholders(r *http.Request, token *introspect.Token) *caller {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	c := &caller{token}
	repl.Map(c.placeholder)
	return c
}

// unknown makes the caller nobody.
func (c *caller) unknown() {
	if c != nil {
		c.token = nil
	}
}

func (c *caller) placeholder(key string) (any, bool) {
	token := c.token
	if token == nil || !strings.HasPrefix(key, userPlaceholder) {
		return nil, false
	}
	if name, ok := strings.CutPrefix(key, claimPlaceholder); ok {
		return claimPlaceholderValue(token, name)
	}
	switch key {
	case "http.auth.user.id":
		return token.Subject, true
	case "http.auth.user.client_id":
		return token.ClientID, true
	case "http.auth.user.scope":
		return joinScope(token.Scope), true
	case "http.auth.user.actor":
		return actorText(token), true
	case "http.auth.user.issuer":
		return token.Issuer, true
	case "http.auth.user.token_id":
		return token.ID, true
	}
	return nil, false
}

// claimPlaceholderValue returns a claim as a value of Go, so that expressions can
// compare numbers and look into lists. After a name that the token does not have,
// dots lead into objects: claims.realm_access.roles.
func claimPlaceholderValue(token *introspect.Token, name string) (any, bool) {
	if isNamedByGate(name) {
		return claimText(token, name)
	}
	raw, ok := gateClaim(token, name)
	if !ok && !strings.HasPrefix(name, "/") {
		raw, ok = gateClaim(token, "/"+strings.ReplaceAll(strings.ReplaceAll(name, "/", "~1"), ".", "/"))
	}
	if !ok {
		return nil, false
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil, false
	}
	return value, true
}
