// Package limit holds down what one address may do, however often it asks.
package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Limiter counts, by address and in memory, what may happen only so often. An
// address has a budget of free events that refills by one every refill. What
// is one address, Source says.
type Limiter struct {
	free   int
	refill time.Duration

	taking sync.Mutex // held by Take, so that of two at once one is the last

	mu     sync.Mutex
	spent  map[string]spending
	pruned time.Time
}

// spending is when a budget will be whole again: each event puts it off by one
// refill.
type spending struct{ until time.Time }

// maxLimited bounds the addresses that are remembered. When there are more, all
// that owe nothing are forgotten, and if that is not enough, nobody new passes.
const maxLimited = 100_000

// New makes a limiter of so many free events, of which one comes back every
// refill.
func New(free int, refill time.Duration) *Limiter {
	return &Limiter{free: free, refill: refill, spent: make(map[string]spending)}
}

// wait is how long the address has to wait until it may try; zero if it may now.
func (l *Limiter) wait(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s, known := l.spent[Source(address)]
	if !known {
		if len(l.spent) >= maxLimited {
			l.prune(now)
		}
		if len(l.spent) >= maxLimited {
			return l.refill
		}
		return 0
	}
	return max(0, s.until.Sub(now)-time.Duration(l.free-1)*l.refill)
}

// count takes one event from the budget of the address.
func (l *Limiter) count(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	by := Source(address)
	s := l.spent[by]
	if s.until.Before(now) {
		s.until = now
	}
	s.until = s.until.Add(l.refill)
	l.spent[by] = s
}

// Take takes one event from the budget of the address, if there is one left:
// wait is zero. Else it takes nothing, and wait is how long until there is.
func (l *Limiter) Take(address string) (wait time.Duration) {
	l.taking.Lock()
	defer l.taking.Unlock()
	if wait = l.wait(address); wait == 0 {
		l.count(address)
	}
	return wait
}

// GiveBack returns the event that was taken last to the budget of the address.
func (l *Limiter) GiveBack(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := Source(address)
	if s, ok := l.spent[by]; ok {
		s.until = s.until.Add(-l.refill)
		l.spent[by] = s
	}
}

// prune forgets budgets that are whole again. It holds the lock.
func (l *Limiter) prune(now time.Time) {
	if now.Sub(l.pruned) < l.refill {
		return
	}
	l.pruned = now
	for by, s := range l.spent {
		if !s.until.After(now) {
			delete(l.spent, by)
		}
	}
}

// Source is what an address is counted as: an IPv4 address, or the /64 of an IPv6
// one, which is the least that one customer has. A port is ignored. What is no
// address at all counts as one, "".
func Source(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return ""
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}
