package issuer

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// maxActors bounds the chain of who acted for whom.
const maxActors = 4

// subjectOf is what a subject token says of the party it is about.
type subjectOf struct {
	*introspect.Token
	mapped string // the sub of the new token
	own    bool   // the subject token is one of ours
	mayAct *introspect.Actor
	issuer string      // who vouched for the subject, if not this issuer
	most   oauth.Scope // what the new token may have at most; nil: what the client may have
}

// proveTokenExchange is token exchange (RFC 8693): a client that holds a token
// about somebody gets one with which it acts for them, at the APIs it names and
// no wider than either of the two may. Whatever is wrong with the subject or
// actor token is invalid_request (§2.2.2).
func (i *Issuer) proveTokenExchange(r *tokenRequest) (*approval, error) {
	switch requested := unquoted(r.Get("requested_token_type")); requested {
	case "", tokenTypeAccessToken, tokenTypeJWT:
	default:
		return nil, oauth.Refuse(oauth.InvalidRequest, "requested_token_type must be %s", tokenTypeAccessToken)
	}
	actor, err := i.actorToken(r)
	if err != nil {
		return nil, err
	}
	subject, err := i.subjectToken(r)
	if err != nil {
		return nil, err
	}
	if err := mayActFor(r.client, subject); err != nil {
		return nil, err
	}
	approved := &approval{
		subject: subject.mapped, subjectIssuer: subject.issuer, mayAct: subject.mayAct, notAfter: subject.Expiry, issuedTokenType: tokenTypeAccessToken,
	}
	if subject.own {
		approved.parent, approved.authorizationID = subject.ID, subject.AuthorizationID
	}
	if actor == nil {
		approved.actor = subject.Actor // impersonation changes nothing about who acted before
	} else if approved.actor, err = actedBy(r.client, subject.Actor); err != nil {
		return nil, err
	}
	may := exchangeableScope(r.client, subject)
	for _, shown := range []*introspect.Token{actor, r.presented} {
		if shown != nil { // nothing that it is not good for, and not for longer
			may = may.Intersect(shown.Scope)
			approved.notAfter = earlier(approved.notAfter, shown.Expiry)
		}
	}
	if approved.scope, err = oauth.RequestedScope(r.Get("scope"), may); err != nil {
		return nil, err
	}
	approved.audience, err = i.exchangedAudience(r)
	return approved, err
}

// exchangedAudience is whom the new token is for. A client that shows a token in
// place of its secret gets nothing for an API that token is not good at: whoever
// else has seen the token may be the one that asks.
func (i *Issuer) exchangedAudience(r *tokenRequest) ([]string, error) {
	audience, err := i.resources.Requested(slices.Concat(r.All("resource"), r.All("audience")), r.client)
	if err != nil || r.presented == nil {
		return audience, err
	}
	for _, resource := range audience {
		if !r.presented.HasAudience(resource) {
			return nil, oauth.Refuse(oauth.InvalidTarget, "the token in the Authorization header is not for a resource asked for; get one for it, or authenticate with the client's secret")
		}
	}
	return audience, nil
}

// actorToken reads the token of who will act: the client's own. Without one it
// is impersonation, for clients that may (RFC 8693 §1.1).
func (i *Issuer) actorToken(r *tokenRequest) (*introspect.Token, error) {
	token, tokenType := r.Get("actor_token"), unquoted(r.Get("actor_token_type"))
	switch {
	case token == "" && tokenType != "":
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token_type is sent without actor_token")
	case token == "" && r.client.Impersonation:
		return nil, nil
	case token == "":
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token is missing; send this client's own client credentials token, so that the new token tells who acts")
	case tokenType != tokenTypeAccessToken && tokenType != tokenTypeJWT:
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token_type must be %s", tokenTypeAccessToken)
	}
	client, facts, err := i.ownToken(r.Context(), token)
	var inactive *introspect.InactiveError
	switch {
	case errors.As(err, &inactive):
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token is not good: %s", inactive.Reason).Because(err)
	case errors.Is(err, errBadCredentials):
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token must be an access token that this client got for itself with client credentials").Because(err)
	case err != nil:
		return nil, oauth.Refuse(oauth.TemporarilyUnavailable, "actor_token cannot be judged now").Because(err)
	case client.ID != r.client.ID:
		return nil, oauth.Refuse(oauth.InvalidRequest, "actor_token belongs to another client than the one that asks")
	}
	return facts, nil
}

