package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

const maxLogo = 512 << 10

// asset is a file that pages refer to, held in memory.
type asset struct {
	content     []byte
	contentType string
	hash        string // of content, 16 hexadecimal digits
}

func newAsset(content []byte, contentType string) asset {
	sum := sha256.Sum256(content)
	return asset{content: content, contentType: contentType, hash: hex.EncodeToString(sum[:8])}
}

const iconTemplate = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="%s"/>` +
	`<g fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round">` +
	`<circle cx="12" cy="16" r="4.4"/><path d="M16.4 16H25M21.6 16v3.6M25 16v2.6"/></g></svg>`

func (p *Pages) loadAssets() (map[string]asset, error) {
	if p.options.Accent == "" {
		p.options.Accent = defaultAccent
	}
	accent, err := parseColor(p.options.Accent)
	if err != nil {
		return nil, err
	}
	light, _ := parseColor(lightSurface)
	assets := map[string]asset{
		"accent.css": newAsset([]byte(accentStylesheet(accent)), "text/css; charset=utf-8"),
		"icon.svg":   newAsset(fmt.Appendf(nil, iconTemplate, accent.readable(light, color{})), "image/svg+xml"),
	}
	for name, contentType := range map[string]string{
		"style.css":    "text/css; charset=utf-8",
		"form_post.js": "text/javascript; charset=utf-8",
	} {
		content, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		assets[name] = newAsset(content, contentType)
	}
	if p.options.LogoFile != "" {
		if assets["logo"], err = loadLogo(p.options.LogoFile); err != nil {
			return nil, err
		}
	}
	return assets, nil
}

func loadLogo(file string) (asset, error) {
	types := map[string]string{
		".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
		".webp": "image/webp", ".gif": "image/gif",
	}
	want, ok := types[strings.ToLower(filepath.Ext(file))]
	if !ok {
		return asset{}, fmt.Errorf("pages: logo %s: must be an SVG, PNG, JPEG, WebP or GIF file", file)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return asset{}, fmt.Errorf("pages: logo: %w", err)
	}
	if len(content) > maxLogo {
		return asset{}, fmt.Errorf("pages: logo %s: is %d bytes, at most %d are served", file, len(content), maxLogo)
	}
	if got := http.DetectContentType(content); want != "image/svg+xml" && got != want {
		return asset{}, fmt.Errorf("pages: logo %s: holds %s, not %s", file, got, want)
	}
	return newAsset(content, want), nil
}

// assetURL is the path of an asset, with the hash of its content in it: a changed file has another URL.
func (p *Pages) assetURL(name string) (string, error) {
	a, ok := p.assets[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return p.options.BasePath + "/assets/" + a.hash + "/" + name, nil
}

// ServeAsset serves the files that pages refer to, below BasePath + "/assets/". The path may also come without BasePath, as
// behind a handler that strips it. Files under their hash may be kept for ever; under another hash (a page that was open while
// the server was reloaded) or none, the file as it is now is served, to be asked for again next time.
func (p *Pages) ServeAsset(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// An SVG that is opened by itself is a document: nothing in it may run.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")

	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, p.options.BasePath), "/assets/")
	hash, name, ok := strings.Cut(path, "/")
	if !ok {
		hash, name = "", path
	}
	a, ok := p.assets[name]
	if !ok {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "404 Not Found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "405 Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	etag := `"` + a.hash + `"`
	h.Set("ETag", etag)
	h.Set("Cache-Control", "no-cache")
	if hash == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if noneMatch(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.content)))
	if r.Method == http.MethodGet {
		w.Write(a.content)
	}
}

// noneMatch says whether If-None-Match lists the tag, by the weak comparison that RFC 9110 §13.1.2 asks for.
func noneMatch(list, etag string) bool {
	for candidate := range strings.SplitSeq(list, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}
