package caddymodule

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// faultLoad is the traffic of some clients until a fault ends it, and the ledger
// of what they were told.
type faultLoad struct {
	*faultSite
	group   sync.WaitGroup
	stopped atomic.Bool

	mu      sync.Mutex
	chains  []*chain
	clients []string // registrations that were acknowledged
	devices []string // approved, not yet redeemed
}

// load begins the traffic: each worker goes on until its request has no answer, or
// stop is called. devices are for some of the workers to redeem.
func (s *faultSite) load(workers int, devices []string) *faultLoad {
	l := &faultLoad{faultSite: s, devices: devices}
	for n := range workers {
		l.group.Go(func() {
			for i := 0; !l.stopped.Load(); i++ {
				if n == 0 && !l.register(fmt.Sprintf("late-%d-%d", s.turn.Add(1), i)) {
					return
				}
				if n > 0 && !l.live() {
					return
				}
			}
		})
	}
	return l
}

// live is one authorization from its beginning to its end. It returns false where
// the worker stops.
func (l *faultLoad) live() bool {
	first, ok := l.first()
	if !ok {
		return false
	}
	c := l.begin(first, rand.IntN(4))
	l.mu.Lock()
	l.chains = append(l.chains, c)
	l.mu.Unlock()
	if c.doubt != nil || c.wrong {
		return false
	}
	switch rand.IntN(4) {
	case 0:
		return l.revoke(c, true)
	case 1:
		return l.revoke(c, false)
	default:
		return true
	}
}

// first is a device code, as long as there are, or a new code.
func (l *faultLoad) first() (artefact, bool) {
	l.mu.Lock()
	if n := len(l.devices); n > 0 && rand.IntN(10) == 0 {
		device := l.devices[n-1]
		l.devices = l.devices[:n-1]
		l.mu.Unlock()
		return artefact{deviceGrant, device}, true
	}
	l.mu.Unlock()
	code, err := l.code()
	return artefact{"authorization_code", code}, err == nil
}

// register makes a client at run time.
func (l *faultLoad) register(id string) bool {
	body := fmt.Sprintf(`{"client_id":%q,"client_name":%q,"grant_types":["client_credentials"],"scope":"read"}`, id, id)
	a, err := l.ask("POST", "http://"+l.node().admin+"/oauth/clients", body, "Content-Type: application/json")
	if err != nil || a.StatusCode != 200 {
		return false
	}
	l.mu.Lock()
	l.clients = append(l.clients, id)
	l.mu.Unlock()
	l.acknowledged.Add(1)
	return true
}

// end waits for the workers. Their next request ends them, if the fault did not.
func (l *faultLoad) end() {
	l.stopped.Store(true)
	l.group.Wait()
}

// judgeAll holds everything in the ledger against what the servers do now.
func (l *faultLoad) judgeAll() {
	for _, id := range l.clients {
		a, err := l.ask("GET", "http://"+l.node().admin+"/oauth/clients/"+id, "")
		if err != nil || a.StatusCode != 200 {
			l.lost.Add(1)
			l.t.Errorf("client %s was acknowledged and is lost: %d, %v", id, a.StatusCode, err)
		}
	}
	work := make(chan *chain)
	var judges sync.WaitGroup
	for range 16 {
		judges.Go(func() {
			for c := range work {
				l.judge(c)
			}
		})
	}
	for _, c := range l.chains {
		work <- c
	}
	close(work)
	judges.Wait()
}
