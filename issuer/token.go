package issuer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// grant is one way to get a token. What every grant must do (read the form,
// authenticate the client, check that it may, mint, write) is done for it by
// serveToken; a grant proves one thing and says what it authorizes.
type grant func(*Issuer, *tokenRequest) (*approval, error)

// grants is the table of grants, by grant_type.
var grants = map[string]grant{
	oauth.GrantClientCredentials: (*Issuer).proveClientCredentials,
	oauth.GrantAuthorizationCode: (*Issuer).proveAuthorizationCode,
	oauth.GrantRefreshToken:      (*Issuer).proveRefreshToken,
	oauth.GrantDeviceCode:        (*Issuer).proveDeviceCode,
	oauth.GrantTokenExchange:     (*Issuer).proveTokenExchange,
}

// tokenRequest is a request to the token endpoint whose client is proven.
type tokenRequest struct {
	*http.Request
	oauth.Form
	client *clients.Client

	// presented is the access token by which the client authenticated, if it did
	// so (see authenticateFor): then nothing is given that it is not good for.
	presented *introspect.Token
}

// approval is what a grant has proven: whom the token speaks for, and what it
// is good for.
type approval struct {
	subject         string
	scope           oauth.Scope
	audience        []string
	authorizationID string

	// issued is when the request came: before its client was looked up, so that a
	// client or a person who is removed meanwhile has no token after it.
	issued time.Time
	// notAfter bounds the token's life; zero: the issuer's configuration does.
	notAfter time.Time

	// actor acts for the subject (RFC 8693 §4.1), and parent is the jti of the
	// token that was exchanged, if it is ours.
	actor  *introspect.Actor
	parent string
	// tokenID is the jti, once the token is minted.
	tokenID string
	// mayAct is who may act, if the token that was exchanged said so.
	mayAct *introspect.Actor
	// subjectIssuer is who vouched for the subject, if not this issuer.
	subjectIssuer string

	// issuedTokenType is set by token exchange (RFC 8693 §2.2.1).
	issuedTokenType string

	// refreshToken is one that the grant has stored already; empty: none.
	refreshToken string

	// authenticated is set where a person signed in, and nonce where the client
	// sent one: what an ID token tells.
	authenticated *ledger.Authorization
	nonce         string
}

// tokenResponse is a successful answer (RFC 6749 §5.1).
type tokenResponse struct {
	AccessToken string      `json:"access_token"`
	TokenType   string      `json:"token_type"`
	ExpiresIn   int64       `json:"expires_in"`
	Scope       oauth.Scope `json:"scope,omitempty"`

	IssuedTokenType string `json:"issued_token_type,omitempty"` // RFC 8693 §2.2.1

	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"` // OpenID Connect Core §3.1.3.3
}

// attempt is what is known of a token request, for those who watch: of a grant
// type that there is not, and of a client that is not proven, nothing.
type attempt struct {
	grantType string
	clientID  string
}

// serveToken is the token endpoint (RFC 6749 §3.2).
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	var known attempt
	response, err := i.token(w, r, &known)
	if err != nil {
		i.tokenRefused(r, known, err)
		i.refusals.Write(w, r, err)
		return
	}
	i.config.Observer.TokenIssued(r.Context(), known.grantType, known.clientID)
	oauth.WriteJSON(w, http.StatusOK, response)
}

// token is the whole of a token request, whatever the grant.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request, known *attempt) (*tokenResponse, error) {
	// 1. What is asked?
	f, err := oauth.ReadForm(w, r)
	if err != nil {
		return nil, err
	}
	received := record.Now()
	grantType := unquoted(f.Get("grant_type"))
	if oauth.IsGrantType(grantType) {
		known.grantType = grantType
	}
	// 2. By whom?
	client, presented, err := i.authenticateFor(grantType, r, f)
	if err != nil {
		return nil, err
	}
	known.clientID = client.ID
	// 3. May this client ask so?
	prove, err := grantFor(grantType, client)
	if err != nil {
		return nil, err
	}
	// 4. Is it proven, and what follows?
	approved, err := prove(i, &tokenRequest{Request: r, Form: f, client: client, presented: presented})
	if err != nil {
		return nil, err
	}
	// 5. Write it down in a token.
	approved.issued = received
	response, err := i.mint(r.Context(), client, approved)
	if err != nil {
		return nil, err
	}
	i.trail.Record(r, audit.TokenIssued, i.issuedAttrs(grantType, client, approved)...)
	return response, nil
}

// issuedAttrs says what was issued, to whom, and what it came from.
func (i *Issuer) issuedAttrs(grantType string, client *clients.Client, approved *approval) []slog.Attr {
	actor := ""
	if approved.actor != nil {
		actor = approved.actor.Name(i.config.URL)
	}
	return []slog.Attr{
		slog.String("grant_type", grantType), slog.String("client_id", client.ID), slog.String("subject", approved.subject),
		slog.String("actor", actor), slog.String("scope", approved.scope.String()), slog.Any("resource", approved.audience),
		slog.String("authorization_id", approved.authorizationID), slog.String("token_id", approved.tokenID),
		slog.String("subject_issuer", approved.subjectIssuer), slog.String("parent_token_id", approved.parent),
	}
}

// tokenRefused counts a refusal and writes it down. Failed authentication has its
// own line already, a device that polls is no event, and what failed here is for
// the log of failures.
func (i *Issuer) tokenRefused(r *http.Request, known attempt, err error) {
	e := oauth.AsError(err)
	i.config.Observer.TokenRefused(r.Context(), known.grantType, known.clientID, e.Code)
	switch {
	case errors.Is(err, errBadCredentials), e.Code == oauth.AuthorizationPending, e.Code == oauth.SlowDown,
		e.Status() >= http.StatusInternalServerError:
		return
	}
	reason := e.Description
	if cause := e.Unwrap(); cause != nil {
		reason = cause.Error()
	}
	i.trail.Record(r, audit.TokenRefused, slog.String("grant_type", known.grantType), slog.String("client_id", known.clientID),
		slog.String("error", string(e.Code)), slog.String("reason", audit.Loggable(reason)))
}

// mint makes the tokens that were approved.
func (i *Issuer) mint(ctx context.Context, client *clients.Client, approved *approval) (*tokenResponse, error) {
	token, lifetime, err := i.mintAccessToken(client, approved)
	if err != nil {
		return nil, err
	}
	response := &tokenResponse{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: seconds(lifetime), Scope: approved.scope,
		RefreshToken: approved.refreshToken, IssuedTokenType: approved.issuedTokenType,
	}
	if approved.authenticated != nil && approved.scope.Has(oauth.ScopeOpenID) {
		response.IDToken, err = i.mintIDToken(ctx, client, approved, token)
	}
	return response, err
}

// unquoted takes one pair of double quotes off: a widely read example of token
// exchange shows grant_type and the token types with them.
func unquoted(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// grantFor finds the grant and checks that the client may use it.
func grantFor(grantType string, client *clients.Client) (grant, error) {
	if grantType == "" {
		return nil, oauth.Refuse(oauth.InvalidRequest, "grant_type is missing; this server knows %s", strings.Join(oauth.GrantTypes(), ", "))
	}
	prove, ok := grants[grantType]
	if !ok {
		return nil, oauth.Refuse(oauth.UnsupportedGrantType, "this server knows %s", strings.Join(oauth.GrantTypes(), ", "))
	}
	if !client.MayUse(grantType) || (oauth.ConfidentialOnly(grantType) && client.Type == clients.Public) {
		return nil, oauth.Refuse(oauth.UnauthorizedClient, "this client is not registered for the grant type %s", grantType)
	}
	return prove, nil
}
