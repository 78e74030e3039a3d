package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A probe attacks a live route behind a gate, as strangers would, and tells what
// passed that must not. It consists of trials, one for each thing that is tried,
// in classes, one in each file. All are judged when all has been sent: a request
// that hides in another one may arrive late.

// probe is one run of "caddy oauth probe".
type probe struct {
	target  *probeTarget
	backend *probeBackend // nil where the API itself is behind the gate
	mint    func() (*probeTokensAnswer, error)

	forwardToken bool     // the API is meant to have the Authorization header
	openPaths    []string // need no token and may lead to the same API
	progress     func(class string, sent int)

	word  string // in the header of every request, so that the backend knows it
	spoof string // what strangers say about themselves, and nobody may believe

	given  *probeTokensAnswer
	minted time.Time

	control   *shotResult // a request with a good token
	unknown   *shotResult // one without, for a path that nobody knows
	elsewhere *shotResult // and one for a host that nobody knows

	mu    sync.Mutex
	shots int // made so far
	sent  int
}

const (
	// probeRenewal is when tokens are replaced, long before they expire: what was
	// begun with them must end in time.
	probeRenewal = 20 * time.Second

	// probeConnections is how many are open at a time.
	probeConnections = 4
)

// trial is one thing that is tried.
type trial struct {
	class, name string
	shots       []*shot

	// judge says what came of one shot. The worst of a trial is its outcome.
	judge func(*shotResult) finding

	// unseen says why the trial is not made here.
	unseen string

	results []*shotResult
}

// shot is what goes over one connection.
type shot struct {
	name   string // where a trial has several
	marker string // of its request, by which the backend knows it
	method string
	text   string
	inner  string // marker of a request that hides in this one
	toEnd  bool   // all answers are awaited, not only the first
}

// shotResult is what came of a shot.
type shotResult struct {
	*shot
	answers []probeAnswer
	err     error // why there was no connection
}

// The outcomes of a trial.
const (
	trialPassed = "pass"
	trialFailed = "fail"
	trialUnseen = "not seen"
)

