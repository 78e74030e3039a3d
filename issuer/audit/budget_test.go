package audit

import (
	"fmt"
	"testing"
	"time"
)

// TestBudget: a burst at once, then so many a second, and what was left out is
// told once.
func TestBudget(t *testing.T) {
	budget := NewBudget(linesAtOnce, linesPerSecond)
	now := time.Unix(1_800_000_000, 0)
	take := func(times int, wait time.Duration) (lines, told int) {
		now = now.Add(wait)
		for range times {
			if unlogged, may := budget.Take(now, ""); may {
				lines++
				told += unlogged
			}
		}
		return lines, told
	}
	for _, step := range []struct {
		name        string
		wait        time.Duration
		events      int
		lines, told int
	}{
		{"a burst", 0, linesAtOnce + 50, linesAtOnce, 0},
		{"at once after it", 0, 10, 0, 0},
		{"a second later, the first line tells of those before it", time.Second, 30, linesPerSecond, 60},
		{"a clock that was set back gives nothing", -time.Hour, 5, 0, 0},
		{"after an hour, a burst again and no more", time.Hour, linesAtOnce + 1, linesAtOnce, 15},
	} {
		if lines, told := take(step.events, step.wait); lines != step.lines || told != step.told {
			t.Errorf("%s: %d lines that tell of %d, want %d and %d", step.name, lines, told, step.lines, step.told)
		}
	}
}

// TestBudgetShares: a flood from one source leaves room for the lines about others,
// and what is remembered of sources is bounded.
func TestBudgetShares(t *testing.T) {
	budget := NewBudget(linesAtOnce, linesPerSecond)
	now := time.Unix(1_800_000_000, 0)
	flood := func(source string, times int) (lines int) {
		for range times {
			if _, may := budget.Take(now, source); may {
				lines++
			}
		}
		return lines
	}
	if n := flood("192.0.2.1", 1000); n != linesAtOnce/sharesOfBudget {
		t.Errorf("%d lines about one source, want %d", n, linesAtOnce/sharesOfBudget)
	}
	if unlogged, may := budget.Take(now, "192.0.2.2"); !may || unlogged != 1000-linesAtOnce/sharesOfBudget {
		t.Errorf("a line about another: %v, which tells of %d", may, unlogged)
	}
	now = now.Add(time.Second)
	if n := flood("192.0.2.1", 1000); n != linesPerSecond/sharesOfBudget {
		t.Errorf("%d lines about the first one a second later, want %d", n, linesPerSecond/sharesOfBudget)
	}
	if n := flood("192.0.2.2", linesAtOnce) + flood("192.0.2.3", linesAtOnce) + flood("192.0.2.4", linesAtOnce) + flood("192.0.2.5", linesAtOnce); n > linesAtOnce {
		t.Errorf("%d lines about many", n)
	}
	for n := range 3 * rememberedSources {
		now = now.Add(time.Second)
		budget.Take(now, fmt.Sprintf("2001:db8:%x::/64", n))
	}
	if n := len(budget.sources); n > rememberedSources {
		t.Errorf("%d sources are remembered, want %d at most", n, rememberedSources)
	}
}
