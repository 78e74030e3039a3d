package pages

import (
	"net/http/httptest"
	"testing"
)

func TestHeaders(t *testing.T) {
	p := newPages(t, Options{})
	for _, e := range examples() {
		w := httptest.NewRecorder()
		show(t, p, w, request(e.method, "/page", "fr"), e.data)
		for name, want := range map[string]string{
			"Content-Type":               "text/html; charset=utf-8",
			"Content-Language":           "fr",
			"X-Frame-Options":            "DENY",
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "no-referrer",
			"Cache-Control":              "no-store",
			"Vary":                       "Accept-Language, Cookie",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Permissions-Policy":         "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
			"Set-Cookie":                 "",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", e.name, name, got, want)
			}
		}
	}
}

func TestAllowPopups(t *testing.T) {
	w := httptest.NewRecorder()
	newPages(t, Options{AllowPopups: true}).DeviceResult(w, request("", "/", "en"), 200, DeviceResult{})
	if got := w.Header().Get("Cross-Origin-Opener-Policy"); got != "" {
		t.Errorf("Cross-Origin-Opener-Policy: %q, want none", got)
	}
}

func TestContentSecurityPolicy(t *testing.T) {
	const (
		before = "default-src 'none'; style-src 'self'; img-src 'self'; "
		after  = "base-uri 'none'; frame-ancestors 'none'; form-action "
	)
	p := newPages(t, Options{})
	for _, tt := range []struct {
		name string
		data any
		want string
	}{
		{"no client", Account{}, before + after + "'self'"},
		{"a client, which may send people on to another origin", Login{FormTargets: []string{"https://app.example.com/cb?a=b"}}, before + after + "'self' https:"},
		{"a client on a loopback port", Login{FormTargets: []string{"http://127.0.0.1:8123/cb"}}, before + after + "'self' http:"},
		{"several, each once", Consent{FormTargets: []string{"https://a.test/", "http://127.0.0.1/", "https://b.test"}}, before + after + "'self' https: http:"},
		{"a private-use scheme (RFC 8252 7.1)", Consent{FormTargets: []string{"com.example.app:/cb"}}, before + after + "'self' com.example.app:"},
		{"IPv6, which the grammar of sources lacks", Consent{FormTargets: []string{"http://[::1]:80/cb"}}, before + after + "'self' http:"},
		{"a scheme alone", Consent{FormTargets: []string{"https:"}}, before + after + "'self' https:"},
		{"a target that runs", Consent{FormTargets: []string{"javascript:alert(1)", "data:text/html,x"}}, before + after + "'self'"},
		{"a wildcard", Consent{FormTargets: []string{"https://*.test/"}}, before + after + "'self' https:"},
		{"another directive", Logout{FormTargets: []string{"https://a.test;script-src *", "x y", "https://a.test,b"}}, before + after + "'self' https:"},
		{"form_post: its script, and nothing of its own", FormPost{RedirectURI: "https://app.example.com/cb"},
			before + "script-src 'self'; " + after + "https:"},
	} {
		w := httptest.NewRecorder()
		show(t, p, w, request("", "/", "en"), tt.data)
		if got := w.Header().Get("Content-Security-Policy"); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/login?tx=1": true, "/a/../b": true, "/@evil.test": true, "/%09/evil.test": true,
		"": false, "login": false, "//evil.test": false, `/\evil.test`: false, "/\t/evil.test": false, "/\n/evil.test": false,
		"https://evil.test": false, "javascript:alert(1)": false, " /": false, "/%zz": false,
	} {
		if got := localPath(path) != ""; got != want {
			t.Errorf("localPath(%q): accepted %t, want %t", path, got, want)
		}
	}
}
