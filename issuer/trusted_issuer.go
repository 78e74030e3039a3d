package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// Token types of RFC 8693 §3.
const (
	tokenTypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

const (
	claimSubject = "sub"
	claimEmail   = "email"

	// foreignWait is how long a request waits for other issuers in all.
	foreignWait = 2 * time.Second

	// unstatedLifetime is how long an opaque token is taken to be good whose
	// issuer does not tell (RFC 7662 §2.2: exp is optional).
	unstatedLifetime = time.Minute

	// maxForeignSubject is the length in bytes of the longest subject that an
	// access token can have.
	maxForeignSubject = 1024
)

// foreignSubject is what a foreign token says, after all checks.
type foreignSubject struct {
	// Subject is whom the token speaks for, in our own name space.
	Subject string

	// Token holds the facts of the token. Its Expiry is always set, and so is
	// Issuer of every Actor.
	Token *introspect.Token

	// MayAct is whom the subject lets act for them (RFC 8693 §4.4), nil if the
	// token does not say.
	MayAct *introspect.Actor
}

// foreignIssuer is a trusted issuer with all that judges its tokens.
type foreignIssuer struct {
	TrustedIssuer
	ours         string // our own issuer URL
	accessTokens *introspect.JWT
	idTokens     *introspect.JWT
	opaque       introspect.Introspector // nil: opaque tokens are not accepted
}

// trust prepares the trusted issuers. What their servers were asked lives in the
// realm and outlives a reload; nothing is asked yet.
func (i *Issuer) trust() error {
	for _, config := range i.config.TrustedIssuers {
		f := &foreignIssuer{TrustedIssuer: config.withDefaults(i.config.URL), ours: i.config.URL}
		keys, err := i.realm.foreign.keySet(&f.TrustedIssuer)
		if err == nil {
			f.opaque, err = i.realm.foreign.opaque(&f.TrustedIssuer)
		}
		if err == nil {
			f.accessTokens, err = introspect.NewJWT(introspect.JWTConfig{
				Issuer: f.Issuer, Keys: keys, Types: f.Types, Optional: f.optionalClaims(),
			})
		}
		if err == nil {
			f.idTokens, err = introspect.NewJWT(introspect.JWTConfig{
				Issuer: f.Issuer, Keys: keys, Types: []string{"JWT", ""}, Optional: []string{"client_id", "jti"},
			})
		}
		if err != nil {
			return fmt.Errorf("trusted issuer %s: %w", f.Issuer, err)
		}
		i.trusted = append(i.trusted, f)
	}
	return nil
}

// optionalClaims: whoever says at+jwt promises what RFC 9068 §2.2 requires.
func (t *TrustedIssuer) optionalClaims() []string {
	if slices.Equal(t.Types, []string{typeAccessToken}) {
		return nil
	}
	return []string{"client_id", "jti"}
}

// foreignSubject judges a subject token of another issuer (RFC 8693 §2.1). It
// returns an *Error that is InvalidRequest for every mistake of the token, with a
// description of its own for each (RFC 8693 §2.2.2), and TemporarilyUnavailable
// when the token cannot be judged now. It waits for other servers two seconds at
// most, and asks none that is not configured.
func (i *Issuer) foreignSubject(ctx context.Context, token, tokenType string, client *clients.Client) (*foreignSubject, *TrustedIssuer, error) {
	if len(token) > introspect.MaxTokenLength {
		return nil, nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token is longer than %d bytes", introspect.MaxTokenLength)
	}
	ctx, cancel := context.WithTimeout(ctx, foreignWait)
	defer cancel()
	judged, err := i.judgeForeign(ctx, token, tokenType, client)
	if err != nil {
		return nil, nil, err
	}
	subject, err := judged.accept()
	if err != nil {
		return nil, nil, err
	}
	return subject, &judged.from.TrustedIssuer, nil
}

// foreignToken is a genuine token of a trusted issuer.
type foreignToken struct {
	*introspect.Token
	from *foreignIssuer

	// unaddressed: its issuer was asked in a way that does not tell whom it is for.
	unaddressed bool
}

// judgeForeign chooses how to judge a token. One that has the form of a JWT is one:
// whoever issues opaque tokens has no reason to make them look so.
func (i *Issuer) judgeForeign(ctx context.Context, token, tokenType string, client *clients.Client) (*foreignToken, error) {
	switch tokenType {
	case tokenTypeJWT, tokenTypeIDToken:
		return i.judgeForeignJWT(ctx, token, tokenType, client)
	case tokenTypeAccessToken:
		if introspect.IsJWT(token) {
			return i.judgeForeignJWT(ctx, token, tokenType, client)
		}
		return i.judgeOpaque(ctx, token, client)
	}
	return nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token_type is not one that this server takes from other issuers; want %s, %s or %s",
		tokenTypeAccessToken, tokenTypeJWT, tokenTypeIDToken)
}

