package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Bounds of what is asked of another server, about one token at a time.
const (
	inactiveTTL    = 5 * time.Second // how long an inactive token is not asked for again
	waitingPerTurn = 16              // questions that wait, for each that is asked
	defaultEntries = 10_000          // remembered answers of each kind
	defaultTurns   = 64              // questions that are asked at the same time
)

var errTooManyQuestions = fmt.Errorf("%w: too many questions to the issuer", ErrUnavailable)

// questions asks another server about tokens, and remembers its answers. Requests
// that show the same token share one question.
type questions struct {
	health

	// ask puts one question. Its answer is remembered when it is a token, or an
	// error that is ErrInactive.
	ask func(ctx context.Context, token string) (*Token, error)

	client *http.Client
	ttl    time.Duration      // how long an active token is believed, never past its expiry
	turns  chan struct{}      // holds as many values as questions are asked
	ctx    context.Context    // of questions; ended by Close
	cancel context.CancelFunc // ends ctx

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

// prepare makes q ready. Zero bounds are the defaults.
func (q *questions) prepare(transport http.RoundTripper, ttl time.Duration, entries, concurrency int) {
	if entries == 0 {
		entries = defaultEntries
	}
	if concurrency == 0 {
		concurrency = defaultTurns
	}
	q.client = newClient(transport)
	q.ttl = ttl
	q.turns = make(chan struct{}, concurrency)
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.active = answers{limit: entries, byToken: make(map[cacheKey]answer)}
	q.inactive = answers{limit: entries, byToken: make(map[cacheKey]answer)}
	q.asked = make(map[cacheKey]*question)
}

// Introspect implements Introspector.
func (q *questions) Introspect(ctx context.Context, token string) (*Token, error) {
	if len(token) > MaxTokenLength {
		return nil, inactive("the token is too long")
	}
	if !isToken(token) {
		return nil, inactive("the token has a character that no token has")
	}
	facts, open, err := q.recallOrAsk(token)
	if open == nil {
		return facts, err
	}
	timer := time.NewTimer(requestWait)
	defer timer.Stop()
	select {
	case <-open.done:
		return open.token, open.err
	case <-timer.C:
		return nil, fmt.Errorf("%w: the issuer is slow to answer about a token", ErrUnavailable)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// recallOrAsk returns a remembered answer, or the question to wait for.
func (q *questions) recallOrAsk(token string) (*Token, *question, error) {
	key := digest(token)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if known, ok := q.active.recall(key, now); ok {
		return known.token, nil, nil
	}
	if known, ok := q.inactive.recall(key, now); ok {
		return nil, nil, known.err
	}
	open := q.asked[key]
	if open == nil {
		if len(q.asked) >= waitingPerTurn*cap(q.turns) {
			return nil, nil, errTooManyQuestions
		}
		open = &question{done: make(chan struct{})}
		q.asked[key] = open
		go q.run(open, key, token, q.forgets)
	}
	return nil, open, nil
}

// run asks and remembers the answer. It does not end with the request that came
// first, because others may wait too.
func (q *questions) run(open *question, key cacheKey, token string, forgets uint64) {
	ctx, cancel := context.WithTimeout(q.ctx, fetchTimeout)
	defer cancel()
	open.token, open.err = q.askInTurn(ctx, token)
	now := time.Now()

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked[key] == open {
		delete(q.asked, key)
	}
	close(open.done)
	switch {
	case open.err == nil:
		if forgets == q.forgets && len(open.token.Claims) <= maxKeptAnswer {
			until := now.Add(q.ttl)
			if expiry := open.token.Expiry; !expiry.IsZero() && expiry.Before(until) {
				until = expiry
			}
			q.active.remember(key, answer{token: open.token, until: until})
		}
	case errors.Is(open.err, ErrInactive):
		q.inactive.remember(key, answer{err: open.err, until: now.Add(min(inactiveTTL, q.ttl))})
	}
}

func (q *questions) askInTurn(ctx context.Context, token string) (*Token, error) {
	select {
	case q.turns <- struct{}{}:
		defer func() { <-q.turns }()
	case <-ctx.Done():
		return nil, errTooManyQuestions
	}
	facts, err := q.ask(ctx, token)
	q.note(err)
	return facts, err
}

// Forget drops the remembered answers about tokens for which gone returns true;
// once it returns, the issuer is asked again. gone is called under a lock and
// must be quick.
func (q *questions) Forget(gone func(*Token) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forgets++
	clear(q.asked) // what was asked before may be answered as of before
	for key, known := range q.active.byToken {
		if gone(known.token) {
			delete(q.active.byToken, key)
		}
	}
}

// Close ends the questions that are being asked. Later ones are ErrUnavailable.
func (q *questions) Close() error {
	q.cancel()
	q.client.CloseIdleConnections()
	return nil
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
