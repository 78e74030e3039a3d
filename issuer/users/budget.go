package users

import "time"

// budget is a number of attempts that are free, given back one by one with
// time: a token bucket. The zero budget is full.
type budget struct {
	spent   int
	updated time.Time // when spent was right; what is less than one interval later is kept
}

// allowance is the shape of a budget: size attempts, and one more each interval.
type allowance struct {
	size     int
	interval time.Duration
}

// refill gives back what time has given back.
func (b *budget) refill(now time.Time, a allowance) {
	elapsed := now.Sub(b.updated)
	if b.spent == 0 || elapsed < 0 { // nothing to give back, or the clock was set back
		b.updated = now
		return
	}
	b.spent = max(0, b.spent-int(min(elapsed/a.interval, time.Duration(b.spent))))
	b.updated = now.Add(-(elapsed % a.interval))
}

// wait is how long until an attempt is free; zero if one is.
func (b *budget) wait(now time.Time, a allowance) time.Duration {
	b.refill(now, a)
	if b.spent < a.size {
		return 0
	}
	return b.updated.Add(a.interval).Sub(now)
}

// spend takes one attempt, if there is one, and tells whether there was. An empty
// budget goes no lower, so that recovery never takes longer than from empty.
func (b *budget) spend(now time.Time, a allowance) bool {
	b.refill(now, a)
	if b.spent >= a.size {
		return false
	}
	b.spent++
	return true
}

// giveBack undoes one spend that took one.
func (b *budget) giveBack() { b.spent = max(0, b.spent-1) }
