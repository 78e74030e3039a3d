package audit

import (
	"sync"
	"time"
)

// Budget is how many lines may be written now: a flood of events that anybody can
// cause must not fill a disk, nor hide among its own lines what matters. Its
// methods may be called by many goroutines.
type Budget struct {
	atOnce, perSecond float64

	mu       sync.Mutex
	left     float64
	last     time.Time
	unlogged int // since the last line
}

// NewBudget returns a budget of so many lines at once, which refills by so many a
// second.
func NewBudget(atOnce, perSecond int) *Budget {
	return &Budget{atOnce: float64(atOnce), perSecond: float64(perSecond), left: float64(atOnce)}
}

// Take uses up one line, if there is one, and tells how many were not written
// before it.
func (b *Budget) Take(now time.Time) (unlogged int, may bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.left = min(b.atOnce, b.left+max(0, now.Sub(b.last).Seconds())*b.perSecond)
	}
	b.last = now
	if b.left < 1 {
		b.unlogged++
		return 0, false
	}
	b.left--
	unlogged, b.unlogged = b.unlogged, 0
	return unlogged, true
}