// judgeForeignJWT verifies a JWT by the keys of the issuer it names.
func (i *Issuer) judgeForeignJWT(ctx context.Context, token, tokenType string, client *clients.Client) (*foreignToken, error) {
	// What is read here is not verified: it only tells by whose keys to verify.
	name, err := introspect.UnverifiedIssuer(token)
	if err != nil {
		return nil, subjectTokenError(err)
	}
	from := i.trustedIssuer(name)
	if from == nil {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token is of an issuer that this server does not trust")
	}
	if !from.admits(client) {
		return nil, oauth.Refuse(oauth.InvalidRequest, "this client may not exchange tokens of the issuer of the subject_token")
	}
	verifier := from.accessTokens
	if tokenType == tokenTypeIDToken {
		verifier = from.idTokens
	}
	facts, err := verifier.Introspect(ctx, token)
	if err != nil {
		return nil, subjectTokenError(err)
	}
	if tokenType == tokenTypeIDToken && facts.ClientID == "" && len(facts.Audience) == 1 {
		// An ID token is for the client it was issued to; azp is only there when
		// aud does not tell (OpenID Connect Core §2).
		named := *facts // shared with other requests
		named.ClientID = facts.Audience[0]
		facts = &named
	}
	return &foreignToken{Token: facts, from: from}, nil
}

// judgeOpaque asks the issuers that can be asked, one after the other, and each
// for a fair share of the time, so that one that does not answer cannot keep the
// others from being asked. The question of whoever was slow goes on, and its
// answer is there when the client tries again.
func (i *Issuer) judgeOpaque(ctx context.Context, token string, client *clients.Client) (*foreignToken, error) {
	var askable []*foreignIssuer
	for _, f := range i.trusted {
		if f.opaque != nil && f.admits(client) {
			askable = append(askable, f)
		}
	}
	if len(askable) == 0 {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token is not a signed JWT, and no trusted issuer can be asked by this client about others")
	}
	var refusal, unavailable error
	for n, f := range askable {
		facts, err := askWithin(ctx, f.opaque, token, len(askable)-n)
		switch {
		case err == nil:
			return &foreignToken{Token: facts, from: f, unaddressed: f.Userinfo}, nil
		case errors.Is(err, introspect.ErrInactive):
			refusal = err
		default:
			unavailable = err
		}
	}
	if unavailable != nil {
		return nil, subjectTokenError(unavailable)
	}
	if len(askable) > 1 {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token is active at none of the trusted issuers").Because(refusal)
	}
	return nil, subjectTokenError(refusal)
}

// askWithin asks one issuer for its share of what is left of the time.
func askWithin(ctx context.Context, opaque introspect.Introspector, token string, shares int) (*introspect.Token, error) {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
	defer cancel()
	return opaque.Introspect(ctx, token)
}

// subjectTokenError turns an Introspector's error into the answer. The reason of
// a refusal is fixed text that holds nothing of the token.
func subjectTokenError(err error) *oauth.Error {
	var refusal *introspect.InactiveError
	if errors.As(err, &refusal) {
		return oauth.Refuse(oauth.InvalidRequest, "subject_token: %s", refusal.Reason).Because(refusal.Cause)
	}
	return oauth.Refuse(oauth.TemporarilyUnavailable, "the subject_token cannot be judged now, because its issuer does not answer; try again later").Because(err)
}

// trustedIssuer returns the trusted issuer with that URL, or nil.
func (i *Issuer) trustedIssuer(url string) *foreignIssuer {
	at := slices.IndexFunc(i.trusted, func(f *foreignIssuer) bool { return f.Issuer == url })
	if at < 0 {
		return nil
	}
	return i.trusted[at]
}

// admits tells whether the client may exchange tokens of the issuer.
func (t *TrustedIssuer) admits(client *clients.Client) bool {
	return len(t.Clients) == 0 || slices.Contains(t.Clients, client.ID)
}

