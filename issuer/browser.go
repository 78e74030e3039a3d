package issuer

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
func (i *Issuer) cookieName(name string) string {
	if base := i.basePath(); base != "" {
		sum := sha256.Sum256([]byte(base))
		name += "_" + hex.EncodeToString(sum[:4])
	}
	if i.secure() {
		return "__Host-oauth_" + name
	}
	return "oauth_" + name
}

func (i *Issuer) secure() bool { return strings.HasPrefix(i.config.URL, "https:") }

// cookie reads a cookie. Two of one name, of which servers and browsers could
// take different ones, count as none.
func (i *Issuer) cookie(r *http.Request, name string) string {
	cookies := r.CookiesNamed(i.cookieName(name))
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// setCookie sets a cookie that ends with the browser; an empty value removes it.
func (i *Issuer) setCookie(w http.ResponseWriter, name, value string) {
	cookie := &http.Cookie{
		Name: i.cookieName(name), Value: value, Path: "/",
		HttpOnly: true, Secure: i.secure(), SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// browser returns what tells this browser from others, giving it a cookie if it
// has none that is ours.
func (i *Issuer) browser(w http.ResponseWriter, r *http.Request) string {
	if id := i.cookie(r, "browser"); len(id) == record.HandleLength {
		return id
	}
	id := record.NewHandle()
	i.setCookie(w, "browser", id)
	return id
}

// csrf is the token of a form, for this browser and this session.
func (i *Issuer) csrf(form, browser string, s *session) string {
	return i.realm.seal.CsrfToken(form, browser, s.id())
}

// errForged: a form was posted that no page of ours in this browser has shown.
var errForged = &pageError{status: http.StatusForbidden, kind: pages.ErrorForgery,
	detail: "The form does not belong to this browser and session, or came from another site."}

// checkForm refuses a form that was not sent by our page in the same browser and
// session. The token decides; where the browser says where the form came from,
// that must fit too.
func (i *Issuer) checkForm(r *http.Request, f oauth.Form, name string, s *session) error {
	browser := i.cookie(r, "browser")
	want := i.csrf(name, browser, s)
	if browser == "" || !hmac.Equal([]byte(f.Get(pages.FieldCSRF)), []byte(want)) || !i.ownOrigin(r) {
		return errForged
	}
	return nil
}

// ownOrigin judges where a POST comes from. Pages are sent with no-referrer, for
// which browsers say "Origin: null"; Sec-Fetch-Site then tells more. Programs that
// are no browsers send neither, and have no cookies to abuse.
func (i *Issuer) ownOrigin(r *http.Request) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	for _, origin := range origins {
		if origin != i.origin() && (origin != "null" || len(sites) == 0) {
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
func (i *Issuer) origin() string { return strings.TrimSuffix(i.config.URL, i.basePath()) }

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
