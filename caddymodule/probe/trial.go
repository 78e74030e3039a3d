package probe

import (
	"fmt"
	"slices"
	"strings"
)

// trial is one thing that is tried.
type trial struct {
	class, name string
	shots       []*shot

	// judge says what came of one shot. The worst of a trial is its outcome.
	judge func(*result) Finding

	// unseen says why the trial is not made here.
	unseen string

	results []*result
}

// one is a trial of one shot.
func one(class, name string, judge func(*result) Finding, s *shot) *trial {
	return &trial{class: class, name: name, judge: judge, shots: []*shot{s}}
}

// onBackend keeps trials from the API itself, where they could change something
// or would show nothing.
func (p *probe) onBackend(trials ...*trial) []*trial {
	if p.Backend == nil {
		for _, t := range trials {
			t.shots, t.unseen = nil, "only with --backend"
		}
	}
	return trials
}

// find judges a trial: the worst that came of its shots, in the order failed, not
// seen, passed. Of several that passed it says what each came to, once.
func (t *trial) find() Finding {
	found := Finding{Outcome: NotSeen, Detail: t.unseen}
	var passed []string
	for n, r := range t.results {
		f := t.judge(r)
		switch {
		case f.Outcome != Passed && r.name != "":
			f.Detail = r.name + ": " + f.Detail
		case f.Outcome == Passed && !slices.Contains(passed, f.Detail):
			passed = append(passed, f.Detail)
		}
		if n == 0 || f.worse(&found) {
			found = f
		}
	}
	if found.Outcome == Passed && len(t.results) > 1 {
		found.Detail = fmt.Sprintf("%d requests: %s", len(t.results), strings.Join(passed, "; "))
	}
	found.Class, found.Check = t.class, t.name
	return found
}

// worse: a failure is worse than what was not seen, and that than a pass.
func (f *Finding) worse(than *Finding) bool {
	rank := map[string]int{Passed: 0, NotSeen: 1, Failed: 2}
	return rank[f.Outcome] > rank[than.Outcome]
}
