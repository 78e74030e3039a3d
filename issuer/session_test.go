package issuer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// A cookie that was planted before the sign-in is worth nothing after it.
func TestSessionFixation(t *testing.T) {
	f := newFixture(t, withPeople)
	f.personWithPassword(fixtureProfile, alicePassword)
	v := f.visitor()
	planted := record.NewHandle()
	v.cookies["__Host-oauth_session"] = planted
	v.get("/account").press(pages.ActionLogin, "username", "alice", "password", alicePassword).expectStatus(http.StatusSeeOther, "sign in")
	first := v.cookies["__Host-oauth_session"]
	if first == planted || first == "" {
		t.Fatal("the session's cookie MUST be new at sign-in")
	}
	thief := f.visitor()
	thief.cookies["__Host-oauth_session"] = planted
	thief.get("/account").expectPage(pages.ActionLogin, "the planted cookie")

	again := v.get("/login")
	again.press(pages.ActionLogin, "username", "alice", "password", alicePassword)
	if v.cookies["__Host-oauth_session"] == first {
		t.Error("the cookie MUST be new at every sign-in")
	}
	thief.cookies["__Host-oauth_session"] = first
	thief.get("/account").expectPage(pages.ActionLogin, "the cookie of before")
}

// What is no session's cookie is nobody's, and no error.
func TestMalformedCookies(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	good := v.cookies["__Host-oauth_session"]
	signedIn := func(header ...string) bool {
		r := httptest.NewRequest(http.MethodGet, "/account", nil)
		r.Header["Cookie"] = header
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		checkPage(t, w)
		if w.Code != http.StatusOK {
			t.Errorf("%q: status %d", header, w.Code)
		}
		return strings.Contains(w.Body.String(), `value="`+pages.ActionLogout)
	}
	name := "__Host-oauth_session="
	if !signedIn(name + good) {
		t.Fatal("the good one")
	}
	for attack, header := range map[string][]string{
		"two of one name":               {name + good + "; " + name + "x"},
		"two of one name, reversed":     {name + "x; " + name + good},
		"two of one name, both good":    {name + good + "; " + name + good},
		"in two headers":                {name + good, name + record.NewHandle()},
		"another name":                  {"oauth_session=" + good},
		"another case":                  {"__host-oauth_session=" + good},
		"empty":                         {name},
		"long":                          {name + strings.Repeat("A", 8<<10)},
		"no value":                      {"__Host-oauth_session"},
		"separators":                    {";;;===,,,"},
		"not UTF-8":                     {name + "\xff\xfe"},
		"percent-encoded":               {name + strings.ReplaceAll(good, good[:1], "%41")},
		"JSON":                          {name + `{"sub":"alice"}`},
		"SQL":                           {name + "' OR 1=1 --"},
		"a path":                        {name + "../../etc/passwd"},
		"a random one of the same form": {name + record.NewHandle()},
	} {
		if signedIn(header...) {
			t.Errorf("%s: signed in", attack)
		}
	}
	for attack, changed := range mutations(good) {
		if changed != good && strings.Trim(changed, " \n\x00=") != good && signedIn(name+changed) {
			t.Errorf("%s: signed in", attack)
		}
	}
}

// Cookie names: __Host- on https; the issuer's path in the name, because issuers
// with a path share a host; no Secure on http, where browsers would drop it.
func TestCookieNames(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://auth.test": "__Host-oauth_session", "https://auth.test/a": "__Host-oauth_session_", "http://127.0.0.1:8080": "oauth_session",
		"http://localhost/b": "oauth_session_",
	} {
		f := newFixture(t, withPeople, func(c *Config) { c.URL = issuer })
		v := f.signedIn(f.person(fixtureProfile))
		found := ""
		for name := range v.cookies {
			if strings.Contains(name, "session") {
				found = name
			}
		}
		if !strings.HasPrefix(found, want) || strings.HasSuffix(want, "_") != (len(found) > len("__Host-oauth_session")) && strings.HasPrefix(issuer, "https") {
			t.Errorf("%s: cookie %q, want %q", issuer, found, want)
		}
		v.get(f.path("/account")).expectPage(pages.ActionLogout, "signed in at "+issuer)
	}
}

// A session ends by itself, and with its person.
func TestSessionEnds(t *testing.T) {
	for name, end := range map[string]func(*fixture, *users.User){
		"after its lifetime":          func(*fixture, *users.User) { time.Sleep(DefaultSessionLifetime) },
		"when the person is removed":  func(f *fixture, u *users.User) { must(f.t, f.RemoveUser(f.t.Context(), u.ID)) },
		"when the person is disabled": func(f *fixture, u *users.User) { f.change(u, func(u *users.User) { u.Disabled = true }) },
		"with a new password":         func(f *fixture, u *users.User) { must(f.t, f.SetPassword(f.t.Context(), u.ID, bobPassword)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, withPeople)
				alice := f.person(fixtureProfile)
				v := f.signedIn(alice)
				consent := v.authorize(authorization())
				v.get("/account").expectPage(pages.ActionLogout, "signed in")
				end(f, alice)
				v.get("/account").expectPage(pages.ActionLogin, name)
				if p := consent.press(pages.ActionAllow); strings.Contains(p.Header().Get("Location"), "code=") {
					t.Error("a page of before gives a code")
				}
			})
		})
	}
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	f.restart()
	v.get("/account").expectPage(pages.ActionLogout, "a session survives a restart")
}

// TestSignInAgain: what was granted in a session goes over to the one that takes
// its place, so that signing out ends it (OpenID Connect RP-Initiated Logout §6);
// and who signs in as somebody else has signed out.
func TestSignInAgain(t *testing.T) {
	for _, test := range []struct {
		name  string
		other bool
	}{{"the same person", false}, {"another person", true}} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, withPeople)
			alice := f.person(fixtureProfile)
			v := f.signedIn(alice)
			tokens := f.redeemed(v.code())
			next := alice
			if test.other {
				next = f.person(users.User{Username: "bob"})
			}
			v.signIn(next)
			f.judge(tokens.AccessToken, !test.other, "after signing in again as "+test.name)
			if test.other {
				return
			}
			v.get("/account").press(pages.ActionLogout)
			f.judge(tokens.AccessToken, false, "after signing out")
		})
	}
}
