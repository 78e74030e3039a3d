package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestLanguage(t *testing.T) {
	p := newPages(t, Options{DefaultLanguage: "fr"})
	for _, tt := range []struct {
		name, locales, cookie, accept, want string
	}{
		{"nothing: the operator's default", "", "", "", "fr"},
		{"Accept-Language", "", "", "en", "en"},
		{"Accept-Language with weights", "", "", "fr;q=0.2, en;q=0.9", "en"},
		{"a language that is not there, then one that is", "", "", "de, en;q=0.5", "en"},
		{"none that is there: the default", "", "", "ja, ko", "fr"},
		{"a region", "", "", "en-AU", "en"},
		{"the cookie goes before Accept-Language", "", "en", "fr", "en"},
		{"a cookie of another value is nothing", "", "<b>", "en", "en"},
		{"ui_locales goes before the cookie", "fr", "en", "en", "fr"},
		{"ui_locales is a list by preference", "ja fr-CA en", "", "en", "fr"},
		{"ui_locales that cannot be served is no error (OpenID Connect Core 3.1.2.1)", "ja", "", "en", "en"},
		{"ui_locales that is no list", `"><script>`, "", "en", "en"},
		{"a list beyond measure is not read", strings.Repeat("fr ", 400), "", "en", "en"},
		{"a malformed header", "", "", ";;;q=", "fr"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?"+url.Values{"ui_locales": {tt.locales}}.Encode(), nil)
		r.Header.Set("Accept-Language", tt.accept)
		if tt.cookie != "" {
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: tt.cookie})
		}
		if got := p.Language(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLanguageOfForm(t *testing.T) {
	p := newPages(t, Options{})
	r := httptest.NewRequest(http.MethodPost, "/authorize", strings.NewReader("ui_locales=fr"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got := p.Language(r); got != "en" {
		t.Errorf("before the form is parsed: %q; the body must stay unread", got)
	}
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	if got := p.Language(r); got != "fr" {
		t.Errorf("after the form is parsed: %q, want fr", got)
	}
}

func TestLanguageCookie(t *testing.T) {
	for _, tt := range []struct {
		name, target, cookie string
		options              Options
		want                 string
	}{
		{"asked for in the URL", "/?ui_locales=fr", "", Options{HTTPS: true, BasePath: "/auth"}, "oauth_lang=fr; Path=/auth/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax"},
		{"without https", "/?ui_locales=fr", "", Options{}, "oauth_lang=fr; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"},
		{"already kept", "/?ui_locales=fr", "fr", Options{}, ""},
		{"not asked for", "/", "", Options{}, ""},
		{"a language there is not", "/?ui_locales=ja", "", Options{}, ""},
	} {
		r := request("", tt.target, "en")
		if tt.cookie != "" {
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: tt.cookie})
		}
		w := httptest.NewRecorder()
		newPages(t, tt.options).DeviceResult(w, r, 200, DeviceResult{})
		if got := w.Header().Get("Set-Cookie"); got != tt.want {
			t.Errorf("%s: Set-Cookie %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The switch never repeats a path that came with the request, and never leads to another origin.
func TestLanguageSwitch(t *testing.T) {
	p := newPages(t, Options{})
	for _, tt := range []struct{ name, method, target, languageURL, want string }{
		{"a GET: the same query", "GET", "/authorize?client_id=a&state=x%26y&ui_locales=en", "", "?client_id=a&state=x%26y&ui_locales=fr"},
		{"a GET without query", "GET", "/account", "", "?ui_locales=fr"},
		{"a GET keeps repeated parameters", "GET", "/?resource=a&resource=b", "", "?resource=a&resource=b&ui_locales=fr"},
		{"a path that is an origin elsewhere", "GET", "//evil.test/%22%3E", "", "?ui_locales=fr"},
		{"a query that cannot be read", "GET", "/?a=%zz", "", ""},
		{"a POST without a place to go", "POST", "/login", "", ""},
		{"a POST with one", "POST", "/login", "/login?tx=1", "/login?tx=1&ui_locales=fr"},
		{"a POST with another origin", "POST", "/login", "//evil.test/", ""},
		{"a POST with a backslash", "POST", "/login", `/\evil.test/`, ""},
		{"a POST with a scheme", "POST", "/login", "javascript:alert(1)", ""},
	} {
		got := ""
		for _, link := range p.languageLinks(request(tt.method, tt.target, "en"), "en", tt.languageURL) {
			if link.Tag == "fr" {
				got = link.URL
			} else if link.URL != "" {
				t.Errorf("%s: the language that is shown leads to %q", tt.name, link.URL)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
