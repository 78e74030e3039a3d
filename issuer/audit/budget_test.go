package audit

import (
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
			if unlogged, may := budget.Take(now); may {
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
