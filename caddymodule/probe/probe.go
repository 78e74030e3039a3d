package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// Options say what is attacked, with what, and what is meant to be as it is.
type Options struct {
	Target  *Target
	Backend *Backend // nil where the API itself is behind the gate

	// Mint gets tokens that are good for at least half a minute. It is called
	// before the first request, and again when they are older than that; its
	// error ends the run.
	Mint func(context.Context) (*Given, error)

	ForwardToken bool     // the API is meant to have the Authorization header
	OpenPaths    []string // need no token and may lead to the same API

	// Guarded are names of header fields by which nobody but a gate may tell the
	// API who calls or what is asked for. Those that this gate sets are found out.
	Guarded []string

	// Progress is told of every request, by one goroutine at a time: the class of
	// its check, and how many have been sent.
	Progress func(class string, sent int)
}

// Given is what a probe has to know about the gate on its way, and the tokens to
// try on it.
type Given struct {
	URL         string              `json:"url"`
	Resource    string              `json:"resource"`
	NeededScope string              `json:"needed_scope,omitempty"`
	ClientID    string              `json:"client_id"`
	ExpiresIn   int64               `json:"expires_in"` // seconds
	Tokens      *issuer.ProbeTokens `json:"tokens"`
}

// probe is one run.
type probe struct {
	Options

	word  string // in the header of every request, so that the backend knows it
	spoof string // what strangers say about themselves, and nobody may believe

	given  *Given
	minted time.Time

	control   *result // a request with a good token
	unknown   *result // one without, for a path that nobody knows
	elsewhere *result // and one for a host that nobody knows

	mu    sync.Mutex
	shots int // made so far
	sent  int
}

const (
	// renewal is when tokens are replaced, long before they expire: what was begun
	// with them must end in time.
	renewal = 20 * time.Second

	// connections is how many are open at a time.
	connections = 4
)

// Run makes all trials, and judges them when everything has been sent: a request
// that hides in another one may arrive late. The error says why nothing could be
// found out; that a gate does not hold is none.
func Run(ctx context.Context, o Options) (*Report, error) {
	p := &probe{Options: o, word: "probe" + strings.ToLower(rand.Text()), spoof: "spoof" + strings.ToLower(rand.Text())}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	trials := p.controlTrials()
	for _, class := range []func() []*trial{
		p.tokenTrials, p.placeTrials, p.scopeTrials, p.identityTrials, p.pathTrials, p.methodTrials, p.headerTrials, p.framingTrials,
		p.lastTrials,
	} {
		if err := p.renew(ctx); err != nil {
			return nil, err
		}
		made := class()
		p.send(ctx, made)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		trials = append(trials, made...)
	}
	return report(p.given, trials), nil
}

// renew gets tokens that are good for some time.
func (p *probe) renew(ctx context.Context) (err error) {
	if p.given != nil && time.Since(p.minted) < renewal {
		return nil
	}
	p.given, err = p.Mint(ctx)
	p.minted = time.Now()
	return err
}

// begin finds out how the route answers when all is well. Without that no answer
// means anything.
func (p *probe) begin(ctx context.Context) error {
	if err := p.renew(ctx); err != nil {
		return err
	}
	p.control = p.fire(ctx, p.get(p.good()))
	if p.control.err != nil {
		return p.control.err
	}
	answer := p.control.final()
	switch {
	case answer == nil:
		return fmt.Errorf("%s ended the connection without an answer to a request with a good token", p.Target.address)
	case answer.status >= http.StatusBadRequest:
		return fmt.Errorf("%s answers a request with a good token with %d, so that no other answer would mean anything; probe a URL to which GET succeeds", p.Target.url, answer.status)
	case p.Backend != nil && len(p.arrivals(p.control)) != 1:
		return fmt.Errorf("a request with a good token was answered with %d and did not arrive at --backend %s; let the reverse_proxy of the route point there", answer.status, p.Backend.address())
	}
	p.unknown = p.fire(ctx, p.shot(http.MethodGet, "/"+p.word+"/unknown"))
	p.elsewhere = p.fire(ctx, p.get().toHost("unknown."+p.word+".invalid"))
	return errors.Join(p.unknown.err, p.elsewhere.err)
}

// controlTrials: what must pass does. begin has seen it.
func (p *probe) controlTrials() []*trial {
	t := one("control", "a good token passes", p.passes, p.control.shot)
	t.results = []*result{p.control}
	return []*trial{t}
}

// lastTrials: the attacks have not changed that.
func (p *probe) lastTrials() []*trial {
	return []*trial{one("control", "a good token still passes", p.passes, p.get(p.good()))}
}

// send makes the trials, a few at a time.
func (p *probe) send(ctx context.Context, trials []*trial) {
	var all sync.WaitGroup
	free := make(chan struct{}, connections)
	for _, t := range trials {
		t.results = make([]*result, len(t.shots))
		for n := range t.shots {
			free <- struct{}{}
			all.Go(func() {
				defer func() { <-free }()
				t.results[n] = p.fire(ctx, t.shots[n])
				p.advance(t.class)
			})
		}
	}
	all.Wait()
}

func (p *probe) advance(class string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.Progress(class, p.sent)
}

// fire sends a shot and reads what comes of it.
func (p *probe) fire(ctx context.Context, s *shot) *result {
	r := &result{shot: s}
	r.answers, r.err = p.Target.exchange(ctx, s)
	return r
}
