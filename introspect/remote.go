package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Bounds of a Remote.
const (
	maxRemoteTTL         = 30 * time.Second // how long an active token is believed
	inactiveTTL          = 5 * time.Second  // how long an inactive one is not asked for again
	maxIntrospection     = 64 << 10         // bytes of an answer
	maxKeptIntrospection = 4 << 10          // bytes of an answer that is remembered
	waitingPerTurn       = 16               // questions that wait, for each that is asked
)

var errTooManyQuestions = fmt.Errorf("%w: too many questions to the introspection endpoint", ErrUnavailable)

// RemoteConfig says whom to ask about opaque tokens. Endpoint, ClientID and
// ClientSecret are needed.
type RemoteConfig struct {
	// Endpoint is the introspection endpoint: https, or http on this machine.
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
	config RemoteConfig
	client *http.Client
	turns  chan struct{} // holds as many values as questions are asked

	mu       sync.Mutex
	active   answers
	inactive answers
	asked    map[cacheKey]*question
	forgets  uint64 // calls of Forget
}

// question is one exchange that requests may share. The fields below done are
// set before it is closed.
type question struct {
	done  chan struct{}
	token *Token
	err   error
}

// NewRemote returns an Introspector that asks config.Endpoint.
func NewRemote(config RemoteConfig) (*Remote, error) {
	if err := checkURL(config.Endpoint); err != nil {
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
	if config.Entries == 0 {
		config.Entries = 10_000
	}
	if config.Concurrency == 0 {
		config.Concurrency = 64
	}
	return &Remote{
		config:   config,
		client:   newClient(config.Transport),
		turns:    make(chan struct{}, config.Concurrency),
		active:   answers{limit: config.Entries, byToken: make(map[cacheKey]answer)},
		inactive: answers{limit: config.Entries, byToken: make(map[cacheKey]answer)},
		asked:    make(map[cacheKey]*question),
	}, nil
}

// Introspect implements Introspector.
func (r *Remote) Introspect(ctx context.Context, token string) (*Token, error) {
	if len(token) > MaxTokenLength {
		return nil, inactive("the token is too long")
	}
	if !isToken(token) {
		return nil, inactive("the token has a character that no token has")
	}
	facts, q, err := r.recallOrAsk(token)
	if q == nil {
		return facts, err
	}
	timer := time.NewTimer(requestWait)
	defer timer.Stop()
	select {
	case <-q.done:
		return q.token, q.err
	case <-timer.C:
		return nil, fmt.Errorf("%w: the introspection endpoint is slow", ErrUnavailable)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// recallOrAsk returns a remembered answer, or the question to wait for.
func (r *Remote) recallOrAsk(token string) (*Token, *question, error) {
	key := digest(token)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.active.recall(key, now); ok {
		return known.token, nil, nil
	}
	if known, ok := r.inactive.recall(key, now); ok {
		return nil, nil, known.err
	}
	q := r.asked[key]
	if q == nil {
		if len(r.asked) >= waitingPerTurn*r.config.Concurrency {
			return nil, nil, errTooManyQuestions
		}
		q = &question{done: make(chan struct{})}
		r.asked[key] = q
		go r.run(q, key, token, r.forgets)
	}
	return nil, q, nil
}

// run asks q and remembers the answer. It does not end with the request that
// came first, because others may wait too.
func (r *Remote) run(q *question, key cacheKey, token string, forgets uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	q.token, q.err = r.ask(ctx, token)
	now := time.Now()

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[key] == q {
		delete(r.asked, key)
	}
	close(q.done)
	switch {
	case q.err == nil:
		if forgets == r.forgets && len(q.token.Claims) <= maxKeptIntrospection {
			until := now.Add(r.config.TTL)
			if expiry := q.token.Expiry; !expiry.IsZero() && expiry.Before(until) {
				until = expiry
			}
			r.active.remember(key, answer{token: q.token, until: until})
		}
	case errors.Is(q.err, ErrInactive):
		r.inactive.remember(key, answer{err: q.err, until: now.Add(min(inactiveTTL, r.config.TTL))})
	}
}

// ask sends one introspection request (RFC 7662 §2.1) when its turn has come.
func (r *Remote) ask(ctx context.Context, token string) (*Token, error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, errTooManyQuestions
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.config.Endpoint, strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(r.config.ClientID), url.QueryEscape(r.config.ClientSecret))
	body, kind, err := fetch(r.client, request, maxIntrospection)
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
		return nil, fmt.Errorf("%w: introspection endpoint: %v", ErrUnavailable, c.err)
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

// Forget drops the remembered answers about tokens for which gone returns true;
// once it returns, the endpoint is asked again. gone is called under a lock and
// must be quick.
func (r *Remote) Forget(gone func(*Token) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
	clear(r.asked) // what was asked before may be answered as of before
	for key, known := range r.active.byToken {
		if gone(known.token) {
			delete(r.active.byToken, key)
		}
	}
}

// answers are remembered answers of one kind. Active and inactive ones do not
// compete for places, so that a flood of garbage does not drive out tokens in
// use.
type answers struct {
	limit   int
	byToken map[cacheKey]answer
}

// answer is what is believed about a token until a moment.
type answer struct {
	token *Token
	err   error
	until time.Time
}

func (a *answers) recall(key cacheKey, now time.Time) (answer, bool) {
	known, ok := a.byToken[key]
	if ok && !now.Before(known.until) {
		delete(a.byToken, key)
		return answer{}, false
	}
	return known, ok
}

// remember gives known a place, which is taken from any other if there is none
// left: entries live for seconds, so it matters little from whom.
func (a *answers) remember(key cacheKey, known answer) {
	if _, taken := a.byToken[key]; !taken && len(a.byToken) >= a.limit {
		for other := range a.byToken {
			delete(a.byToken, other)
			break
		}
	}
	a.byToken[key] = known
}