// authorizes tells whether the token was issued to a client whose tokens are
// accepted. A token that names its client in several claims must name such a one
// in each.
func (t *TrustedIssuer) authorizes(facts *introspect.Token) bool {
	if len(t.AuthorizedParties) == 0 {
		return true
	}
	for _, claim := range []string{"client_id", "azp", "appid", "cid"} {
		value, present := facts.Claim(claim)
		if !present {
			continue
		}
		var party string
		if json.Unmarshal(value, &party) != nil || !slices.Contains(t.AuthorizedParties, party) {
			return false
		}
	}
	return slices.Contains(t.AuthorizedParties, facts.ClientID)
}

// accept judges what a genuine token says.
func (t *foreignToken) accept() (*foreignSubject, error) {
	facts, from := t.Token, t.from
	if !t.unaddressed {
		if err := from.acceptAudience(facts); err != nil {
			return nil, err
		}
	}
	if !from.authorizes(facts) {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the subject_token was issued to a client (client_id, azp) whose tokens are not accepted here")
	}
	actor, err := from.foreignActor(facts.Actor)
	if err != nil {
		return nil, err
	}
	mayAct, err := facts.MayAct()
	if err != nil {
		return nil, subjectTokenError(err)
	}
	if mayAct != nil && mayAct.Issuer != "" && mayAct.Issuer != from.ours {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the may_act of the subject_token names an actor of another issuer, who is no client here")
	}
	subject, err := from.subject(facts)
	if err != nil {
		return nil, err
	}
	judged := *facts // shared with other requests
	judged.Actor = actor
	if judged.Expiry.IsZero() {
		judged.Expiry = time.Now().Add(unstatedLifetime)
	}
	return &foreignSubject{Subject: subject, Token: &judged, MayAct: mayAct}, nil
}

// foreignActor writes into a chain of actors (RFC 8693 §4.1) whose names they
// are, so that none passes for a client of ours. Another issuer cannot vouch for
// what our clients do.
func (f *foreignIssuer) foreignActor(actor *introspect.Actor) (*introspect.Actor, error) {
	if actor == nil {
		return nil, nil
	}
	if actor.Issuer == f.ours {
		return nil, oauth.Refuse(oauth.InvalidRequest, "the act of the subject_token names an actor of this server, for whom only this server can speak")
	}
	earlier, err := f.foreignActor(actor.Actor)
	if err != nil {
		return nil, err
	}
	named := *actor
	named.Actor = earlier
	if named.Issuer == "" {
		named.Issuer = f.Issuer
	}
	return &named, nil
}

// acceptAudience: a token that is also for somebody else could be brought here
// by them.
func (t *TrustedIssuer) acceptAudience(facts *introspect.Token) error {
	if len(facts.Audience) == 0 {
		return oauth.Refuse(oauth.InvalidRequest, "the subject_token does not say whom it is for (aud)")
	}
	for _, audience := range facts.Audience {
		if !slices.Contains(t.Audience, audience) {
			return oauth.Refuse(oauth.InvalidRequest, "the subject_token is for another audience than this server, or for others too")
		}
	}
	return nil
}

// subject maps the claim that tells the person into our name space.
func (t *TrustedIssuer) subject(facts *introspect.Token) (string, error) {
	name := facts.Subject
	if t.SubjectClaim != claimSubject {
		claims := make(map[string]json.RawMessage)
		if err := json.Unmarshal(facts.Claims, &claims); err != nil {
			return "", oauth.Refuse(oauth.InvalidRequest, "the claims of the subject_token cannot be read")
		}
		if t.SubjectClaim == claimEmail && string(claims["email_verified"]) != "true" {
			return "", oauth.Refuse(oauth.InvalidRequest, "the subject_token does not say that its e-mail address is verified")
		}
		name = ""
		if json.Unmarshal(claims[t.SubjectClaim], &name) != nil {
			name = ""
		}
	}
	subject := *t.SubjectPrefix + name
	if name == "" || !soundSubject(subject) {
		return "", oauth.Refuse(oauth.InvalidRequest, "the claim of the subject_token that names the subject is missing or not valid")
	}
	return subject, nil
}

// soundSubject tells whether text can be the sub of an access token.
func soundSubject(text string) bool {
	return text != "" && len(text) <= maxForeignSubject && utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0
}
