package device

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
)

const (
	// maxPending is how many requests wait for a person at most: they cost nothing
	// to make, so they are kept in memory, and only so many.
	maxPending = 10_000

	// MaxPerAddress is how many of them may be of one address, and maxPerSite of one
	// customer's networks.
	MaxPerAddress = 100
	maxPerSite    = MaxPerAddress * limit.NetworksOfSite
)

// Pending are the requests that wait for a person, by user code.
type Pending struct {
	mu        sync.Mutex
	byCode    map[string]*waiting
	byAddress map[string]int // by limit.Source, and by limit.Site
}

// waiting is one of them, with the pace of its polls.
type waiting struct {
	Request
	interval time.Duration
	polled   time.Time
}

// errTooMany: so many requests wait that no more are taken.
var errTooMany = errors.New("too many device requests are waiting")

// Add takes a request in. A user code that is in use is refused with false, and
// the caller makes another one.
func (p *Pending) Add(q Request) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byCode == nil {
		p.byCode, p.byAddress = make(map[string]*waiting), make(map[string]int)
	}
	if _, taken := p.byCode[q.UserCode]; taken {
		return false, nil
	}
	if !p.hasRoom(q.Address) {
		p.expire(time.Now())
		if !p.hasRoom(q.Address) {
			return false, errTooMany
		}
	}
	p.byCode[q.UserCode] = &waiting{Request: q, interval: Interval}
	p.count(q.Address, 1)
	return true, nil
}

// hasRoom tells whether one more request of an address may wait. It holds the lock.
func (p *Pending) hasRoom(address string) bool {
	return len(p.byCode) < maxPending && p.byAddress[limit.Source(address)] < MaxPerAddress && p.byAddress[limit.Site(address)] < maxPerSite
}

// count counts the requests of an address. It holds the lock.
func (p *Pending) count(address string, n int) {
	for _, by := range slices.Compact([]string{limit.Source(address), limit.Site(address)}) {
		if p.byAddress[by] += n; p.byAddress[by] <= 0 {
			delete(p.byAddress, by)
		}
	}
}

// Find returns the request with that user code, while it waits.
func (p *Pending) Find(userCode string) (Request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.byCode[userCode]
	if !ok || !time.Now().Before(d.Expiry) {
		return Request{}, false
	}
	return d.Request, true
}

// Poll notes a poll and tells whether it came too soon: then the device must wait
// longer from now on (RFC 8628 §3.5). A request that is not known, because the
// server was restarted, is taken in again.
func (p *Pending) Poll(q Request) (tooSoon bool) {
	p.mu.Lock()
	d := p.byCode[q.UserCode]
	p.mu.Unlock()
	if d == nil || d.ID != q.ID {
		// If it cannot be taken in, it is answered all the same.
		_, _ = p.Add(q)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d = p.byCode[q.UserCode]; d == nil || d.ID != q.ID {
		return false
	}
	now := time.Now()
	tooSoon = !d.polled.IsZero() && now.Sub(d.polled) < d.interval
	d.polled = now
	if tooSoon {
		d.interval += Interval
	}
	return tooSoon
}

// Remove forgets a request that was decided and redeemed.
func (p *Pending) Remove(q Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.byCode[q.UserCode]; d != nil && d.ID == q.ID {
		p.drop(d)
	}
}

// Prune forgets the requests that have expired.
func (p *Pending) Prune(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
}

// expire holds the lock.
func (p *Pending) expire(now time.Time) {
	for _, d := range p.byCode {
		if !now.Before(d.Expiry) {
			p.drop(d)
		}
	}
}

// drop holds the lock.
func (p *Pending) drop(d *waiting) {
	delete(p.byCode, d.UserCode)
	p.count(d.Address, -1)
}
