package pages

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var screens = flag.String("screens", "", "write every page as an HTML file to this directory")

// TestScreens writes every example as a file that a browser can open, beside the assets it refers to. Each page names its
// assets relative to itself, so that a directory can be handed on:
//
//	go test ./issuer/pages -run TestScreens -screens /tmp/screens
func TestScreens(t *testing.T) {
	dir := *screens
	if dir == "" {
		dir = t.TempDir()
	}
	p := newPages(t, Options{Name: "Example Energy", FooterLinks: []Link{
		{Text{"en": "Imprint", "fr": "Mentions légales"}, "https://example.com/imprint"}, {Text{"en": "Help", "fr": "Aide"}, "mailto:help@example.com"}}})
	for name, a := range p.assets {
		write(t, filepath.Join(dir, name), a.content)
	}
	asset := regexp.MustCompile(`"/assets/[0-9a-f]{16}/`)
	for _, e := range examples() {
		for _, lang := range languages {
			w := httptest.NewRecorder()
			show(t, p, w, request(e.method, "/page?x=1", lang), e.data)
			name := filepath.Join(dir, e.name+"."+lang+".html")
			write(t, name, asset.ReplaceAll(w.Body.Bytes(), []byte(`"`)))
		}
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
