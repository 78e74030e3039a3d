package users

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
)

// How often a password may be tried. Four counts stand side by side; an attempt
// has to pass each of them.
//
// An account from an address: five failures are free, then each makes the next
// attempt wait, 1 s and twice as long each time, up to 5 minutes.
//
// An address, over all accounts: a budget, against trying one password on many
// accounts. Signing in does not refill it, or someone with an account of their
// own could. All addresses of one IPv6 /48 together have a larger one: that much
// one customer may have, and it is 65,536 addresses. It refills faster than one
// address can spend, since others are the neighbours of strangers.
//
// An account, over all addresses: a budget, against many addresses that try one
// account. When it is spent, each address waits for itself: the first attempt
// starts its wait, and after that one attempt from there is answered, however
// many others have tried in between. So strangers hold up the owner for
// accountWait at most, and the addresses where the owner has signed in lately not
// at all.
//
// An attempt is counted before it is judged: a thousand at once are a thousand.
const (
	freeFailures = 5
	firstWait    = time.Second
	longestWait  = 5 * time.Minute

	// forgetFailures is how long after the last one the failures of an account
	// from an address are forgotten.
	forgetFailures = time.Hour

	accountWait = 30 * time.Second

	// turnLifetime is how long an address may use the attempt that it waited for.
	turnLifetime = 5 * time.Minute

	// An address is remembered after a sign-in for knownLifetime, and the last
	// knownAddresses of an account.
	knownLifetime  = 30 * 24 * time.Hour
	knownAddresses = 8
)

var (
	addressAllowance = allowance{size: 50, interval: 20 * time.Second}
	siteAllowance    = allowance{size: 200, interval: 5 * time.Second}
	accountAllowance = allowance{size: 50, interval: time.Minute}
)

// ThrottledError: too many failures; this attempt was not looked at.
type ThrottledError struct {
	// Wait is how long until the next attempt is looked at.
	Wait time.Duration
}

// Error says for how long, and not for whom.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("users: too many attempts: wait %s", e.Wait.Round(time.Second))
}

// throttle counts attempts, in memory. Nothing that costs an attacker nothing
// makes it grow: an entry comes from an attempt that was hashed, or from the wait
// for one at an account under attack (a table of its own, where it pushes out
// only its like).
type throttle struct {
	mu        sync.Mutex
	pairs     table[pair, *streak]
	accounts  table[string, *accountBudget]
	addresses table[string, *addressBudget]
	sites     table[string, *siteBudget]
	turns     table[pair, turn]

	// known grows by signing in only, so it is bounded by the accounts there are.
	known map[string][]knownAddress
}

// pair is an account as seen from an address. The account is a username as
// compared, whether or not anyone has it, or "" for all that no one can have.
type pair struct{ account, address string }

// streak is a number of failures in a row.
type streak struct {
	failures int
	last     time.Time
}

// opens is when the next attempt is looked at.
func (s streak) opens() time.Time {
	if s.failures <= freeFailures {
		return time.Time{}
	}
	// 2^9 s is beyond longestWait.
	return s.last.Add(min(longestWait, firstWait<<min(9, s.failures-freeFailures-1)))
}

func (s *streak) weight(now time.Time) int {
	if now.Sub(s.last) >= forgetFailures {
		return 0
	}
	return s.failures
}

type accountBudget struct{ budget }

func (b *accountBudget) weight(now time.Time) int {
	b.refill(now, accountAllowance)
	return b.spent
}

type addressBudget struct{ budget }

func (b *addressBudget) weight(now time.Time) int {
	b.refill(now, addressAllowance)
	return b.spent
}

type siteBudget struct{ budget }

func (b *siteBudget) weight(now time.Time) int {
	b.refill(now, siteAllowance)
	return b.spent
}

// turn is one attempt that an address waits for.
type turn struct{ opens time.Time }

func (t turn) expired(now time.Time) bool { return now.Sub(t.opens) >= turnLifetime }

func (t turn) weight(now time.Time) int {
	if t.expired(now) {
		return 0
	}
	return 1
}

type knownAddress struct {
	address string
	at      time.Time
}

func newThrottle() *throttle {
	return &throttle{
		pairs: newTable[pair, *streak](), accounts: newTable[string, *accountBudget](),
		addresses: newTable[string, *addressBudget](), sites: newTable[string, *siteBudget](), turns: newTable[pair, turn](),
		known: make(map[string][]knownAddress),
	}
}

// attempt is one that was counted. It is a failure unless succeeded or abandoned
// is called.
type attempt struct {
	throttle *throttle
	pair     pair
	at       time.Time
	before   streak

	// What was taken from the budgets of account, address and site; not always
	// anything (see turn, and known addresses).
	account, address, site bool
}

