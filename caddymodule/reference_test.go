package caddymodule

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/reference.md is made from the comments of this package: the grammar above
// each parser of Caddyfile, and what stands above the modules and their fields.
//
//	go test ./caddymodule -run TestReference -update

const referenceHead = `# Reference

Everything that can be configured, as the source says it: the grammar above each parser, and the comments of the modules and
their fields. This page is made by ` + "`go test ./caddymodule -run TestReference -update`" + `. The page to read is [caddyfile.md](caddyfile.md).
`

func TestReference(t *testing.T) {
	page := newReference(t).page()
	const place = "../docs/reference.md"
	if *update {
		if err := os.WriteFile(place, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	written, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page {
		t.Errorf("docs/reference.md is not what the source says any more, from here on: %s\nrun this test with -update", differs(string(written), page))
	}
}

// differs returns the first line of want that got does not have there.
func differs(got, want string) string {
	lines := strings.Split(got, "\n")
	for n, line := range strings.Split(want, "\n") {
		if n >= len(lines) || lines[n] != line {
			return fmt.Sprintf("line %d, %q", n+1, line)
		}
	}
	return "its end"
}

// TestEveryOptionIsDocumented: docs/caddyfile.md names every word that a parser
// accepts as an option.
func TestEveryOptionIsDocumented(t *testing.T) {
	page := ofCheckout(t, "docs/caddyfile.md")
	var code strings.Builder // what stands between backquotes, and in blocks
	for _, quoted := range regexp.MustCompile("(?s)```.*?```|`[^`\n]+`").FindAllString(page, -1) {
		code.WriteString(quoted + "\n")
	}
	options := newReference(t).options()
	if len(options) < 60 {
		t.Errorf("%d options found, which cannot be all", len(options))
	}
	for _, option := range options {
		if !regexp.MustCompile(`\b` + option + `\b`).MatchString(code.String()) {
			t.Errorf("docs/caddyfile.md does not name the option %s", option)
		}
	}
}

// reference is the package as the compiler reads it.
type reference struct {
	files   []*ast.File // by name
	structs map[string]*structure
}

// structure is a struct that is configured by JSON.
type structure struct {
	name, doc string
	module    string // its ID, if it is one
	fields    []*ast.Field
}

func newReference(t *testing.T) *reference {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{structs: make(map[string]*structure)}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		r.files = append(r.files, file)
	}
	r.findStructs()
	r.findModules()
	return r
}

func (r *reference) declarations(visit func(ast.Decl)) {
	for _, file := range r.files {
		for _, declaration := range file.Decls {
			visit(declaration)
		}
	}
}

func (r *reference) findStructs() {
	r.declarations(func(declaration ast.Decl) {
		group, ok := declaration.(*ast.GenDecl)
		if !ok {
			return
		}
		for _, spec := range group.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok || !named.Name.IsExported() {
				continue
			}
			if body, ok := named.Type.(*ast.StructType); ok {
				r.structs[named.Name.Name] = &structure{name: named.Name.Name, doc: group.Doc.Text(), fields: body.Fields.List}
			}
		}
	})
}

// findModules reads the ID that each CaddyModule method returns.
func (r *reference) findModules() {
	r.declarations(func(declaration ast.Decl) {
		method, ok := declaration.(*ast.FuncDecl)
		if !ok || method.Name.Name != "CaddyModule" {
			return
		}
		ast.Inspect(method, func(node ast.Node) bool {
			if pair, ok := node.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "ID" {
					r.structs[typeName(method.Recv.List[0].Type)].module = text(pair.Value)
				}
			}
			return true
		})
	})
}

// typeName is the name of a type, without pointers and slices around it.
func typeName(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		return typeName(e.Elt)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// text is the value of a string literal.
func text(expression ast.Expr) string {
	literal, ok := expression.(*ast.BasicLit)
	if !ok {
		return ""
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return value
}

func (r *reference) page() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## Caddyfile\n")
	for _, grammar := range r.grammars() {
		fmt.Fprintf(&b, "\n```\n%s```\n", grammar)
	}
	b.WriteString("\n## JSON\n")
	var modules []*structure
	for _, s := range r.structs {
		if s.module != "" {
			modules = append(modules, s)
		}
	}
	slices.SortFunc(modules, func(a, b *structure) int { return strings.Compare(a.module, b.module) })
	shown := make(map[string]bool)
	for _, module := range modules {
		r.show(&b, module, shown)
	}
	return b.String()
}

// grammars are the indented parts of comments above functions that say what the
// function reads, by their first word.
func (r *reference) grammars() (found []string) {
	reads := regexp.MustCompile(`(?s)\breads(?: [^\n]*)?:?\n\n((?:\t[^\n]*\n|\n)+)|\A[^\n]* reads the [^\n]*:\n\n((?:\t[^\n]*\n|\n)+)`)
	r.declarations(func(declaration ast.Decl) {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			return
		}
		if m := reads.FindStringSubmatch(function.Doc.Text()); m != nil {
			found = append(found, unindented(m[1]+m[2]))
		}
	})
	slices.Sort(found)
	return slices.Compact(found)
}

