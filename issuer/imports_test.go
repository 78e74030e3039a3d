package issuer

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/caddy-oauth-gate/caddy-oauth-gate/"

// TestImportsPointOneWay: each package knows those of the module that it needs and
// no other. Those below this one do not know it.
func TestImportsPointOneWay(t *testing.T) {
	all := importsByPackage(t)
	for dir, want := range map[string][]string{
		"introspect":        {},
		"caddymodule/probe": {"introspect", "issuer"},
		"issuer/audit":      {"issuer/limit"},
		"issuer/limit":      {},
		"issuer/record":     {"issuer/storage"},
		"issuer/seal":       {"issuer/keys", "issuer/record", "issuer/storage"},
		"issuer/oauth":      {"issuer/audit", "issuer/keys", "issuer/storage"},
		"issuer/clients":    {"issuer/oauth", "issuer/record", "issuer/storage"},
		"issuer/ledger":     {"introspect", "issuer/oauth", "issuer/record", "issuer/storage"},
		"issuer/device":     {"issuer/ledger", "issuer/limit", "issuer/oauth", "issuer/record", "issuer/storage"},
		"issuer/signin": {
			"issuer/audit", "issuer/clients", "issuer/device", "issuer/ledger", "issuer/limit", "issuer/oauth", "issuer/pages",
			"issuer/record", "issuer/seal", "issuer/storage", "issuer/upstream", "issuer/users",
		},
	} {
		imports, ok := all[dir]
		if !ok {
			t.Errorf("there is no package %s", dir)
		}
		got := []string{}
		for _, imported := range imports {
			if own, ok := strings.CutPrefix(imported, module); ok {
				got = append(got, own)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s imports %v, want %v", dir, got, want)
		}
	}
}

// TestOnlyTheModuleKnowsCaddy: everything but the Caddy module itself can be built
// and used without Caddy.
func TestOnlyTheModuleKnowsCaddy(t *testing.T) {
	caddy := []string{"github.com/caddyserver/", module + "caddymodule"}
	all := importsByPackage(t)
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		if dir == "caddymodule" || dir == "caddymodule/cmd/caddy" {
			continue
		}
		for _, imported := range all[dir] {
			if slices.ContainsFunc(caddy, func(prefix string) bool { return strings.HasPrefix(imported, prefix) }) {
				t.Errorf("%s imports %s", dir, imported)
			}
		}
	}
}

// importsByPackage are the imports of all packages of the module, sorted, without
// those of their tests. A package is named by its folder, from the root.
func importsByPackage(t *testing.T) map[string][]string {
	t.Helper()
	found := make(map[string]map[string]bool)
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && file != ".."):
			return fs.SkipDir
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
		if found[dir] == nil {
			found[dir] = make(map[string]bool)
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[dir][imported] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string, len(found))
	for dir, imports := range found {
		all[dir] = slices.Sorted(maps.Keys(imports))
	}
	return all
}
