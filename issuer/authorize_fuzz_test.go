package issuer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// FuzzAuthorizeRequest: whatever is sent to the authorization endpoint, by
// somebody who is signed in and has consented or by nobody, the answer is a page
// or a redirect, not 5xx; it goes nowhere but to a redirect URI that the client is
// registered with (RFC 9700 §2.1), names its issuer (RFC 9207 §2), and holds a code
// only where the request had a challenge (RFC 9700 §2.1.1).
func FuzzAuthorizeRequest(f *testing.F) {
	for _, q := range []url.Values{
		authorization(), authorization("prompt", "none"), authorization("response_mode", "form_post"), authorization("client_id", "native", "redirect_uri", "http://127.0.0.1:4000/cb"),
		authorization("client_id", "native", "redirect_uri", "com.example.app:/cb", "response_mode", "form_post"), authorization("max_age", "0"), authorization("request", "e30.e30."),
		authorization("client_id", "web2", "redirect_uri", "https://app2.test/cb?tenant=1"), authorization("client_id", "gone", "redirect_uri", "https://gone.test/cb"),
		authorization("id_token_hint", "e30.e30.AA", "ui_locales", "fr en", "login_hint", "a\x00b", "claims", "{}", "acr_values", "1"), authorization("resource", fixtureFiles),
	} {
		f.Add(q.Encode(), true)
		f.Add(q.Encode(), false)
	}
	for _, uri := range redirectAttacks {
		f.Add(authorization("redirect_uri", uri).Encode(), true)
	}
	f.Add(authorization().Encode()+"&client_id=web2&redirect_uri=https://evil.test", true)
	f.Add("client_id=web&;&%zz=&redirect_uri=%", false)
	log := new(fuzzedLog)
	fixture := newFixture(f, withPeople, log.configure)
	alice := fixture.signedIn(fixture.person(fixtureProfile))
	alice.code()
	log.Reset()
	undo := &undoneStorage{Storage: fixture.store.Storage}
	fixture.store.Storage = undo
	f.Fuzz(func(t *testing.T, query string, signedIn bool) {
		v := fixture.visitor()
		if v.t = t; signedIn {
			v.cookies = alice.cookies
		}
		r := v.request(http.MethodGet, "/authorize", "")
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		fixture.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("status %d: %.300s", w.Code, w.Body)
		}
		if !strings.Contains(query, canary) {
			checkPage(t, w)
		}
		log.check(t, query)
		checkFuzzedRedirect(t, fixture, query, w)
	})
}

// checkFuzzedRedirect: where an answer may go.
func checkFuzzedRedirect(t *testing.T, f *fixture, query string, w *httptest.ResponseRecorder) {
	t.Helper()
	targets := w.Result().Header.Values("Location")
	for _, form := range readForms(t, w) {
		targets = append(targets, form.action)
	}
	asked, err := url.ParseQuery(query)
	for _, target := range targets {
		if strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//") && !strings.Contains(target, `\`) {
			continue // a page of ours
		}
		if err != nil || len(asked["client_id"]) != 1 || len(asked["redirect_uri"]) > 1 {
			t.Fatalf("%q leads to %q", query, target)
		}
		n := slices.IndexFunc(f.config.Clients, func(c clients.Client) bool { return c.ID == asked.Get("client_id") })
		if n < 0 || f.config.Clients[n].Disabled || !leadsTo(&f.config.Clients[n], target, asked.Get("redirect_uri")) {
			t.Fatalf("%q leads to %q, which is not registered", query, target)
		}
		if values, err := url.ParseQuery(target[strings.IndexByte(target, '?')+1:]); w.Code == http.StatusSeeOther {
			if err != nil || values.Get("iss") != f.URL() || values.Get("state") != asked.Get("state") || len(values["iss"]) != 1 {
				t.Errorf("answer %q to %q: want iss and the state of the request", target, query)
			}
			if values.Has("code") && (asked.Get("response_type") != "code" || len(asked.Get("code_challenge")) != 43 && !f.config.Clients[n].PKCEOptional) {
				t.Errorf("a code for %q", query)
			}
		}
	}
}

// leadsTo tells whether an answer goes to a registered redirect URI: the one that
// was asked for, character for character but for a loopback port.
func leadsTo(client *clients.Client, target, asked string) bool {
	return slices.ContainsFunc(client.RedirectURIs, func(registered string) bool {
		if asked != "" && asked != registered {
			host, path, found := strings.Cut(registered, "1/")
			port, rest := strings.CutPrefix(asked, host+"1:")
			if !found || !strings.HasPrefix(registered, "http://127.0.0.1/") || !rest || strings.Trim(strings.TrimSuffix(port, "/"+path), "0123456789") != "" {
				return false
			}
			registered = asked
		}
		rest, ok := strings.CutPrefix(target, registered)
		return ok && (rest == "" || rest[0] == '?' || rest[0] == '&')
	})
}
