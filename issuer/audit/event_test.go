package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEventsAreListed: every event that the package names is in the list, once,
// and with every field once.
func TestEventsAreListed(t *testing.T) {
	listed := make(map[Event]bool)
	for _, kind := range Events() {
		if listed[kind.Event] {
			t.Errorf("%s is listed twice", kind.Event)
		}
		listed[kind.Event] = true
		fields := slices.Sorted(slices.Values(slices.Concat(CommonFields(), kind.Fields)))
		if unique := slices.Compact(slices.Clone(fields)); len(unique) != len(fields) {
			t.Errorf("%s has a field twice: %v", kind.Event, fields)
		}
	}
	named := constants(t)
	for name, event := range named {
		if !listed[event] {
			t.Errorf("%s is not listed", name)
		}
	}
	if len(named) != len(listed) {
		t.Errorf("%d events are named and %d listed", len(named), len(listed))
	}
}

// TestEveryEventIsUsed: what is documented happens somewhere. Who writes the lines
// names the constants; there is no other way to make an Event but by its text.
func TestEveryEventIsUsed(t *testing.T) {
	used := make(map[string]bool)
	for _, root := range []string{"..", "../../caddymodule"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, found := range regexp.MustCompile(`\baudit\.([A-Z]\w+)`).FindAllStringSubmatch(string(text), -1) {
				used[found[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range constants(t) {
		if !used[name] {
			t.Errorf("nothing records %s", name)
		}
	}
}

// TestDocumentation holds docs/audit.md against the list: the same events, each
// once, the same fields in the same order, the same events that anybody can cause, and every field
// explained.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	events, explained := make(map[string][]string), make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch names := code(cells[0]); {
		case !strings.HasPrefix(line, "| `"):
		case len(cells) == 3:
			if _, twice := events[names[0]]; twice {
				t.Errorf("%s is documented twice", names[0])
			}
			events[names[0]] = append(code(cells[2]), map[bool]string{true: "anybody"}[strings.Contains(cells[1], "*anybody*")])
		default:
			for _, name := range names {
				explained[name] = true
			}
		}
	}
	for _, kind := range Events() {
		want := append(slices.Clone(kind.Fields), map[bool]string{true: "anybody"}[kind.Anybody])
		if got, ok := events[string(kind.Event)]; !ok || !slices.Equal(got, want) {
			t.Errorf("%s is documented with %q, want %q", kind.Event, got, want)
		}
		delete(events, string(kind.Event))
		for _, field := range slices.Concat(kind.Fields, CommonFields()) {
			if !explained[field] {
				t.Errorf("the field %s of %s is not explained", field, kind.Event)
			}
		}
	}
	for _, gone := range slices.Sorted(maps.Keys(events)) {
		t.Errorf("%s is documented, but there is no such event", gone)
	}
}

// code returns what stands in backquotes.
func code(cell string) (names []string) {
	for _, found := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		names = append(names, found[1])
	}
	return names
}

// constants are the events that event.go names.
func constants(t *testing.T) map[string]Event {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]Event)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Event" {
			all[spec.Names[0].Name] = Event(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
		}
		return true
	})
	if len(all) < 30 {
		t.Fatalf("%d events were found", len(all))
	}
	return all
}
