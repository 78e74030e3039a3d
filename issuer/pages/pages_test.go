package pages

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newPages(t *testing.T, options Options) *Pages {
	t.Helper()
	options.RenderFailed = func(_ *http.Request, page string, err error) { t.Errorf("%s: %v", page, err) }
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(method, target, lang string) *http.Request {
	if method == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Accept-Language", lang)
	return r
}

// Every page, in both languages, with plain and with hostile data, holds what markup_test.go asks for.
func TestEveryPage(t *testing.T) {
	texts := map[string]string{
		"plain":    "",
		"markup":   `"><script>alert(1)</script><img src=x onerror=alert(1)>`,
		"script":   `javascript:alert(1)//'"</title></textarea>`,
		"template": `{{.CSRF}}{{template "content"}}{http.request.uri}`,
		"bidi":     "\u202e\u2066evil\u2069 اسم العميل \u200f",
		"long":     strings.Repeat("long", 500),
		"control":  "a\x00b\r\nSet-Cookie: a=b\x1b[31m",
		"invalid":  "\xff\xfe<b>",
	}
	p := newPages(t, Options{
		Name:        `Ac"me <b>`,
		FooterLinks: []Link{{Text{"en": "Imprint", "fr": "Mentions légales"}, "https://example.com/imprint"}, {Text{"": "Help"}, "mailto:help@example.com"}},
	})
	covered := make(map[string]bool)
	for _, e := range examples() {
		for _, lang := range languages {
			for kind, text := range texts {
				t.Run(e.name+"/"+lang+"/"+kind, func(t *testing.T) {
					data := e.data
					if text != "" {
						data = replaceTexts(data, text)
					}
					w := httptest.NewRecorder()
					show(t, p, w, request(e.method, "/page?x=1", lang), data)
					if w.Code == http.StatusInternalServerError {
						t.Fatal("not rendered")
					}
					checkMarkup(t, w.Body.String(), lang, kind == "plain")
				})
			}
		}
		covered[templateOf(e.data)] = true
	}
	for name := range pageData {
		if !covered[name] {
			t.Errorf("%s: no example", name)
		}
	}
}

func templateOf(data any) string {
	if welcome, ok := data.(Welcome); ok {
		data = newWelcomeView(welcome)
	}
	for name, of := range pageData {
		if sameType(of, data) {
			return name
		}
	}
	return ""
}

// A page whose data makes its template fail is a 500 as a whole, with the security headers, and the operator is told.
func TestRenderFailure(t *testing.T) {
	var told string
	p, err := New(Options{RenderFailed: func(_ *http.Request, page string, err error) { told = page + ": " + err.Error() }})
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"javascript:alert(1)", "com.example.app:/callback", "", "//evil.test/"} {
		told = ""
		w := httptest.NewRecorder()
		p.FormPost(w, request("", "/", "fr"), FormPost{RedirectURI: uri})
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<") {
			t.Errorf("redirect URI %q: status %d, body %q; want a plain 500", uri, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("redirect URI %q: headers %v", uri, w.Header())
		}
		if !strings.HasPrefix(told, "form_post.html: ") {
			t.Errorf("redirect URI %q: RenderFailed got %q", uri, told)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, tt := range []struct {
		name    string
		options Options
		want    string
	}{
		{"a colour by name", Options{Accent: "red"}, "#rrggbb"},
		{"a colour that ends the stylesheet", Options{Accent: "#12345}"}, "#rrggbb"},
		{"a signed colour", Options{Accent: "#+12345"}, "#rrggbb"},
		{"a base path without slash", Options{BasePath: "auth"}, "base path"},
		{"a base path that ends in a slash", Options{BasePath: "/auth/"}, "base path"},
		{"a base path that is another origin", Options{BasePath: "//evil.test"}, "base path"},
		{"a language there is not", Options{DefaultLanguage: "de"}, "default language"},
		{"a footer link that runs", Options{FooterLinks: []Link{{URL: "javascript:alert(1)"}}}, "footer link"},
		{"a footer link to another origin in disguise", Options{FooterLinks: []Link{{URL: `/\evil.test`}}}, "footer link"},
		{"a logo that is a page", Options{LogoFile: write("logo.html", "<html>")}, "must be an SVG"},
		{"a logo that is not what its name says", Options{LogoFile: write("logo.png", "<html>")}, "not image/png"},
		{"a logo that is too large", Options{LogoFile: write("large.svg", strings.Repeat(" ", maxLogo+1))}, "at most"},
		{"a logo that is not there", Options{LogoFile: filepath.Join(dir, "none.svg")}, "no such file"},
		{"templates that are not there", Options{TemplateDir: filepath.Join(dir, "none")}, "no such file"},
	} {
		if _, err := New(tt.options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		if err := tt.options.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Validate says %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
