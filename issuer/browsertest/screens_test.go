package browsertest

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

var screens = flag.String("screens", "", "write a picture of every page to this directory")

// view is a way to look at a page.
type view struct {
	name          string
	width, height int64
	scheme        string
}

// views: the first two have between them every size and every scheme; pictures are taken of all.
var views = []view{
	{"phone-light", 390, 844, "light"},
	{"desktop-dark", 1280, 900, "dark"},
	{"phone-dark", 390, 844, "dark"},
	{"desktop-light", 1280, 900, "light"},
}

// Every page holds up on a phone and on a desktop, light and dark, in each language: axe finds nothing, and nothing is wider
// than the window. With -screens there is a picture of each to look at.
func TestScreens(t *testing.T) {
	for _, language := range []string{"en", "fr"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			b.prefer(language)
			b.walk(func(page string) { b.look(page + "." + language) })
		})
	}
}

// walk goes from page to page.
func (b *tab) walk(see func(page string)) {
	b.t.Helper()
	server, app := newIssuer(b.t, func(c *issuer.Config) {
		c.Upstreams = []upstream.Config{{ID: "other", Name: "Other Company", Issuer: "http://127.0.0.1:9", ClientID: "gate"}}
		c.Scopes = append(c.Scopes, issuer.ScopeConfig{Name: "meters:install"})
	})
	b.visit(app.request())
	see("01-login")
	b.login(ada, "not the password")
	see("02-login-wrong-password")
	b.action("upstream")
	see("03-login-provider-unavailable")
	b.login(ada, adaPassword)
	see("04-consent")
	b.action("allow").await("#answer")
	app.redeem()
	app.oauth.Scopes = append(app.oauth.Scopes, "write", "email", "offline_access")
	b.visit(app.request())
	see("05-consent-more")
	b.action("allow").await("#answer")
	app.redeem()

	other := open(b.t)
	other.visit(server.URL()+"/account").login(ada, adaPassword)
	b.visit(server.URL() + "/account")
	see("06-account")
	b.fill("#password", "not the password").fill("#new-password", "the engine weaves").action("change-password")
	see("07-account-wrong-password")
	b.visit(server.URL() + "/account").action("end-other-sessions")
	see("08-account-session-ended")
	b.visit(server.URL() + "/account").action("disconnect")
	see("09-account-disconnected")

	b.withoutScript().visit(app.request("response_mode", "form_post", "prompt", "none"))
	see("10-form-post")

	b.visit(server.URL() + "/authorize?" + url.Values{"client_id": {"nobody"}, "response_type": {"code"}}.Encode())
	see("11-error-client")
	b.visit(server.URL() + "/authorize?" + url.Values{"client_id": {app.oauth.ClientID}, "redirect_uri": {"https://evil.test/"}}.Encode())
	see("12-error-redirect")
	b.visit(server.URL() + "/login?transaction=stale")
	see("13-error-expired")

	b.visit(server.URL() + "/end-session?client_id=" + app.oauth.ClientID)
	see("14-logout")
	b.action("logout")
	see("15-logged-out")
}

// look judges the page in every view, and takes its pictures.
func (b *tab) look(page string) {
	b.t.Helper()
	seen := views
	if *screens == "" {
		seen = views[:2]
	}
	var changes []func()
	for _, view := range seen {
		changes = append(changes, func() { b.show(page, view) })
	}
	for n, problems := range b.examine(visualRules, changes...) {
		for _, problem := range problems {
			b.t.Errorf("%s, %s: axe: %s", page, views[n].name, problem)
		}
	}
}

// show looks at the page in a view.
func (b *tab) show(page string, v view) {
	b.t.Helper()
	run(b, "resize", chromedp.EmulateViewport(v.width, v.height))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if got := evaluate[int64](b, "document.documentElement.scrollWidth"); got > v.width {
		b.t.Errorf("%s, %s: the page is %d pixels wide in a window of %d", page, v.name, got, v.width)
	}
	if *screens == "" {
		return
	}
	picture := run(b, "picture", chromedp.FullScreenshot(100))
	if err := os.MkdirAll(*screens, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screens, page+"."+v.name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
