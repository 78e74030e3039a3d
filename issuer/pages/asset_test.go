package pages

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeAsset(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPages(t, Options{BasePath: "/auth", LogoFile: logo})
	hashed := func(name string) string {
		path, err := p.assetURL(name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const forever, revalidate = "public, max-age=31536000, immutable", "no-cache"
	for _, tt := range []struct {
		name, method, path, noneMatch string
		status                        int
		contentType, cache            string
	}{
		{"under its hash", "GET", hashed("style.css"), "", 200, "text/css; charset=utf-8", forever},
		{"behind a handler that strips the prefix", "GET", strings.TrimPrefix(hashed("style.css"), "/auth"), "", 200, "text/css; charset=utf-8", forever},
		{"the colours", "GET", hashed("accent.css"), "", 200, "text/css; charset=utf-8", forever},
		{"the script", "GET", hashed("form_post.js"), "", 200, "text/javascript; charset=utf-8", forever},
		{"the logo", "GET", hashed("logo"), "", 200, "image/svg+xml", forever},
		{"HEAD", "HEAD", hashed("style.css"), "", 200, "text/css; charset=utf-8", forever},
		{"under an older hash", "GET", "/auth/assets/0123456789abcdef/style.css", "", 200, "text/css; charset=utf-8", revalidate},
		{"without hash", "GET", "/auth/assets/style.css", "", 200, "text/css; charset=utf-8", revalidate},
		{"unchanged", "GET", hashed("style.css"), `W/"x", "` + p.assets["style.css"].hash + `"`, 304, "", forever},
		{"changed", "GET", hashed("style.css"), `"x"`, 200, "text/css; charset=utf-8", forever},
		{"not there", "GET", "/auth/assets/x/none.css", "", 404, "text/plain; charset=utf-8", "no-store"},
		{"out of the directory", "GET", "/auth/assets/x/../pages.go", "", 404, "text/plain; charset=utf-8", "no-store"},
		{"POST", "POST", hashed("style.css"), "", 405, "text/plain; charset=utf-8", ""},
	} {
		r := httptest.NewRequest(tt.method, "/", nil)
		r.URL.Path = tt.path
		r.Header.Set("If-None-Match", tt.noneMatch)
		w := httptest.NewRecorder()
		p.ServeAsset(w, r)
		h := w.Header()
		if w.Code != tt.status || h.Get("Content-Type") != tt.contentType || h.Get("Cache-Control") != tt.cache {
			t.Errorf("%s: %d, %q, %q; want %d, %q, %q", tt.name, w.Code, h.Get("Content-Type"), h.Get("Cache-Control"), tt.status, tt.contentType, tt.cache)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: an asset opened by itself could act as a page: %v", tt.name, h)
		}
		if (tt.status == http.StatusNotModified || tt.method == "HEAD") && w.Body.Len() > 0 {
			t.Errorf("%s: has a body", tt.name)
		}
	}
}

// Whatever colour the operator chooses, text on it and in it can be read (WCAG 2.2, 1.4.3).
func TestAccentContrast(t *testing.T) {
	style, err := assetFiles.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, surface := range []string{"--page: " + lightSurface, "--surface: " + darkSurface} {
		if !strings.Contains(string(style), surface) {
			t.Errorf("style.css no longer has %s, which accent.go reckons with", surface)
		}
	}
	surfaces := func(hexes ...string) (colors []color) {
		for _, s := range hexes {
			c, err := parseColor(s)
			if err != nil {
				t.Fatal(err)
			}
			colors = append(colors, c)
		}
		return colors
	}
	light, dark := surfaces("#ffffff", lightSurface), surfaces(darkSurface, "#111318", "#14161c", darkInk)
	for _, accent := range []string{"#000000", "#ffffff", "#ffff00", "#ff0000", "#00ff00", "#0000ff", "#808080", "#2756c4", "#FFC0CB"} {
		sheet := accentStylesheet(surfaces(accent)[0])
		var values []color
		for rest := sheet; ; {
			_, after, ok := strings.Cut(rest, "--accent:")
			if !ok {
				break
			}
			values, rest = append(values, surfaces(after[:7])...), after
		}
		for i, against := range [][]color{light, dark} {
			for _, surface := range against {
				if got := contrast(values[i], surface); got < minContrast {
					t.Errorf("accent %s becomes %s: %.2f:1 against %s", accent, values[i], got, surface)
				}
			}
		}
	}
}
