package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// ClaimRule asks for a claim with one of some values.
type ClaimRule struct {
	// Name of the claim, or a JSON Pointer (RFC 6901) to one within another, such
	// as /realm_access/roles.
	Name string `json:"name"`

	// Values of which the claim must have one. A string is compared as it is,
	// anything else as JSON; an array fits if one of its elements does.
	Values []string `json:"values"`
}

// ask returns nil if the token has the claim.
func (r *ClaimRule) ask(v *visit) *refusal {
	if isNamedByGate(r.Name) {
		if text, ok := claimText(v.token, r.Name); ok && slices.Contains(r.Values, text) {
			return nil
		}
	} else if value, ok := gateClaim(v.token, r.Name); ok && r.fits(value) {
		return nil
	}
	return forbidden("the token lacks a value of the claim "+r.Name+" that this resource asks for", nil)
}

func (r *ClaimRule) fits(value json.RawMessage) bool {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '[' {
		text, ok := plainClaim(value)
		return ok && slices.Contains(r.Values, text)
	}
	var elements []json.RawMessage
	if json.Unmarshal(value, &elements) != nil {
		return false
	}
	return slices.ContainsFunc(elements, func(element json.RawMessage) bool {
		text, ok := plainClaim(element)
		return ok && slices.Contains(r.Values, text)
	})
}

// plainClaim returns the text of a value: a string without its quotes, anything
// else as JSON; nothing for null, which is no value.
func plainClaim(value json.RawMessage) (string, bool) {
	switch {
	case len(value) == 0 || string(value) == "null":
		return "", false
	case value[0] != '"':
		return string(value), true
	case bytes.IndexByte(value, '\\') < 0:
		return string(value[1 : len(value)-1]), true
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err == nil
}

// isNamedByGate tells whether a claim is one that the gate gives another value
// than the token has: to keep the names of one issuer apart from those of the
// others, or because not all of the scopes of an issuer count.
func isNamedByGate(claim string) bool {
	switch strings.TrimPrefix(claim, "/") {
	case "sub", "client_id", "scope":
		return true
	}
	return false
}

// claimText returns a claim as text. The common ones are at hand; the others are
// read from the claims set.
func claimText(token *introspect.Token, claim string) (string, bool) {
	switch claim {
	case "sub", "/sub":
		return token.Subject, token.Subject != ""
	case "client_id", "/client_id":
		return token.ClientID, token.ClientID != ""
	case "scope", "/scope":
		return joinScope(token.Scope), len(token.Scope) > 0
	case "act":
		return actorText(token), token.Actor != nil
	case "iss":
		return token.Issuer, token.Issuer != ""
	case "jti":
		return token.ID, token.ID != ""
	}
	value, ok := gateClaim(token, claim)
	if !ok {
		return "", false
	}
	return plainClaim(value)
}

// gateClaim returns a claim by its name, or by a pointer. Whoever acts is called in it
// what the gate calls them.
func gateClaim(token *introspect.Token, name string) (json.RawMessage, bool) {
	if name != "act" && name != "/act" && !strings.HasPrefix(name, "/act/") {
		return token.Claim(name)
	}
	act, ok := token.Claim("act")
	if !ok {
		return nil, false
	}
	named, err := namedActors(act, token.Actor, token.Issuer)
	if err != nil {
		return nil, false
	}
	claims, err := json.Marshal(map[string]json.RawMessage{"act": named})
	if err != nil {
		return nil, false
	}
	return (&introspect.Token{Claims: claims}).Claim(name)
}

// namedActors puts the names of a chain of actors into the claim that it was read
// from.
func namedActors(claim json.RawMessage, actor *introspect.Actor, issuer string) (named json.RawMessage, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(claim, &members); err != nil {
		return nil, err
	}
	if actor == nil || members == nil {
		return nil, errors.New("a claim of no actor")
	}
	if members["sub"], err = json.Marshal(actor.Name(issuer)); err != nil {
		return nil, err
	}
	if actor.ClientID != "" {
		client := introspect.Actor{Issuer: actor.Issuer, Subject: actor.ClientID}
		if members["client_id"], err = json.Marshal(client.Name(issuer)); err != nil {
			return nil, err
		}
	}
	if actor.Actor != nil {
		if members["act"], err = namedActors(members["act"], actor.Actor, issuer); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}
