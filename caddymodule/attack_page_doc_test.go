package caddymodule

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// securityPage is made of the tables of the attack runner, so that it cannot say
// what no test holds.
const securityPage = "../docs/security.md"

const securityPageHead = `# Known attacks, and what the product decided

` + "`caddymodule/testdata/attacks.json`" + ` lists known attacks on gateways and authorization servers: what is sent, byte for byte, what
must come of it, and where it is from. ` + "`go test ./caddymodule -run TestAttacks -v`" + ` sends those of the first priority, as every run of
the tests does, and with ` + "`OAUTH_TEST_ALL=1`" + ` all of them, and prints a line for each. After each one there must have been no answer of 5xx, no
panic, no secret in the log, and no look-up of a foreign name.

This page is made from the tables of the tests (` + "`-run TestSecurityPage -update`" + `).

## How many

| area | attacks | in every run | not applicable |
|---|---|---|---|
`

// TestSecurityPage holds docs/security.md against the tables; -update writes it.
func TestSecurityPage(t *testing.T) {
	var page strings.Builder
	page.WriteString(securityPageHead)
	titles, areas := make(map[string]string), make(map[string][3]int)
	for _, a := range readAttacks(t) {
		titles[a.ID] = a.Title
		counts := areas[a.Area]
		counts[0]++
		if a.Priority == 1 {
			counts[1]++
		}
		if notApplicable[a.ID] != "" {
			counts[2]++
		}
		areas[a.Area] = counts
	}
	for _, area := range slices.Sorted(maps.Keys(areas)) {
		fmt.Fprintf(&page, "| %s | %d | %d | %d |\n", area, areas[area][0], areas[area][1], areas[area][2])
	}
	earlier := make(map[string]string)
	for id, refused := range refusedEarlier {
		earlier[id] = fmt.Sprintf("Answered with %d: %s.", refused.status, refused.why)
	}
	for _, part := range []struct {
		head  string
		texts map[string]string
	}{
		{"What the product decided, where an attack leaves it a choice", attackDecisions},
		{"Answered otherwise than the list asks for", earlier},
		{"What does not apply, and why", notApplicable},
	} {
		fmt.Fprintf(&page, "\n## %s\n\n| attack | | |\n|---|---|---|\n", part.head)
		for _, id := range slices.Sorted(maps.Keys(part.texts)) {
			fmt.Fprintf(&page, "| %s | %s | %s |\n", id, inTable(titles[id]), inTable(part.texts[id]))
		}
	}
	if *update {
		if err := os.WriteFile(securityPage, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(securityPage); err != nil || string(written) != page.String() {
		t.Errorf("%s is not what the tables say (%v); write it with -update", securityPage, err)
	}
}

// inTable is text as a cell of a table has it.
func inTable(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "\r", " ").Replace(text)
}
