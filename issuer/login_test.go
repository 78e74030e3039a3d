package issuer

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// The whole way: password, consent, code, tokens; then single sign-on.
func TestLogin(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	v := f.visitor()
	login := v.authorize(authorization("login_hint", "alice")).expectPage(pages.ActionLogin, "nobody is signed in")
	if got := login.form(pages.ActionLogin).fields.Get("username"); got != "alice" {
		t.Errorf("login_hint is not filled in: %q", got)
	}
	before := v.cookies["__Host-oauth_browser"]
	p := login.press(pages.ActionLogin, "username", "alice", "password", alicePassword).expectStatus(http.StatusSeeOther, "on to the consent page")
	if !strings.HasPrefix(p.Header().Get("Location"), "/consent?transaction=") {
		t.Errorf("Location %q", p.Header().Get("Location"))
	}
	if v.cookies["__Host-oauth_browser"] == before {
		t.Error("the browser's cookie MUST change at sign-in")
	}
	consent := p.follow().expectPage(pages.ActionAllow, "the person is asked")
	for _, text := range []string{"Client web", "app.test", "read", fixtureAPI} {
		if !strings.Contains(consent.Body.String(), text) {
			t.Errorf("the consent page does not say %q", text)
		}
	}
	f.redeemed(consent.press(pages.ActionAllow).answerTo("https://app.test/cb").Get("code"))
	p = v.authorize(authorization("client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1"))
	p.expectPage(pages.ActionAllow, "single sign-on: another client asks for consent and not for the password")
	if n := len(f.log.event("login")); n != 1 {
		t.Errorf("%d events login", n)
	}
}

// whatVaries is sealed or random, and differs between any two pages.
var whatVaries = regexp.MustCompile(`value="[\w-]{20,}"|transaction=[\w-]+`)

// A wrong password and an unknown name are the same answer, byte for byte, and so
// are those who are disabled or have no password (OWASP: no user enumeration).
func TestLoginTellsNothing(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	f.person(users.User{Username: "nopassword"})
	disabled := f.personWithPassword(users.User{Username: "disabled"}, bobPassword)
	f.change(disabled, func(u *users.User) { u.Disabled = true })
	answers := make(map[string]string)
	for name, password := range map[string]string{
		"alice": "canary wrong", "nobody": "canary wrong", "nopassword": "canary wrong", "disabled": bobPassword,
	} {
		v := f.visitor()
		p := v.authorize(authorization()).press(pages.ActionLogin, "username", name, "password", password)
		p.expectStatus(http.StatusUnauthorized, "wrong name or password")
		typed := strings.ReplaceAll(p.Body.String(), `value="`+name+`"`, `value="what was typed"`)
		answers[name] = whatVaries.ReplaceAllString(typed, "")
		if v.cookies["__Host-oauth_session"] != "" {
			t.Errorf("%s: a session", name)
		}
	}
	for name, text := range answers {
		if text != answers["nobody"] {
			t.Errorf("%s: the page differs from that of an unknown name:\n%s\n%s", name, text, answers["nobody"])
		}
	}
}

// What a refused sign-in reads does not depend on whether somebody has the name
// either, whether or not the attempt was looked at: a database that is a millisecond
// away would tell.
func TestLoginReadsAlike(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	f.person(users.User{Username: "nopassword"})
	disabled := f.personWithPassword(users.User{Username: "disabled"}, bobPassword)
	f.change(disabled, func(u *users.User) { u.Disabled = true })
	reads := &readStorage{Storage: f.store.Storage}
	f.store.Storage = reads
	f.restart()
	for _, status := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		read := make(map[string][]string)
		for name, password := range map[string]string{
			"alice": "canary wrong", "nobody": "canary wrong", "nopassword": "canary wrong", "disabled": bobPassword,
		} {
			login := f.visitor().authorize(authorization())
			for answer := 0; answer != status; {
				reads.kinds = nil
				answer = login.press(pages.ActionLogin, "username", name, "password", password).Code
			}
			read[name] = reads.kinds
		}
		for name, kinds := range read {
			if !slices.Equal(kinds, read["nobody"]) || !slices.Contains(kinds, "username") {
				t.Errorf("status %d: %s costs the reads %v, a name that nobody has %v", status, name, kinds, read["nobody"])
			}
		}
	}
}

// readStorage keeps the kinds of the records that are asked for one by one, whether
// or not they are found.
type readStorage struct {
	storage.Storage
	kinds []string
}

func (s *readStorage) View(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.View(ctx, func(tx storage.Tx) error { return fn(readTx{tx, s}) })
}

type readTx struct {
	storage.Tx
	of *readStorage
}

func (tx readTx) Get(kind, key string) ([]byte, error) {
	tx.of.kinds = append(tx.of.kinds, kind)
	return tx.Tx.Get(kind, key)
}

