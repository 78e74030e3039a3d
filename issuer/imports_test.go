package issuer

import (
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImportsPointOneWay: each package below this one knows those that it needs
// and no other, and none knows this one.
func TestImportsPointOneWay(t *testing.T) {
	const module = "github.com/caddy-oauth-gate/caddy-oauth-gate/"
	for dir, want := range map[string][]string{
		"audit":   {"issuer/limit"},
		"limit":   {},
		"record":  {"issuer/storage"},
		"seal":    {"issuer/keys", "issuer/record", "issuer/storage"},
		"oauth":   {"issuer/audit", "issuer/keys", "issuer/storage"},
		"clients": {"issuer/oauth", "issuer/record", "issuer/storage"},
		"ledger":  {"introspect", "issuer/oauth", "issuer/record", "issuer/storage"},
		"device":  {"issuer/ledger", "issuer/limit", "issuer/oauth", "issuer/record", "issuer/storage"},
		"signin": {
			"issuer/audit", "issuer/clients", "issuer/device", "issuer/ledger", "issuer/limit", "issuer/oauth", "issuer/pages",
			"issuer/record", "issuer/seal", "issuer/storage", "issuer/upstream", "issuer/users",
		},
	} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", dir, err)
		}
		imports := make(map[string]bool)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if own, ok := strings.CutPrefix(path, module); ok {
					imports[own] = true
				}
			}
		}
		if got := slices.Sorted(maps.Keys(imports)); !slices.Equal(got, want) {
			t.Errorf("%s imports %v, want %v", dir, got, want)
		}
	}
}
