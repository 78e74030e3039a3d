package limit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestSite: whoever has a /48 has no more than a few budgets, whichever of its
// networks they come from, and it refills as slowly.
func TestSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const free, refill = 5, time.Minute
		l := New(free, refill)
		flood := func() (passed int) {
			for n := range 1000 {
				if l.Take(fmt.Sprintf("2001:db8:1:%x::1", n)) == 0 {
					passed++
				}
			}
			return passed
		}
		if n := flood(); n != NetworksOfSite*free {
			t.Errorf("%d events of one /48, want %d", n, NetworksOfSite*free)
		}
		if n := len(l.sources.spent); n > NetworksOfSite*free {
			t.Errorf("%d networks are remembered: what is refused must leave nothing", n)
		}
		for _, other := range []string{"2001:db8:2::1", "192.0.2.1"} {
			if wait := l.Take(other); wait != 0 {
				t.Errorf("%s waits %s for another's flood", other, wait)
			}
		}
		time.Sleep(refill)
		if n := flood(); n != NetworksOfSite {
			t.Errorf("%d events a refill later, want %d", n, NetworksOfSite)
		}
		l.GiveBack("2001:db8:1::1")
		if wait := l.Take("2001:db8:1:ffff::1"); wait != 0 {
			t.Errorf("what was given back has to be waited for: %s", wait)
		}
	})
}

// TestWhatIsOneAddress: an IPv4 address has one spelling, and IPv6 its networks.
func TestWhatIsOneAddress(t *testing.T) {
	for address, want := range map[string][2]string{
		"192.0.2.1":             {"192.0.2.1", "192.0.2.1"},
		"192.0.2.1:1234":        {"192.0.2.1", "192.0.2.1"},
		"::ffff:192.0.2.1":      {"192.0.2.1", "192.0.2.1"},
		"[::ffff:192.0.2.1]:80": {"192.0.2.1", "192.0.2.1"},
		"2001:db8:1:2:3:4:5:6":  {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"[2001:db8:1:2::9]:443": {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"fe80::1%eth0":          {"fe80::/64", "fe80::/48"},
		"":                      {"", ""},
		"@":                     {"", ""},
		"example.org":           {"", ""},
	} {
		if got := [2]string{Source(address), Site(address)}; got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