func TestLoginRefusals(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	v := f.visitor()
	login := v.authorize(authorization())
	for _, test := range []struct {
		must, username, password string
		status                   int
	}{
		{"wrong password", "alice", "canary wrong", 401},
		{"no password", "alice", "", 401},
		{"a password that is too long is not hashed", "alice", strings.Repeat("p", 4096), 401},
		{"and one that does not fit the form", "alice", strings.Repeat("p", 1<<20), 413},
		{"a zero byte", "alice\x00", alicePassword, 401},
		{"the subject is no name", "u:x", alicePassword, 401},
	} {
		login.press(pages.ActionLogin, "username", test.username, "password", test.password).expectStatus(test.status, test.must)
	}
	query := url.Values{"username": {"alice"}, "password": {alicePassword}, "action": {"login"},
		"transaction": {login.form(pages.ActionLogin).fields.Get("transaction")}, "csrf_token": {login.form(pages.ActionLogin).fields.Get("csrf_token")}}
	p := v.do(v.request(http.MethodGet, "/login", ""), func(r *http.Request) {
		r.URL.RawQuery = "username=alice&password=x&transaction=" + query.Get("transaction")
	})
	p.expectPage(pages.ActionLogin, "credentials in a URL sign nobody in")
	if v.cookies["__Host-oauth_session"] != "" {
		t.Error("a session")
	}
}

// Too many attempts: 429 with Retry-After, and after the wait the right password
// is good again (no lock that a stranger could cause for ever).
func TestLoginThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		f.personWithPassword(fixtureProfile, alicePassword)
		v := f.visitor()
		login := v.authorize(authorization())
		var p *shown
		for n := 0; n < 20; n++ {
			if p = login.press(pages.ActionLogin, "username", "alice", "password", "canary wrong"); p.Code != 401 {
				break
			}
		}
		p.expectStatus(http.StatusTooManyRequests, "attempts are slowed down")
		if p.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After (RFC 6585 section 4)")
		}
		time.Sleep(10 * time.Minute)
		login.press(pages.ActionLogin, "username", "alice", "password", alicePassword).expectStatus(http.StatusSeeOther, "after the wait")
	})
}

// A transaction is for the browser that began it, for one hour and one code.
func TestTransactionIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withPeople)
		alice := f.person(fixtureProfile)
		attacker, victim := f.signedIn(f.person(users.User{Username: "mallory"})), f.signedIn(alice)
		lured := attacker.authorize(authorization()).form(pages.ActionAllow)
		transaction := lured.fields.Get(pages.FieldTransaction)
		for _, page := range []string{"/login", "/consent"} {
			victim.get(page+"?transaction="+url.QueryEscape(transaction)).expectStatus(http.StatusBadRequest, "begun in another browser (RFC 9700 4.7)")
		}
		victim.post("/consent", lured.fields).expectStatus(http.StatusBadRequest, "begun in another browser")
		victim.post("/login", lured.fields).expectStatus(http.StatusBadRequest, "begun in another browser")

		page := victim.authorize(authorization())
		page.press(pages.ActionAllow).answerTo("https://app.test/cb")
		page.press(pages.ActionAllow).expectStatus(http.StatusBadRequest, "a form is answered once")
		page.press(pages.ActionDeny).expectStatus(http.StatusBadRequest, "a form is answered once")

		page = victim.authorize(authorization("prompt", "consent"))
		page.press(pages.ActionDeny).answerTo("https://app.test/cb")
		page.press(pages.ActionAllow).expectStatus(http.StatusBadRequest, "a denial is an answer")

		old := victim.authorize(authorization("prompt", "consent"))
		time.Sleep(time.Hour + time.Second)
		old.press(pages.ActionAllow).expectStatus(http.StatusBadRequest, "older than an hour")

		changed := victim.authorize(authorization("prompt", "consent"))
		form := changed.form(pages.ActionAllow)
		for name, value := range mutations(form.fields.Get(pages.FieldTransaction)) {
			form.fields.Set(pages.FieldTransaction, value)
			victim.post("/consent", form.fields).expectStatus(http.StatusBadRequest, "a changed transaction: "+name)
		}
		changed.press(pages.ActionAllow).answerTo("https://app.test/cb")
	})
}

