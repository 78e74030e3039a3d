package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// userinfoTTL is how long an access token is taken to be good that its
	// issuer's userinfo endpoint has accepted: nothing in the answer says.
	userinfoTTL = time.Minute

	// userinfoKept is how long the answer is remembered. It is shorter, so that
	// no Token that is returned is about to expire.
	userinfoKept = userinfoTTL / 2
)

// UserinfoConfig says at which userinfo endpoint tokens are judged.
type UserinfoConfig struct {
	// Issuer is what Token.Issuer will be. It is needed.
	Issuer string

	// Endpoint is the userinfo endpoint: https, or http on this machine. When it
	// is empty, it is the one in the metadata of Issuer, which is fetched when
	// the first token is asked for.
	Endpoint string

	// Entries and Concurrency are those of a RemoteConfig.
	Entries, Concurrency int

	// Transport makes the connections; nil means directly, without a proxy.
	Transport http.RoundTripper
}

// Userinfo judges the opaque access tokens of an OpenID provider by showing them
// at its userinfo endpoint (OpenID Connect Core §5.3), for providers that have no
// introspection endpoint or give no access to it.
//
// The answer describes a person and not the token. Of the facts of a Token only
// Issuer and Subject are known, and Claims is what the endpoint says about the
// person; whom the token was made for is not known, so that every token that any
// client of the provider holds is accepted. Expiry is a minute after the
// provider was asked, which happens again after half a minute.
//
// Requests that show the same token share one question. A request waits at most
// two seconds, then the answer is ErrUnavailable; so it is for every answer that
// is neither a claims set nor 401 or 403, and for a signed one, which is not
// understood here.
type Userinfo struct {
	questions
	config     UserinfoConfig
	discovered *discovered // nil where config.Endpoint says it
}

// NewUserinfo returns an Introspector that asks the userinfo endpoint of
// config.Issuer. Nothing is asked or fetched yet.
func NewUserinfo(config UserinfoConfig) (*Userinfo, error) {
	location := config.Endpoint
	if location == "" {
		location = config.Issuer
	}
	if err := checkURL(location); err != nil {
		return nil, fmt.Errorf("userinfo endpoint: %w", err)
	}
	if config.Issuer == "" {
		return nil, errors.New("userinfo endpoint: its issuer is needed")
	}
	if config.Entries < 0 || config.Concurrency < 0 {
		return nil, errors.New("userinfo endpoint: a bound is negative")
	}
	u := &Userinfo{config: config}
	u.ask = u.show
	u.prepare(config.Transport, userinfoKept, config.Entries, config.Concurrency)
	if config.Endpoint == "" {
		u.discovered = newDiscovered(u.client, config.Issuer)
	}
	return u, nil
}

// endpoint returns where to ask.
func (u *Userinfo) endpoint(ctx context.Context) (string, error) {
	if u.discovered == nil {
		return u.config.Endpoint, nil
	}
	metadata, err := u.discovered.get(ctx)
	if err != nil {
		return "", err
	}
	if metadata.UserinfoEndpoint == "" {
		return "", errors.New("the issuer publishes none")
	}
	return metadata.UserinfoEndpoint, nil
}

// show shows the token at the endpoint (OpenID Connect Core §5.3.1).
func (u *Userinfo) show(ctx context.Context, token string) (*Token, error) {
	endpoint, err := u.endpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: userinfo endpoint: %w", ErrUnavailable, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	expiry := time.Now().Add(userinfoTTL)
	body, kind, err := fetch(u.client, request, maxAnswer)
	var status statusError
	if errors.As(err, &status) && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		// invalid_token and insufficient_scope (§5.3.3, RFC 6750 §3.1): nothing
		// but the token authenticates this request.
		return nil, inactive("the issuer's userinfo endpoint does not accept the token")
	}
	if err == nil && kind != "application/json" {
		err = errors.New("the answer is not application/json")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: userinfo endpoint: %w", ErrUnavailable, err)
	}
	return u.parse(body, expiry)
}

// parse reads a UserInfo response (OpenID Connect Core §5.3.2).
func (u *Userinfo) parse(body []byte, expiry time.Time) (*Token, error) {
	members, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("%w: userinfo endpoint: %w", ErrUnavailable, err)
	}
	subject, ok := members["sub"].str()
	if !ok || !isName(subject, maxSubjectLength) {
		return nil, fmt.Errorf("%w: userinfo endpoint: sub is missing or not valid", ErrUnavailable)
	}
	if issuer, present := members["iss"]; present {
		if issuer, ok := issuer.str(); !ok || issuer != u.config.Issuer {
			return nil, inactive("the token is of another issuer")
		}
	}
	return &Token{Issuer: u.config.Issuer, Subject: subject, Expiry: expiry, Claims: body}, nil
}

var _ Introspector = (*Userinfo)(nil)