// finding is the outcome of a trial and what it rests on.
type finding struct {
	Class   string `json:"class"`
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

// run makes all trials. The error says why nothing could be found out.
func (p *probe) run(ctx context.Context) ([]finding, error) {
	p.word, p.spoof = "probe"+strings.ToLower(rand.Text()), "spoof"+strings.ToLower(rand.Text())
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	trials := p.controlTrials()
	for _, class := range []func() []*trial{
		p.tokenTrials, p.placeTrials, p.scopeTrials, p.identityTrials, p.pathTrials, p.methodTrials, p.headerTrials, p.framingTrials,
		p.lastTrials,
	} {
		if err := p.renew(); err != nil {
			return nil, err
		}
		made := class()
		p.send(ctx, made)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		trials = append(trials, made...)
	}
	findings := make([]finding, 0, len(trials))
	for _, t := range trials {
		findings = append(findings, t.find())
	}
	return findings, nil
}

// renew gets tokens that are good for some time.
func (p *probe) renew() (err error) {
	if p.given != nil && time.Since(p.minted) < probeRenewal {
		return nil
	}
	p.given, err = p.mint()
	p.minted = time.Now()
	return err
}

// begin finds out how the route answers when all is well. Without that no answer
// means anything.
func (p *probe) begin(ctx context.Context) error {
	if err := p.renew(); err != nil {
		return err
	}
	p.control = p.fire(ctx, p.get(p.good()))
	if p.control.err != nil {
		return p.control.err
	}
	answer := p.control.final()
	switch {
	case answer == nil:
		return fmt.Errorf("%s ended the connection without an answer to a request with a good token", p.target.address)
	case answer.status >= http.StatusBadRequest:
		return fmt.Errorf("%s answers a request with a good token with %d, so that no other answer would mean anything; probe a URL to which GET succeeds", p.target.url, answer.status)
	case p.backend != nil && len(p.arrivals(p.control)) != 1:
		return fmt.Errorf("a request with a good token was answered with %d and did not arrive at --backend %s; let the reverse_proxy of the route point there", answer.status, p.backend.address())
	}
	p.unknown = p.fire(ctx, p.shot(http.MethodGet, "/"+p.word+"/unknown"))
	p.elsewhere = p.fire(ctx, p.get().toHost("unknown."+p.word+".invalid"))
	return errors.Join(p.unknown.err, p.elsewhere.err)
}

// controlTrials: what must pass does. begin has seen it.
func (p *probe) controlTrials() []*trial {
	t := one("control", "a good token passes", p.passes, p.control.shot)
	t.results = []*shotResult{p.control}
	return []*trial{t}
}

// lastTrials: the attacks have not changed that.
func (p *probe) lastTrials() []*trial {
	return []*trial{one("control", "a good token still passes", p.passes, p.get(p.good()))}
}

// send makes the trials, a few at a time.
func (p *probe) send(ctx context.Context, trials []*trial) {
	var all sync.WaitGroup
	free := make(chan struct{}, probeConnections)
	for _, t := range trials {
		t.results = make([]*shotResult, len(t.shots))
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
	p.progress(class, p.sent)
}

// fire sends a shot and reads what comes of it.
func (p *probe) fire(ctx context.Context, s *shot) *shotResult {
	r := &shotResult{shot: s}
	r.answers, r.err = p.target.exchange(ctx, s)
	return r
}

// find judges a trial: the worst that came of its shots, in the order failed, not
// seen, passed. Of several that passed it says what each came to, once.
func (t *trial) find() finding {
	found := finding{Outcome: trialUnseen, Detail: t.unseen}
	var passed []string
	for n, r := range t.results {
		f := t.judge(r)
		switch {
		case f.Outcome != trialPassed && r.name != "":
			f.Detail = r.name + ": " + f.Detail
		case f.Outcome == trialPassed && !slices.Contains(passed, f.Detail):
			passed = append(passed, f.Detail)
		}
		if n == 0 || f.worse(&found) {
			found = f
		}
	}
	if found.Outcome == trialPassed && len(t.results) > 1 {
		found.Detail = fmt.Sprintf("%d requests: %s", len(t.results), strings.Join(passed, "; "))
	}
	found.Class, found.Check = t.class, t.name
	return found
}

// worse: a failure is worse than what was not seen, and that than a pass.
func (f *finding) worse(than *finding) bool {
	rank := map[string]int{trialPassed: 0, trialUnseen: 1, trialFailed: 2}
	return rank[f.Outcome] > rank[than.Outcome]
}

// shot makes a request. lines are header fields, as they go over the wire.
func (p *probe) shot(method, target string, lines ...string) *shot {
	s := &shot{method: method, marker: p.marker()}
	head := append([]string{method + " " + target + " HTTP/1.1", "Host: " + p.target.url.Host, markerField + ": " + s.marker}, lines...)
	s.text = strings.Join(head, "\r\n") + "\r\n\r\n"
	return s
}

// get is the request that the API answers, with other header fields.
func (p *probe) get(lines ...string) *shot {
	return p.shot(http.MethodGet, p.target.url.RequestURI(), lines...)
}

// marker makes a name for a request.
func (p *probe) marker() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shots++
	return fmt.Sprintf("%s-%d", p.word, p.shots)
}

// named gives a shot a name.
func (s *shot) named(name string) *shot {
	s.name = name
	return s
}

// toHost asks for another host.
func (s *shot) toHost(host string) *shot {
	before, rest, _ := strings.Cut(s.text, "Host: ")
	_, after, _ := strings.Cut(rest, "\r\n")
	s.text = before + "Host: " + host + "\r\n" + after
	return s
}

// followedBy adds what comes behind the head.
func (s *shot) followedBy(text string) *shot {
	s.text += text
	return s
}

// good is the header field with the good token.
func (p *probe) good() string { return bearerField(p.given.Tokens.Good) }

func bearerField(token string) string { return "Authorization: Bearer " + token }

// one is a trial of one shot.
func one(class, name string, judge func(*shotResult) finding, s *shot) *trial {
	return &trial{class: class, name: name, judge: judge, shots: []*shot{s}}
}

// onBackend keeps trials from the API itself, where they could change something
// or would show nothing.
func (p *probe) onBackend(trials ...*trial) []*trial {
	if p.backend == nil {
		for _, t := range trials {
			t.shots, t.unseen = nil, "only with --backend"
		}
	}
	return trials
}
