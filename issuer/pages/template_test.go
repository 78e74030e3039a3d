package pages

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTemplateOverride(t *testing.T) {
	dir := t.TempDir()
	own := "{{define \"title\"}}x{{end}}\n{{define \"content\"}}<h1>Goodbye, {{.Client}}</h1>{{t \"logged-out.text\"}}{{end}}\n"
	if err := os.WriteFile(filepath.Join(dir, "logged_out.html"), []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p := newPages(t, Options{TemplateDir: dir})
	p.LoggedOut(w, request("", "/", "fr"), 200, LoggedOut{Client: "<b>"})
	for _, want := range []string{"Goodbye, &lt;b&gt;", "Vous pouvez fermer", `class="narrow"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in %s", want, w.Body)
		}
	}
	w = httptest.NewRecorder()
	p.Login(w, request("", "/", "en"), 200, Login{Local: true})
	if !strings.Contains(w.Body.String(), "current-password") {
		t.Error("the other pages are not the embedded ones")
	}
}

// What is wrong with an operator's template is said at New, with file and line: not at somebody's sign-in.
func TestTemplateRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"a page there is not", "singin.html", "", "singin.html: there is no page of this name"},
		{"not a template", "login.html~", "", "there is no page of this name"},
		{"a syntax error", "login.html", "\n{{if}}", "login.html:2"},
		{"an unknown function", "login.html", "\n\n{{exec \"id\"}}", "login.html:3"},
		{"a field there is not", "login.html", "{{define \"title\"}}x{{end}}\n{{define \"content\"}}{{.Pasword}}{{end}}", "login.html:2"},
		{"a field that is not there in a list", "account.html", "{{define \"title\"}}x{{end}}{{define \"content\"}}\n{{range .Sessions}}{{.Secret}}{{end}}{{end}}", "account.html:2"},
		{"a field behind a condition", "error.html", "{{define \"title\"}}x{{end}}{{define \"content\"}}\n\n{{if .Code}}{{.Cause}}{{end}}{{end}}", "error.html:3"},
		{"a message there is not", "layout.html", "{{define \"layout\"}}\n{{t \"none\"}}{{end}}", "layout.html:2"},
		{"no content", "login.html", "{{define \"title\"}}x{{end}}", "content"},
		{"markup that cannot be escaped", "login.html", "{{define \"title\"}}x{{end}}{{define \"content\"}}<a href={{.Client}}\n{{if .Local}}'{{end}}>{{end}}", "login.html"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{TemplateDir: dir})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v; want one with %q in %s", tt.name, err, tt.want, dir)
		}
	}
	if _, err := New(Options{TemplateDir: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a directory that is not there is accepted")
	}
}