// begin counts an attempt, or returns how long to wait and counts nothing.
func (t *throttle) begin(account, address string) (*attempt, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, p := time.Now(), pair{account, limit.Source(address)}
	known := t.isKnown(p, now)
	if wait := t.addressWait(p.address, now); wait > 0 && !known {
		return nil, wait
	}
	if s, ok := t.pairs.get(p); ok {
		if wait := s.opens().Sub(now); wait > 0 {
			return nil, wait
		}
	}
	if !known {
		if wait := t.turnWait(p, now); wait > 0 {
			return nil, wait
		}
	}
	return t.count(p, now), 0
}

func (t *throttle) addressWait(address string, now time.Time) (wait time.Duration) {
	if b, ok := t.addresses.get(address); ok {
		wait = b.wait(now, addressAllowance)
	}
	if b, ok := t.sites.get(siteOf(address)); ok {
		wait = max(wait, b.wait(now, siteAllowance))
	}
	return wait
}

// turnWait is how long an address has to wait at an account whose budget is
// spent. It uses up the attempt that was waited for.
func (t *throttle) turnWait(p pair, now time.Time) time.Duration {
	b, ok := t.accounts.get(p.account)
	if !ok || b.wait(now, accountAllowance) == 0 {
		return 0
	}
	waiting, ok := t.turns.get(p)
	if !ok || waiting.expired(now) {
		t.turns.put(p, turn{opens: now.Add(accountWait)}, now)
		return accountWait
	}
	if wait := waiting.opens.Sub(now); wait > 0 {
		return wait
	}
	t.turns.delete(p)
	return 0
}

func (t *throttle) count(p pair, now time.Time) *attempt {
	a := &attempt{throttle: t, pair: p, at: now}
	if s, ok := t.pairs.get(p); ok && s.weight(now) > 0 {
		a.before = *s
	}
	t.pairs.put(p, &streak{failures: a.before.failures + 1, last: now}, now)

	account, ok := t.accounts.get(p.account)
	if !ok {
		account = new(accountBudget)
		t.accounts.put(p.account, account, now)
	}
	a.account = account.spend(now, accountAllowance)

	address, ok := t.addresses.get(p.address)
	if !ok {
		address = new(addressBudget)
		t.addresses.put(p.address, address, now)
	}
	a.address = address.spend(now, addressAllowance)

	if by := siteOf(p.address); by != p.address {
		site, ok := t.sites.get(by)
		if !ok {
			site = new(siteBudget)
			t.sites.put(by, site, now)
		}
		a.site = site.spend(now, siteAllowance)
	}
	return a
}

// succeeded ends the streak and remembers the address.
func (a *attempt) succeeded() {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pairs.delete(a.pair)
	a.giveBack()
	t.remember(a.pair, time.Now())
}

// abandoned undoes the count of an attempt that was not judged.
func (a *attempt) abandoned() {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	a.giveBack()
	s, ok := t.pairs.get(a.pair)
	switch {
	case !ok:
	case s.failures <= 1:
		t.pairs.delete(a.pair)
	case s.last.Equal(a.at) && s.failures == a.before.failures+1:
		*s = a.before
	default: // another one was counted since
		s.failures--
	}
}

// giveBack is called with the lock.
func (a *attempt) giveBack() {
	t, p := a.throttle, a.pair
	if b, ok := t.accounts.get(p.account); ok && a.account {
		if b.giveBack(); b.spent == 0 {
			t.accounts.delete(p.account)
		}
	}
	if b, ok := t.addresses.get(p.address); ok && a.address {
		if b.giveBack(); b.spent == 0 {
			t.addresses.delete(p.address)
		}
	}
	if b, ok := t.sites.get(siteOf(p.address)); ok && a.site {
		if b.giveBack(); b.spent == 0 {
			t.sites.delete(siteOf(p.address))
		}
	}
}

func (t *throttle) isKnown(p pair, now time.Time) bool {
	return slices.ContainsFunc(t.known[p.account], func(k knownAddress) bool {
		return k.address == p.address && now.Sub(k.at) < knownLifetime
	})
}

// remember puts the address last, and forgets the one that was used longest ago
// when there are too many.
func (t *throttle) remember(p pair, now time.Time) {
	known := slices.DeleteFunc(t.known[p.account], func(k knownAddress) bool {
		return k.address == p.address || now.Sub(k.at) >= knownLifetime
	})
	known = append(known, knownAddress{p.address, now})
	t.known[p.account] = known[max(0, len(known)-knownAddresses):]
}

// forgetAccount forgets everything about an account, the addresses that were
// known with an earlier password, too.
func (t *throttle) forgetAccount(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.pairs.entries {
		if p.account == account {
			t.pairs.delete(p)
		}
	}
	for p := range t.turns.entries {
		if p.account == account {
			t.turns.delete(p)
		}
	}
	t.accounts.delete(account)
	delete(t.known, account)
}

// siteOf returns the /48 of a /64, which is the most that one customer has; of an IPv4
// address itself.
func siteOf(network string) string {
	if prefix, err := netip.ParsePrefix(network); err == nil {
		return limit.Site(prefix.Addr().String())
	}
	return network
}
