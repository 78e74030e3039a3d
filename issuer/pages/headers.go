package pages

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// setHeaders is the one place where the headers of a page are decided.
func (p *Pages) setHeaders(h http.Header, lang string, pg page) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang)
	h.Set("Content-Security-Policy", contentSecurityPolicy(pg))
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors (RFC 9700 §4.16)
	h.Set("X-Content-Type-Options", "nosniff")
	// URLs here carry codes and state (RFC 9700 §4.2.4). Under this policy browsers send "Origin: null" with our own forms too
	// (Fetch §3.2): whoever reads the forms tells them from foreign ones by Sec-Fetch-Site and the CSRF token.
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Add("Vary", "Accept-Language, Cookie")
	if !p.options.AllowPopups {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
}

func contentSecurityPolicy(pg page) string {
	var formAction []string
	if !pg.formLeaves {
		formAction = append(formAction, "'self'")
	}
	for _, target := range pg.formTargets {
		if source := formSource(target); source != "" && !slices.Contains(formAction, source) {
			formAction = append(formAction, source)
		}
	}
	if len(formAction) == 0 {
		formAction = []string{"'none'"}
	}
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; "
	if pg.formLeaves {
		policy += "script-src 'self'; "
	}
	return policy + "base-uri 'none'; frame-ancestors 'none'; form-action " + strings.Join(formAction, " ")
}

var sourceScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// formSource is the source expression (CSP Level 3 §2.3.1) that lets a form's answer redirect to target: its scheme. One that
// would run in this page, or is no URL, gives "".
//
// The origin would not do. Chromium holds form-action against every redirect that follows a form, those of other servers too:
// an identity provider sends the browser to a client, and a client sends it from its callback to wherever the person wanted to
// be, all in the wake of our form. Only they know where that is.
func formSource(target string) string {
	u, err := url.Parse(target)
	if err != nil || !sourceScheme.MatchString(u.Scheme) {
		return ""
	}
	switch u.Scheme {
	case "javascript", "data", "vbscript", "blob", "file", "about", "filesystem":
		return ""
	}
	return u.Scheme + ":"
}

// webURL returns s where it is an http or https URL, else "": what a client says about itself becomes a link only through it.
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return s
}

// localPath returns s where it is a path on this origin, else "". Browsers read a backslash as a slash, and drop tabs and line
// ends, so "/\evil.test" and "/\t/evil.test" are other origins to them.
func localPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsFunc(s, notInPath) {
		return ""
	}
	if u, err := url.Parse(s); err != nil || u.Host != "" || u.Scheme != "" {
		return ""
	}
	return s
}

func notInPath(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }

func footerURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.Scheme == "mailto" && u.Opaque != "" {
		return s
	}
	if web := webURL(s); web != "" {
		return web
	}
	return localPath(s)
}