// subjectToken reads the token that the exchange is about: one of ours, or of a
// trusted issuer.
func (i *Issuer) subjectToken(r *tokenRequest) (*subjectOf, error) {
	token, tokenType := r.Get("subject_token"), unquoted(r.Get("subject_token_type"))
	if token == "" || tokenType == "" {
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token and subject_token_type are required (RFC 8693 section 2.1)")
	}
	if tokenType != tokenTypeAccessToken && tokenType != tokenTypeJWT && tokenType != tokenTypeIDToken {
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token_type must be %s, %s or %s", tokenTypeAccessToken, tokenTypeJWT, tokenTypeIDToken)
	}
	// What an unverified token says decides only who is to judge it.
	if issuer, err := introspect.UnverifiedIssuer(token); err == nil && issuer == i.config.URL && tokenType != tokenTypeIDToken {
		return i.ownSubject(r, token)
	}
	foreign, trusted, err := i.foreignSubject(r.Context(), token, tokenType, r.client)
	if err != nil {
		return nil, err
	}
	return &subjectOf{Token: foreign.Token, mapped: foreign.Subject, issuer: trusted.Issuer, mayAct: foreign.MayAct, most: trusted.Scope}, nil
}

// ownSubject reads a subject token of this issuer. It must be about a person: a
// client that holds another client's token would otherwise become that client.
//
// And it must have been meant for the client: given to it, or for an API that the
// client is registered with, or naming it in may_act. Otherwise any client that
// came by a token could turn it into one for another API.
func (i *Issuer) ownSubject(r *tokenRequest, token string) (*subjectOf, error) {
	facts, err := i.Introspect(r.Context(), token)
	var inactive *introspect.InactiveError
	switch {
	case errors.As(err, &inactive):
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token is not good: %s", inactive.Reason).Because(err)
	case err != nil:
		return nil, oauth.Refuse(oauth.TemporarilyUnavailable, "subject_token cannot be judged now").Because(err)
	case facts.Subject == facts.ClientID:
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token is a client's own token; it must be about a person (are subject and actor swapped?)")
	}
	mayAct, err := facts.MayAct()
	if err != nil {
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token has a malformed may_act (RFC 8693 section 4.4)").Because(err)
	}
	if facts.ClientID != r.client.ID && mayAct == nil && !slices.ContainsFunc(r.client.Resources, facts.HasAudience) {
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token was not given to this client, nor for a resource that it is registered with")
	}
	var claims struct {
		SubjectIssuer string `json:"subject_issuer"`
	}
	if err := json.Unmarshal(facts.Claims, &claims); err != nil {
		return nil, err
	}
	if claims.SubjectIssuer != "" {
		switch from := i.trustedIssuer(claims.SubjectIssuer); {
		case from == nil:
			return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token speaks for somebody for whom an issuer has vouched that this server does not trust any more")
		case !from.admits(r.client):
			return nil, oauth.Refuse(oauth.InvalidRequest, "this client may not exchange tokens of the issuer that vouched for the subject")
		}
	}
	return &subjectOf{Token: facts, mapped: facts.Subject, own: true, issuer: claims.SubjectIssuer, mayAct: mayAct, most: append(oauth.Scope{}, facts.Scope...)}, nil
}

// mayActFor honours may_act (RFC 8693 §4.4): who issued the subject token has
// said who may act, and nobody else may.
func mayActFor(client *clients.Client, subject *subjectOf) error {
	if m := subject.mayAct; m != nil && m.Subject != client.ID && m.ClientID != client.ID {
		return oauth.Refuse(oauth.InvalidRequest, "subject_token names in may_act who may act, and that is not this client (RFC 8693 section 4.4)")
	}
	return nil
}

// actedBy puts the client at the head of the chain of actors.
func actedBy(client *clients.Client, before *introspect.Actor) (*introspect.Actor, error) {
	length := 1
	for a := before; a != nil; a = a.Actor {
		length++
	}
	if length > maxActors {
		return nil, oauth.Refuse(oauth.InvalidRequest, "subject_token has passed through %d actors already; no more are accepted", length-1)
	}
	return &introspect.Actor{Subject: client.ID, Actor: before}, nil
}

// exchangeableScope is the most an exchange can give: what client, subject and
// policy all allow, and nothing that is about people.
func exchangeableScope(client *clients.Client, subject *subjectOf) oauth.Scope {
	may := client.Scope.Without(oauth.PersonalScopes)
	if subject.most != nil {
		may = may.Intersect(subject.most)
	}
	return may
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
