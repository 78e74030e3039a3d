package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of a Remote.
const (
	maxRemoteTTL  = 30 * time.Second // how long an active token is believed
	maxAnswer     = 64 << 10         // bytes of an answer about a token
	maxKeptAnswer = 4 << 10          // bytes of an answer that is remembered
)

// RemoteConfig says whom to ask about opaque tokens. ClientID and ClientSecret
// are needed, and Endpoint or Issuer.
type RemoteConfig struct {
	// Endpoint is the introspection endpoint: https, or http on this machine.
	// When it is empty, it is the one in the metadata of Issuer, which is fetched
	// when the first token is asked for.
	Endpoint string

	// ClientID and ClientSecret authenticate this resource server there, by HTTP
	// Basic (RFC 6749 §2.3.1).
	ClientID, ClientSecret string

	// Issuer is what Token.Issuer will be; an answer that names another one is
	// refused. When it is empty, Token.Issuer is what the answer says.
	Issuer string

	// TTL is how long an answer is believed, never past its exp. It is the time
	// within which a revocation elsewhere takes effect: 30 seconds at most, and
	// by default.
	TTL time.Duration

	// Entries bounds the remembered answers of each kind, active and inactive;
	// 10,000 by default.
	Entries int

	// Concurrency bounds the questions that are asked at the same time; 64 by
	// default. Sixteen times as many may wait for their turn; to any above, the
	// answer is ErrUnavailable at once.
	Concurrency int

	// Transport makes the connections; nil means directly, without a proxy.
	Transport http.RoundTripper
}

// Remote asks an introspection endpoint (RFC 7662). It is an Introspector for
// tokens that only their issuer can read.
//
// Requests that show the same token share one question. A request waits at most
// two seconds, then the answer is ErrUnavailable; so it is for every answer that
// RFC 7662 §2.2 does not describe.
type Remote struct {
	questions
	config     RemoteConfig
	discovered *discovered // nil where config.Endpoint says it
}

// NewRemote returns an Introspector that asks config.Endpoint. Nothing is asked
// or fetched yet.
func NewRemote(config RemoteConfig) (*Remote, error) {
	location := config.Endpoint
	if location == "" {
		location = config.Issuer
	}
	if err := checkURL(location); err != nil {
		return nil, fmt.Errorf("introspection endpoint: %w", err)
	}
	if config.ClientID == "" || config.ClientSecret == "" {
		return nil, errors.New("introspection endpoint: a client ID and a secret are needed (RFC 7662 §2.1)")
	}
	if config.TTL < 0 || config.TTL > maxRemoteTTL || config.Entries < 0 || config.Concurrency < 0 {
		return nil, errors.New("introspection endpoint: a bound is negative, or the TTL over 30 seconds")
	}
	if config.TTL == 0 {
		config.TTL = maxRemoteTTL
	}
	r := &Remote{config: config}
	r.ask = r.introspect
	r.prepare(config.Transport, config.TTL, config.Entries, config.Concurrency)
	if config.Endpoint == "" {
		r.discovered = newDiscovered(r.client, config.Issuer)
	}
	return r, nil
}

// endpoint returns where to ask.
func (r *Remote) endpoint(ctx context.Context) (string, error) {
	if r.discovered == nil {
		return r.config.Endpoint, nil
	}
	metadata, err := r.discovered.get(ctx)
	if err != nil {
		return "", err
	}
	if metadata.IntrospectionEndpoint == "" {
		return "", errors.New("the issuer publishes none")
	}
	return metadata.IntrospectionEndpoint, nil
}

// introspect sends one introspection request (RFC 7662 §2.1).
func (r *Remote) introspect(ctx context.Context, token string) (*Token, error) {
	endpoint, err := r.endpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: introspection endpoint: %w", ErrUnavailable, err)
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(r.config.ClientID), url.QueryEscape(r.config.ClientSecret))
	body, kind, err := fetch(r.client, request, maxAnswer)
	if err == nil && kind != "application/json" {
		err = errors.New("the answer is not application/json")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: introspection endpoint: %w", ErrUnavailable, err)
	}
	return r.parseIntrospection(body)
}

// parseIntrospection reads an introspection response (RFC 7662 §2.2).
func (r *Remote) parseIntrospection(body []byte) (*Token, error) {
	members, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("%w: introspection endpoint: %w", ErrUnavailable, err)
	}
	switch active := string(members["active"]); active {
	case "true":
	case "false":
		return nil, inactive("the issuer says that the token is not active")
	default:
		return nil, fmt.Errorf("%w: introspection endpoint: active is not a boolean", ErrUnavailable)
	}
	if kind, present := members["token_type"]; present {
		if kind, ok := kind.str(); !ok || !isBearer(kind) {
			return nil, inactive("the token is not a bearer token")
		}
	}
	if use, present := members["token_use"]; present {
		// No member of RFC 7662, but one by which servers tell apart what they call
		// active: a refresh token is so for weeks, and is shown to nobody but them.
		if use, ok := use.str(); !ok || use != "access_token" && use != "access" {
			return nil, inactive("the token is not an access token")
		}
	}
	if _, bound := members["cnf"]; bound { // RFC 8705 §3.2, RFC 9449 §6.2
		return nil, inactive("the token is bound to a key and is not accepted without proof")
	}
	// All claims but active are optional here.
	c := claimsReader{members: members, optional: []string{"iss", "sub", "client_id", "jti", "aud", "iat", "exp"}}
	token := &Token{
		Issuer:          c.text("iss", maxClaimLength, "iss is not valid"),
		Subject:         c.text("sub", maxSubjectLength, "sub is not valid"),
		ClientID:        c.text("client_id", maxClaimLength, "client_id is not valid"),
		ID:              c.text("jti", maxClaimLength, "jti is not valid"),
		AuthorizationID: c.authorizationID(),
		Audience:        c.audience(),
		Scope:           c.scope(),
		Actor:           c.actor(),
		IssuedAt:        c.time("iat", "iat is not a time"),
		Expiry:          c.time("exp", "exp is not a time"),
		Claims:          body,
	}
	notBefore := c.notBefore()
	if c.err != nil {
		// Not %w: a bad answer says nothing about the token.
		return nil, fmt.Errorf("%w: introspection endpoint: %v", ErrUnavailable, c.err) //nolint:errorlint // see above
	}
	return r.judge(token, notBefore)
}

// judge compares an active token with the clock and with the issuer.
func (r *Remote) judge(token *Token, notBefore time.Time) (*Token, error) {
	if r.config.Issuer != "" {
		if token.Issuer != "" && token.Issuer != r.config.Issuer {
			return nil, inactive("the token is of another issuer")
		}
		token.Issuer = r.config.Issuer
	}
	now := time.Now()
	if !token.Expiry.IsZero() && !now.Before(token.Expiry) {
		return nil, inactive("the token has expired")
	}
	if notBefore.After(now) {
		return nil, inactive("the token is not valid yet")
	}
	return token, nil
}
