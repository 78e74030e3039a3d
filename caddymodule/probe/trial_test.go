package probe

import "testing"

// TestFindsTheWorst: one shot that fails is enough, and what was not seen is
// not said to have passed.
func TestFindsTheWorst(t *testing.T) {
	for _, test := range []struct {
		outcomes []string
		want     string
	}{
		{[]string{Passed, Passed}, Passed},
		{[]string{Passed, NotSeen, Passed}, NotSeen},
		{[]string{NotSeen, Failed, Passed}, Failed},
		{[]string{Failed, NotSeen}, Failed},
		{nil, NotSeen},
	} {
		tried := &trial{class: "c", name: "n"}
		for _, outcome := range test.outcomes {
			tried.results = append(tried.results, &result{shot: &shot{name: outcome}})
		}
		tried.judge = func(r *result) Finding { return Finding{Outcome: r.name} }
		if f := tried.find(); f.Outcome != test.want || f.Class != "c" || f.Check != "n" {
			t.Errorf("%v: %+v; want %s", test.outcomes, f, test.want)
		}
	}
}
