package signin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// Every browser that comes to a page gets a cookie that says nothing about
// anybody. What one browser began, no other can finish: forms and unfinished
// sign-ins are bound to it.

// cookieName is the full name of one of the issuer's cookies. On https it has the
// __Host- prefix, so that no other host, nor the network, can set it (RFC 6265bis
// §4.1.3.2). Issuers with a path share a host, so the path is part of the name.
func (h *Handler) cookieName(name string) string {
	if base := h.config.BasePath; base != "" {
		sum := sha256.Sum256([]byte(base))
		name += "_" + hex.EncodeToString(sum[:4])
	}
	if h.secure() {
		return "__Host-oauth_" + name
	}
	return "oauth_" + name
}

// cookie reads a cookie. Two of one name, of which servers and browsers could
// take different ones, count as none.
func (h *Handler) cookie(r *http.Request, name string) string {
	cookies := r.CookiesNamed(h.cookieName(name))
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// setCookie sets a cookie that ends with the browser; an empty value removes it.
func (h *Handler) setCookie(w http.ResponseWriter, name, value string) {
	cookie := &http.Cookie{ //nolint:gosec // G124: Secure wherever the issuer is on https
		Name: h.cookieName(name), Value: value, Path: "/",
		HttpOnly: true, Secure: h.secure(), SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// Browser returns what tells this browser from others, giving it a cookie if it
// has none that is ours.
func (h *Handler) Browser(w http.ResponseWriter, r *http.Request) string {
	if id := h.cookie(r, "browser"); len(id) == record.HandleLength {
		return id
	}
	id := record.NewHandle()
	h.setCookie(w, "browser", id)
	return id
}

// CSRF is the token of a form, for this browser and this session.
func (h *Handler) CSRF(form, browser string, s *Session) string {
	return h.config.Sealer.CSRFToken(form, browser, s.id())
}

// ErrForged: a form was posted that no page of ours in this browser has shown.
var ErrForged = &PageError{Status: http.StatusForbidden, Kind: pages.ErrorForgery,
	Detail: "The form does not belong to this browser and session, or came from another site."}

// CheckForm refuses a form that was not sent by our page in the same browser and
// session. The token decides; where the browser says where the form came from,
// that must fit too.
func (h *Handler) CheckForm(r *http.Request, f oauth.Form, name string, s *Session) error {
	browser := h.cookie(r, "browser")
	want := h.CSRF(name, browser, s)
	if browser == "" || !hmac.Equal([]byte(f.Get(pages.FieldCSRF)), []byte(want)) || !h.ownOrigin(r) {
		return ErrForged
	}
	return nil
}

// ownOrigin judges where a POST comes from. Pages are sent with no-referrer, for
// which browsers say "Origin: null"; Sec-Fetch-Site then tells more. Programs that
// are no browsers send neither, and have no cookies to abuse.
func (h *Handler) ownOrigin(r *http.Request) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	for _, origin := range origins {
		if origin != h.origin() && (origin != "null" || len(sites) == 0) {
			return false
		}
	}
	for _, site := range sites {
		if site != "same-origin" {
			return false
		}
	}
	return true
}

// origin is that of the issuer's URL.
func (h *Handler) origin() string { return strings.TrimSuffix(h.config.URL, h.config.BasePath) }

// browserName is a short name of a browser, for the person's own list.
func browserName(userAgent string) string {
	browser, system := "", ""
	for _, known := range []struct{ token, name string }{ // the first that fits: browsers name each other
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	} {
		if strings.Contains(userAgent, known.token) {
			browser = known.name
			break
		}
	}
	for _, known := range []struct{ token, name string }{
		{"Android", "Android"}, {"iPhone", "iOS"}, {"iPad", "iPadOS"}, {"Windows", "Windows"}, {"Mac OS", "macOS"}, {"Linux", "Linux"},
	} {
		if strings.Contains(userAgent, known.token) {
			system = known.name
			break
		}
	}
	return strings.Trim(browser+", "+system, ", ")
}
