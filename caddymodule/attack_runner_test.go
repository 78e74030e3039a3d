package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// attack is one entry of testdata/attacks.json: a bad input, and what must come
// of it.
type attack struct {
	ID       string    `json:"id"`
	Area     string    `json:"area"`
	Title    string    `json:"title"`
	Request  string    `json:"request"`
	Expect   string    `json:"expect"`
	Source   string    `json:"source"`
	Kind     string    `json:"kind"`
	Priority int       `json:"prio"`
	Assert   assertion `json:"assert"`
}

// assertion is what of the expectation a program can judge.
type assertion struct {
	Status     []int    `json:"status"`     // of each judged answer
	Error      []string `json:"error"`      // codes of which a refusal has one
	Backend    string   `json:"backend"`    // what the backend may have got; see (*attempt).judgeBackend
	Invariants []string `json:"invariants"` // names of invariants
}

// attackCode sends an attack and hands what came back to (*attempt).judge. The
// runner holds it against the entry's assertion.
type attackCode func(*attempt)

// attackGroup is a server and the areas that are tried on it.
type attackGroup struct {
	name  string
	start func(*testing.T) *attackSite
	areas []attackArea
}

// attackArea finds the code of each attack in an area; nil for one that has none.
// It must be cheap and need no server: it is asked about every entry.
type attackArea struct {
	name string
	code func(attack) attackCode
}

// attackGroups is where an area is added.
var attackGroups = []attackGroup{gateAttacks, issuerAttacks}

// areasToCome are areas of which nothing is tried yet.
var areasToCome = map[string]bool{}

// TestAttacks sends every entry of testdata/attacks.json. Those of the first
// priority are sent on each run, all of them with OAUTH_TEST_ALL=1. An entry that
// is not sent must say why in notApplicable.
func TestAttacks(t *testing.T) {
	attacks := readAttacks(t)
	report := make(attackReport)
	for _, group := range attackGroups {
		t.Run(group.name, func(t *testing.T) { runGroup(t, group, attacks, report) })
	}
	t.Log(report.table(attacks))
}

func readAttacks(t testing.TB) (attacks []attack) {
	t.Helper()
	text, err := os.ReadFile("testdata/attacks.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &attacks); err != nil {
		t.Fatal(err)
	}
	return attacks
}

// runGroup starts the server of a group and tries its areas. The server is
// started when the first entry needs it, so that -run of one entry costs no more.
func runGroup(t *testing.T, group attackGroup, attacks []attack, report attackReport) {
	var site *attackSite
	for _, area := range group.areas {
		var chosen []attack
		for _, a := range attacks {
			if a.Area == area.name && notApplicable[a.ID] == "" && (a.Priority == 1 || os.Getenv("OAUTH_TEST_ALL") != "") {
				chosen = append(chosen, a)
			}
		}
		if len(chosen) == 0 {
			continue
		}
		if site == nil {
			site = group.start(t)
		}
		t.Run(area.name, func(t *testing.T) {
			for _, a := range chosen {
				ran := false // -run may have left it out
				ok := t.Run(a.ID, func(t *testing.T) {
					ran = true
					site.try(t, a, area.code(a))
				})
				if ran {
					report.tried(a, ok)
				}
			}
		})
	}
}

// try sends one attack and judges what came of it.
func (s *attackSite) try(t *testing.T, a attack, code attackCode) {
	if code == nil {
		t.Fatalf("%s has no code: %s", a.ID, a.Title)
	}
	attempt := s.attempt(t, a)
	code(attempt)
	attempt.judgeAll()
	t.Logf("%s: %s: %s", a.ID, attempt.outcome(), a.Title)
}

// TestAttacksAreComplete: each entry has code, or a reason for having none, and
// no reason outlives its entry.
func TestAttacksAreComplete(t *testing.T) {
	codes := make(map[string]func(attack) attackCode)
	for _, group := range attackGroups {
		for _, area := range group.areas {
			if codes[area.name] != nil || areasToCome[area.name] {
				t.Errorf("the area %s stands twice", area.name)
			}
			codes[area.name] = area.code
		}
	}
	known := make(map[string]bool)
	for _, a := range readAttacks(t) {
		if known[a.ID] {
			t.Errorf("%s stands twice", a.ID)
		}
		known[a.ID] = true
		for _, name := range a.Assert.Invariants {
			if invariants[name] == nil {
				t.Errorf("%s: there is no invariant %q", a.ID, name)
			}
		}
		if areasToCome[a.Area] {
			continue
		}
		has := codes[a.Area] != nil && codes[a.Area](a) != nil
		switch _, excused := notApplicable[a.ID]; {
		case has && excused:
			t.Errorf("%s has code, and a reason for having none", a.ID)
		case !has && !excused:
			t.Errorf("%s (%s) has neither code nor a reason for having none: %s", a.ID, a.Area, a.Title)
		}
	}
	for id, earlier := range refusedEarlier {
		if !known[id] || earlier.why == "" {
			t.Errorf("%s: no such entry, or no text", id)
		}
	}
	for _, table := range []map[string]string{notApplicable, attackDecisions} {
		for _, id := range slices.Sorted(maps.Keys(table)) {
			if !known[id] || table[id] == "" {
				t.Errorf("%s: no such entry, or no text", id)
			}
		}
	}
}

// attackReport counts what was tried, by area.
type attackReport map[string]*struct{ passed, failed int }

func (r attackReport) tried(a attack, ok bool) {
	if r[a.Area] == nil {
		r[a.Area] = new(struct{ passed, failed int })
	}
	if ok {
		r[a.Area].passed++
	} else {
		r[a.Area].failed++
	}
}

// table is the report as text, a line for each area.
func (r attackReport) table(attacks []attack) string {
	entries, excused := make(map[string]int), make(map[string]int)
	for _, a := range attacks {
		entries[a.Area]++
		if notApplicable[a.ID] != "" {
			excused[a.Area]++
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\n\tentries\tpassed\tfailed\tnot applicable\tnot tried\t\n")
	for _, area := range slices.Sorted(maps.Keys(entries)) {
		passed, failed := 0, 0
		if counts := r[area]; counts != nil {
			passed, failed = counts.passed, counts.failed
		}
		rest := entries[area] - passed - failed - excused[area]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", area, entries[area], passed, failed, excused[area], rest)
	}
	w.Flush()
	return text.String()
}