// What a cross-site page can send, and what a form needs (RFC 9700 §4.7, OWASP
// CSRF), on each of the forms.
func TestCSRF(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.personWithPassword(fixtureProfile, alicePassword)
	other := f.signedIn(f.person(users.User{Username: "bob"}))
	otherToken := other.get("/account").form(pages.ActionLogout).fields.Get(pages.FieldCSRF)

	pagesOf := map[string]struct {
		signedIn bool
		show     func(v *visitor) *shown
		button   string
		fields   []string
	}{
		"login":       {false, func(v *visitor) *shown { return v.authorize(authorization()) }, pages.ActionLogin, []string{"username", "alice", "password", alicePassword}},
		"consent":     {true, func(v *visitor) *shown { return v.authorize(authorization("prompt", "consent")) }, pages.ActionAllow, nil},
		"account":     {true, func(v *visitor) *shown { return v.get("/account") }, pages.ActionLogout, nil},
		"end-session": {true, func(v *visitor) *shown { return v.get("/end-session") }, pages.ActionLogout, nil},
	}
	attacks := map[string]func(v *visitor, form url.Values, r *http.Request){
		"no token":                func(_ *visitor, form url.Values, _ *http.Request) { form.Set(pages.FieldCSRF, "") },
		"another session's token": func(_ *visitor, form url.Values, _ *http.Request) { form.Set(pages.FieldCSRF, otherToken) },
		"a token that was changed": func(_ *visitor, form url.Values, _ *http.Request) {
			form.Set(pages.FieldCSRF, form.Get(pages.FieldCSRF)+"A")
		},
		"no browser cookie":   func(_ *visitor, _ url.Values, r *http.Request) { dropCookie(r, "__Host-oauth_browser") },
		"two browser cookies": func(_ *visitor, _ url.Values, r *http.Request) { r.Header.Add("Cookie", "__Host-oauth_browser=x") },
		"text/plain":          func(_ *visitor, _ url.Values, r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"multipart": func(_ *visitor, _ url.Values, r *http.Request) {
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		},
		"Origin of another site":     func(_ *visitor, _ url.Values, r *http.Request) { setOrigin(r, "https://evil.test", "") },
		"Origin null":                func(_ *visitor, _ url.Values, r *http.Request) { setOrigin(r, "null", "") },
		"Sec-Fetch-Site: cross-site": func(_ *visitor, _ url.Values, r *http.Request) { setOrigin(r, "", "cross-site") },
		"Sec-Fetch-Site: same-site":  func(_ *visitor, _ url.Values, r *http.Request) { setOrigin(r, "", "same-site") },
	}
	for name, page := range pagesOf {
		for attack, change := range attacks {
			t.Run(name+" "+attack, func(t *testing.T) {
				f.t = t
				v := f.visitor()
				if page.signedIn {
					v.signIn(alice)
				}
				form := page.show(v).form(page.button, page.fields...)
				r := v.request(http.MethodPost, form.action, "")
				change(v, form.fields, r)
				forged := v.request(http.MethodPost, form.action, form.fields.Encode())
				forged.Header = r.Header
				writes := f.countWrites()
				p := v.do(forged)
				if p.Code != 403 && p.Code != 400 && p.Code != 415 && !(name == "end-session" && attack == "no token" && p.has(pages.ActionLogout)) {
					t.Errorf("status %d, want a refusal (RFC 6749 section 10.12: MUST)", p.Code)
				}
				if writes() != 0 || strings.Contains(p.Header().Get("Location"), "code=") {
					t.Error("a forged form changed something")
				}
				if page.signedIn && !v.get("/account").has(pages.ActionLogout) {
					t.Error("a forged form signed the person out")
				}
			})
		}
	}
	f.t = t
	v := f.signedIn(alice)
	consent := v.authorize(authorization("prompt", "consent")).form(pages.ActionAllow)
	account := v.get("/account").form(pages.ActionLogout)
	swapped := url.Values{}
	for name := range consent.fields {
		swapped.Set(name, consent.fields.Get(name))
	}
	swapped.Set(pages.FieldCSRF, account.fields.Get(pages.FieldCSRF))
	v.post("/consent", swapped).expectStatus(http.StatusForbidden, "the token of another form")
	v.post("/consent?"+consent.fields.Encode(), nil).expectStatus(http.StatusBadRequest, "fields in the query only")
	v.get("/consent?"+consent.fields.Encode()).expectPage(pages.ActionAllow, "GET decides nothing")
	v.get("/account?"+account.fields.Encode()).expectPage(pages.ActionLogout, "GET changes nothing")
	f.visitor().post("/account", account.fields).expectStatus(http.StatusForbidden, "a form without a session")
	v.post("/consent", consent.fields, func(r *http.Request) { setOrigin(r, fixtureURL, "") }).answerTo("https://app.test/cb")
}

func setOrigin(r *http.Request, origin, site string) {
	r.Header.Del("Origin")
	r.Header.Del("Sec-Fetch-Site")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
}

func dropCookie(r *http.Request, name string) {
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	for _, c := range cookies {
		if c.Name != name {
			r.AddCookie(c)
		}
	}
}
