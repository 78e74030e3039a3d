// Package limit holds down what one address may do, however often it asks.
//
//	limiter.go  budgets of events
//	network.go  what counts as one address
package limit

import (
	"sync"
	"time"
)

// Limiter counts, by address and in memory, what may happen only so often. An
// address has a budget of free events that refills by one every refill. IPv6
// addresses count by their /64 (see Source), and those of one /48 (see Site)
// together have no more than NetworksOfSite times that.
type Limiter struct {
	taking sync.Mutex // held by Take, so that of two at once one is the last

	sources, sites budgets
}

// New makes a limiter of so many free events, of which one comes back every
// refill.
func New(free int, refill time.Duration) *Limiter {
	return &Limiter{
		sources: budgets{free: free, refill: refill, spent: make(map[string]spending)},
		sites:   budgets{free: free * NetworksOfSite, refill: refill / NetworksOfSite, spent: make(map[string]spending)},
	}
}

// Take takes one event from the budget of the address, if there is one left:
// wait is zero. Else it takes nothing, and wait is how long until there is.
func (l *Limiter) Take(address string) (wait time.Duration) {
	l.taking.Lock()
	defer l.taking.Unlock()
	now, source, site := time.Now(), Source(address), Site(address)
	if wait = l.sources.wait(source, now); source != site {
		wait = max(wait, l.sites.wait(site, now))
	}
	if wait > 0 {
		return wait
	}
	l.sources.count(source, now)
	if source != site {
		l.sites.count(site, now)
	}
	return 0
}

// GiveBack returns the event that was taken last to the budget of the address.
func (l *Limiter) GiveBack(address string) {
	l.taking.Lock()
	defer l.taking.Unlock()
	source, site := Source(address), Site(address)
	l.sources.giveBack(source)
	if source != site {
		l.sites.giveBack(site)
	}
}

// budgets are those of all addresses, or of all sites. The Limiter has the lock.
type budgets struct {
	free   int
	refill time.Duration
	spent  map[string]spending
	pruned time.Time
}

// spending is when a budget will be whole again: each event puts it off by one
// refill.
type spending struct{ until time.Time }

// maxLimited bounds the addresses that are remembered. When there are more, all
// that owe nothing are forgotten, and if that is not enough, nobody new passes.
const maxLimited = 100_000

// wait is how long someone has to wait until they may try; zero if they may now.
func (b *budgets) wait(by string, now time.Time) time.Duration {
	s, known := b.spent[by]
	if !known {
		if len(b.spent) >= maxLimited {
			b.prune(now)
		}
		if len(b.spent) >= maxLimited {
			return b.refill
		}
		return 0
	}
	return max(0, s.until.Sub(now)-time.Duration(b.free-1)*b.refill)
}

// count takes one event from a budget.
func (b *budgets) count(by string, now time.Time) {
	s := b.spent[by]
	if s.until.Before(now) {
		s.until = now
	}
	s.until = s.until.Add(b.refill)
	b.spent[by] = s
}

func (b *budgets) giveBack(by string) {
	if s, ok := b.spent[by]; ok {
		s.until = s.until.Add(-b.refill)
		b.spent[by] = s
	}
}

// prune forgets budgets that are whole again.
func (b *budgets) prune(now time.Time) {
	if now.Sub(b.pruned) < b.refill {
		return
	}
	b.pruned = now
	for by, s := range b.spent {
		if !s.until.After(now) {
			delete(b.spent, by)
		}
	}
}
