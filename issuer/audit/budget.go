package audit

import (
	"sync"
	"time"
)

// Budget is how many lines may be written now: a flood of events that anybody can
// cause must not fill a disk, nor hide among its own lines what matters. Of the
// whole, each source of events has a share, so that a flood from one leaves room for
// the lines about others. Its methods may be called by many goroutines.
type Budget struct {
	atOnce, perSecond float64

	mu       sync.Mutex
	whole    allowance
	sources  map[string]*allowance // that have used up something of their share
	unlogged int                   // since the last line
}

// sharesOfBudget is how many sources together use up a budget.
const sharesOfBudget = 4

// rememberedSources bounds the sources at which a budget looks for those that have
// their whole share again. No more than that many lines are written in the time that
// it takes to get a share back, so there are hardly ever more.
const rememberedSources = 1000

// NewBudget returns a budget of so many lines at once, which refills by so many a
// second.
func NewBudget(atOnce, perSecond int) *Budget {
	return &Budget{
		atOnce: float64(atOnce), perSecond: float64(perSecond),
		whole: allowance{left: float64(atOnce)}, sources: make(map[string]*allowance),
	}
}

// Take uses up one line about an event that source has caused, if there is one, and
// tells how many were not written before it. With an empty source there is no share.
func (b *Budget) Take(now time.Time, source string) (unlogged int, may bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole.refill(now, b.atOnce, b.perSecond)
	share := b.shareOf(source)
	share.refill(now, b.atOnce/sharesOfBudget, b.perSecond/sharesOfBudget)
	if b.whole.left < 1 || share.left < 1 {
		b.unlogged++
		return 0, false
	}
	b.whole.left--
	share.left--
	if source != "" {
		b.remember(now, source, share)
	}
	unlogged, b.unlogged = b.unlogged, 0
	return unlogged, true
}

// shareOf returns what a source may still use up; all, if it is not known.
func (b *Budget) shareOf(source string) *allowance {
	if source == "" {
		return &allowance{left: b.atOnce}
	}
	if share := b.sources[source]; share != nil {
		return share
	}
	return &allowance{left: b.atOnce / sharesOfBudget}
}

// remember keeps the share of a source that has used something of it up, and forgets
// those that are whole again.
func (b *Budget) remember(now time.Time, source string, share *allowance) {
	if b.sources[source] == nil && len(b.sources) >= rememberedSources {
		for other, s := range b.sources {
			if s.refill(now, b.atOnce/sharesOfBudget, b.perSecond/sharesOfBudget); s.left >= b.atOnce/sharesOfBudget {
				delete(b.sources, other)
			}
		}
	}
	b.sources[source] = share
}

// allowance is a number of lines that time gives back.
type allowance struct {
	left float64
	last time.Time // when left was right
}

func (a *allowance) refill(now time.Time, most, perSecond float64) {
	if !a.last.IsZero() {
		a.left = min(most, a.left+max(0, now.Sub(a.last).Seconds())*perSecond)
	}
	a.last = now
}
