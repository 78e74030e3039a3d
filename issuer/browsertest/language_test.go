package browsertest

import "testing"

// The browser's language, all the way.
func TestFrench(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	b := open(t)
	b.prefer("fr-CH, fr;q=0.9, en;q=0.5")
	b.visit(app.request()).heading("Connexion").inLanguage("fr")
	b.login(ada, "pas le mot de passe").inLanguage("fr")
	if got := b.text("[role=alert]"); got != "Le nom d’utilisateur ou le mot de passe est incorrect." {
		t.Errorf("announced: %q", got)
	}
	b.login(ada, adaPassword).inLanguage("fr")
	if got := b.text(`button[value="allow"]`); got != "Autoriser" {
		t.Errorf("the button says %q", got)
	}
	b.action("allow").await("#answer")
	app.redeem()
	b.visit(server.URL() + "/account").heading("Votre compte").inLanguage("fr")
}

// The switch holds on the pages that follow, and keeps the transaction; on the answer to a form too.
func TestLanguageSwitch(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request()).inLanguage("en")
	b.press("a[hreflang=fr]").inLanguage("fr").heading("Connexion")
	b.login(ada, "pas le mot de passe").answered(401).inLanguage("fr")
	b.press("a[hreflang=en]").inLanguage("en").heading("Sign in")
	b.press("a[hreflang=fr]").inLanguage("fr")
	b.login(ada, adaPassword).inLanguage("fr")
	b.press("a[hreflang=en]").inLanguage("en").action("allow").await("#answer")
	app.redeem()
}

// OpenID Connect Core §3.1.2.1: ui_locales.
func TestUILocales(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	b := open(t).visit(app.request("ui_locales", "de-CH fr-CH en")).inLanguage("fr")
	b.login(ada, adaPassword).inLanguage("fr").action("allow").await("#answer")
	app.redeem()
}

// inLanguage fails unless the page says that it is in that language.
func (b *tab) inLanguage(want string) *tab {
	b.t.Helper()
	if got := evaluate[string](b, "document.documentElement.lang"); got != want {
		b.t.Errorf("the page is in %q, want %q: %s", got, want, b.describe())
	}
	return b
}
