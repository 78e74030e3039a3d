package users

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// fail counts a failure, or returns the wait.
func fail(th *throttle, account, address string) time.Duration {
	_, wait := th.begin(account, address)
	return wait
}

func succeed(t *testing.T, th *throttle, account, address string) {
	t.Helper()
	a, wait := th.begin(account, address)
	if wait > 0 {
		t.Fatalf("%s from %s has to wait %s", account, address, wait)
	}
	a.succeeded()
}

func wantWait(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Fatalf("wait %s, want %s", got, want)
	}
}

func TestWaitDoublesUpToFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		for range freeFailures {
			wantWait(t, fail(th, "alice", home), 0)
		}
		for _, want := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
			want := time.Duration(want) * time.Second
			wantWait(t, fail(th, "alice", home), 0)
			wantWait(t, fail(th, "alice", home), want)
			time.Sleep(want - time.Nanosecond)
			wantWait(t, fail(th, "alice", home), time.Nanosecond) // a refused attempt does not prolong the wait
			time.Sleep(time.Nanosecond)
		}
	})
}

func TestStreakEnds(t *testing.T) {
	for why, end := range map[string]func(*testing.T, *throttle){
		"by success":                func(t *testing.T, th *throttle) { succeed(t, th, "alice", home) },
		"by time":                   func(_ *testing.T, _ *throttle) { time.Sleep(forgetFailures) },
		"by a change of the secret": func(_ *testing.T, th *throttle) { th.forgetAccount("alice") },
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				th := newThrottle()
				for range freeFailures + 1 {
					wantWait(t, fail(th, "alice", home), 0)
				}
				time.Sleep(firstWait)
				end(t, th)
				for range freeFailures + 1 {
					wantWait(t, fail(th, "alice", home), 0)
				}
				wantWait(t, fail(th, "alice", home), firstWait)
			})
		})
	}
}

// An address that tries many accounts runs out of attempts, and signing in to an
// account of its own gives it no more.
func TestSprayingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		succeed(t, th, "alice", home)
		n := 0
		for i := range 10_000 {
			if fail(th, fmt.Sprint("user", i), home) == 0 {
				n++
			}
			succeed(t, th, "mallory", "192.0.2.9")
		}
		if n != addressAllowance.size {
			t.Errorf("%d attempts, want %d", n, addressAllowance.size)
		}
		wantWait(t, fail(th, "mallory", home), addressAllowance.interval)
		wantWait(t, fail(th, "other", "192.0.2.7"), 0)
		succeed(t, th, "alice", home) // who shares the address and was there before is not held up
		wantWait(t, fail(th, "mallory", home), addressAllowance.interval)
		if n := len(th.pairs.entries); n > addressAllowance.size+1 {
			t.Errorf("refused attempts left %d entries", n)
		}
	})
}

// NIST SP 800-63B §5.2.2 asks for a limit; a limit that strangers can reach must
// not keep the owner out.
func TestAccountUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		succeed(t, th, "alice", home)
		attack := func(from int) (n int) {
			for i := range 1000 {
				if fail(th, "alice", fmt.Sprintf("10.%d.%d.%d", from, i/250, i%250)) == 0 {
					n++
				}
			}
			return n
		}
		if n := attack(1); n != accountAllowance.size {
			t.Fatalf("%d attempts, want %d", n, accountAllowance.size)
		}
		succeed(t, th, "alice", home) // at once, from where she has been before

		// From elsewhere she waits once, whatever the others do meanwhile.
		const away = "198.51.100.1"
		wantWait(t, fail(th, "alice", away), accountWait)
		for i := range 29 {
			time.Sleep(time.Second)
			attack(i + 2)
			wantWait(t, fail(th, "alice", away), accountWait-time.Duration(i+1)*time.Second)
		}
		time.Sleep(time.Second)
		attack(40)
		succeed(t, th, "alice", away)

		// The wait is for one attempt.
		const stranger = "10.1.3.249"
		wantWait(t, fail(th, "alice", stranger), 0)
		wantWait(t, fail(th, "alice", stranger), accountWait)
		time.Sleep(accountWait + turnLifetime)
		for range accountAllowance.size {
			attack(50)
		}
		wantWait(t, fail(th, "alice", stranger), accountWait) // not used in time
	})
}

func TestKnownAddressesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		for i := range 3 * knownAddresses {
			succeed(t, th, "alice", fmt.Sprint("10.0.0.", i))
		}
		if n := len(th.known["alice"]); n != knownAddresses {
			t.Errorf("%d known addresses", n)
		}
		if !th.isKnown(pair{"alice", "10.0.0.23"}, time.Now()) || th.isKnown(pair{"alice", "10.0.0.0"}, time.Now()) {
			t.Error("not the last ones")
		}
		time.Sleep(knownLifetime)
		if th.isKnown(pair{"alice", "10.0.0.23"}, time.Now()) {
			t.Error("known for ever")
		}
	})
}

// Who floods the table with names of no one does not push out what it knows of
// an account under attack.
func TestFloodDoesNotFlushTheThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		th.pairs.limit, th.accounts.limit, th.addresses.limit, th.turns.limit = 200, 200, 200, 200
		for range 12 {
			for fail(th, "alice", home) > 0 {
				time.Sleep(time.Second)
			}
		}
		for i := range 50_000 {
			fail(th, fmt.Sprint("user", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250))
		}
		if n := len(th.pairs.entries); n > 200 {
			t.Errorf("%d entries", n)
		}
		if fail(th, "alice", home) == 0 {
			t.Error("the streak was flushed")
		}
	})
}

// Whoever has a /48 has 65,536 networks, and tries with all of them no more passwords
// than a few neighbours would: neither on one account nor on many.
func TestOneCustomersNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		try := func(account string, from int) int {
			if fail(th, account, fmt.Sprintf("2001:db8:1:%x::1", from)) == 0 {
				return 1
			}
			return 0
		}
		n := 0
		for i := range 1000 {
			n += try(fmt.Sprint("user", i), i)
		}
		if n != siteAllowance.size {
			t.Errorf("%d accounts were tried, want %d", n, siteAllowance.size)
		}
		wantWait(t, fail(th, "user", "2001:db8:2::1"), 0)

		time.Sleep(time.Hour)
		n = 0
		for i := range 1000 {
			n += try("alice", i)
		}
		if n != accountAllowance.size {
			t.Errorf("%d passwords were tried, want %d", n, accountAllowance.size)
		}
		n = 0
		for range 10 {
			time.Sleep(accountWait)
			for i := range 1000 {
				n += try("alice", i)
			}
		}
		if most := siteAllowance.size + int(10*accountWait/siteAllowance.interval); n > most {
			t.Errorf("%d passwords in %s of waiting, want %d at most", n, 10*accountWait, most)
		}
		if siteAllowance.interval >= addressAllowance.interval {
			t.Error("one address holds up all others of its /48")
		}
	})
}