func unindented(block string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(block, "\n") + "\n") {
		b.WriteString(strings.TrimPrefix(line, "\t"))
	}
	return b.String()
}

// show writes about a struct and then about those that its fields lead to.
func (r *reference) show(b *strings.Builder, s *structure, shown map[string]bool) {
	if shown[s.name] {
		return
	}
	shown[s.name] = true
	title := s.name
	if s.module != "" {
		title = "`" + s.module + "`"
	}
	fmt.Fprintf(b, "\n### %s\n\n%s", title, markdown(s.doc))
	var next []*structure
	var list strings.Builder
	for _, field := range s.fields {
		inner := r.structs[typeName(field.Type)]
		if len(field.Names) == 0 && inner != nil { // embedded: its fields are ours
			fmt.Fprintf(&list, "- and the fields of %s, below\n", inner.name)
			next = append(next, inner)
			continue
		}
		name := jsonName(field)
		if name == "" {
			continue
		}
		fmt.Fprintf(&list, "- `%s`", name)
		if inner != nil && inner != s {
			fmt.Fprintf(&list, " (%s)", inner.name)
			next = append(next, inner)
		}
		if doc := strings.Join(strings.Fields(field.Doc.Text()), " "); doc != "" {
			fmt.Fprintf(&list, ": %s", doc)
		}
		list.WriteByte('\n')
	}
	if list.Len() > 0 {
		b.WriteString("\n" + list.String())
	}
	for _, one := range next {
		r.show(b, one, shown)
	}
}

// jsonName is the name of a field in JSON; none if it is not configured.
func jsonName(field *ast.Field) string {
	if field.Tag == nil || len(field.Names) == 0 {
		return ""
	}
	tag := reflectTag(text(field.Tag))
	name, _, _ := strings.Cut(tag, ",")
	if name == "-" {
		return ""
	}
	return name
}

func reflectTag(tag string) string {
	m := regexp.MustCompile(`\bjson:"([^"]*)"`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return m[1]
}

// markdown turns the indented blocks of a comment into fenced ones, and joins the
// lines of its paragraphs.
func markdown(doc string) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(doc), "\n\n") {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		if strings.HasPrefix(paragraph, "\t") {
			b.WriteString("```\n" + unindented(paragraph) + "```\n")
			continue
		}
		b.WriteString(strings.Join(strings.Fields(paragraph), " ") + "\n")
	}
	return b.String()
}

// options are the words that parsers compare with the name of an option.
func (r *reference) options() (found []string) {
	r.declarations(func(declaration ast.Decl) {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(strings.ToLower(function.Name.Name), "unmarshal") {
			return
		}
		ast.Inspect(function, func(node ast.Node) bool {
			branches, ok := node.(*ast.SwitchStmt)
			if !ok {
				return true
			}
			for _, branch := range branches.Body.List {
				for _, word := range branch.(*ast.CaseClause).List {
					if option := text(word); option != "" {
						found = append(found, option)
					}
				}
			}
			return true
		})
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// TestUnknownOptionsAreAnsweredWithTheKnown: the message about an option that there is
// not names every one that there is.
func TestUnknownOptionsAreAnsweredWithTheKnown(t *testing.T) {
	known := make(map[string][]string) // by function
	said := make(map[string]string)
	newReference(t).declarations(func(declaration ast.Decl) {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Recv == nil || !strings.HasPrefix(function.Name.Name, "unmarshal") {
			return
		}
		name := function.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name + "." + function.Name.Name
		ast.Inspect(function, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CaseClause:
				for _, word := range node.List {
					known[name] = append(known[name], text(word))
				}
			case *ast.CallExpr:
				if called, ok := node.Fun.(*ast.Ident); ok && called.Name == "unknownOption" {
					said[name] = joined(node.Args[2])
				}
			}
			return true
		})
	})
	// The gate's options are read in two parts.
	known["Policy.unmarshalPolicyOption"] = append(known["Policy.unmarshalPolicyOption"], known["Protect.unmarshalOption"]...)
	if len(said) < 11 {
		t.Errorf("%d parsers found, which cannot be all: %v", len(said), said)
	}
	for name, words := range said {
		want := slices.Clone(known[name])
		slices.Sort(want)
		if words != strings.Join(want, " ") {
			t.Errorf("%s says that there is %q; it knows %q", name, words, want)
		}
	}
}

// joined is a literal, or a sum of some.
func joined(e ast.Expr) string {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		return joined(sum.X) + joined(sum.Y)
	}
	return text(e)
}

// TestOperationsNamesTests: each test that docs/operations.md appeals to is there.
func TestOperationsNamesTests(t *testing.T) {
	there := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)(?:/[\\w-]+)?`").FindAllStringSubmatch(ofCheckout(t, "docs/operations.md"), -1)
	if len(named) < 20 {
		t.Errorf("%d tests are named, which cannot be all", len(named))
	}
	for _, name := range named {
		if !there[name[1]] {
			t.Errorf("docs/operations.md appeals to %s, which there is not", name[1])
		}
	}
}
