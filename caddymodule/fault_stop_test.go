package caddymodule

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// stopsWithin is how long a server may take to end what is under way.
const stopsWithin = 5 * time.Second

// TestFaultStop: a server is stopped in good order with 64 requests on their way,
// again and again. What it carries out it answers: a request that had no answer, or
// 503, has left no trace.
func TestFaultStop(t *testing.T) {
	site := newFaultSite(t, 1, "")
	p := site.nodes[0].serve(site.text)
	site.enter()
	rounds := scaled(2, 100)
	var unanswered int
	var worst time.Duration
	for range rounds {
		load := site.load(64, site.devices(2))
		until := site.acknowledged.Load() + 50 + rand.Int64N(100)
		eventually(t, "acknowledgements", func() bool { return site.acknowledged.Load() >= until || t.Failed() })
		begun := time.Now()
		p.stop()
		took := time.Since(begun)
		if worst = max(worst, took); took > stopsWithin {
			t.Errorf("it took %s to stop, want %s", took, stopsWithin)
		}
		if status := p.cmd.ProcessState.ExitCode(); status != 0 {
			t.Errorf("exit status %d", status)
		}
		load.end()
		site.client.CloseIdleConnections()
		p = site.nodes[0].serve(site.text)
		unanswered += load.mustBeUndone()
		load.judgeAll()
		if t.Failed() {
			break
		}
	}
	t.Logf("%d rounds: %d acknowledged, %d unanswered; %d good twice, %d lost; stopped within %s",
		rounds, site.acknowledged.Load(), unanswered, site.double.Load(), site.lost.Load(), worst)
	if unanswered == 0 {
		t.Error("nothing was under way")
	}
}

// mustBeUndone takes it that nothing was done of what had no answer, so that judge
// holds the server to it, and returns how many requests had none.
func (l *faultLoad) mustBeUndone() (unanswered int) {
	for _, c := range l.chains {
		if c.doubt != nil || c.doubtful {
			unanswered++
		}
		if first := c.doubt; first != nil && c.refresh == "" {
			if status := l.present(*first); status != http.StatusOK {
				l.lost.Add(1)
				l.t.Errorf("a %s that had no answer is spent: %d", first.grant, status)
			}
		}
		c.doubt, c.doubtful = nil, false
	}
	return unanswered
}
