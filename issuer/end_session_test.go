package issuer

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// RP-Initiated Logout §2 and §3: who is asked, who is not, and where it may lead.
func TestEndSession(t *testing.T) {
	f := newFixture(t, withPeople)
	alice, bob := f.person(fixtureProfile), f.person(users.User{Username: "bob"})
	hint := f.redeemed(f.signedIn(alice).code()).IDToken
	bobs := f.redeemed(f.signedIn(bob).code()).IDToken
	access := f.redeemed(f.signedIn(alice).code()).AccessToken
	const bye = "https://app.test/bye"
	for _, test := range []struct {
		must     string
		query    url.Values
		change   fixtureRequest
		signedIn bool // afterwards
		status   int
		location string
	}{
		{"without a hint the person is asked (§2)", url.Values{}, nil, true, 200, ""},
		{"client_id is no proof: asked", url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {bye}}, nil, true, 200, ""},
		{"the right hint signs out", url.Values{"id_token_hint": {hint}}, nil, false, 200, ""},
		{"and leads back", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}, nil, false, 303, bye},
		{"with state", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}, "state": {"a b&c"}}, nil, false, 303, bye + "?state=a+b%26c"},
		{"a registered query is kept", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye + "?from=here"}, "state": {"s"}}, nil, false, 303, bye + "?from=here&state=s"},
		{"another person's hint: asked", url.Values{"id_token_hint": {bobs}}, nil, true, 200, ""},
		{"an unregistered URI MUST NOT be led to (§3)", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://evil.test/"}}, nil, true, 400, ""},
		{"another client's URI", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://app2.test/bye"}}, nil, true, 400, ""},
		{"exact: trailing slash", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye + "/"}}, nil, true, 400, ""},
		{"javascript:", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"javascript:alert(1)"}}, nil, true, 400, ""},
		{"data:", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"data:text/html,x"}}, nil, true, 400, ""},
		{"backslash", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {`https:\\app.test\bye`}}, nil, true, 400, ""},
		{"CRLF in the URI", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye + "\r\nX: y"}}, nil, true, 400, ""},
		{"CRLF in state is encoded", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}, "state": {"a\r\nX: y"}}, nil, false, 303, bye + "?state=a%0D%0AX%3A+y"},
		{"a URI without a client", url.Values{"post_logout_redirect_uri": {bye}}, nil, true, 400, ""},
		{"client_id MUST be the hint's audience (§2)", url.Values{"id_token_hint": {hint}, "client_id": {"web2"}}, nil, true, 400, ""},
		{"an unknown client", url.Values{"client_id": {"nobody"}}, nil, true, 400, ""},
		{"a disabled client", url.Values{"client_id": {"gone"}}, nil, true, 400, ""},
		{"the URI twice", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye, "https://evil.test"}}, nil, true, 400, ""},
		{"a changed hint", url.Values{"id_token_hint": {hint[:len(hint)-2] + "AA"}}, nil, true, 400, ""},
		{"alg none", url.Values{"id_token_hint": {"eyJhbGciOiJub25lIn0." + strings.Split(hint, ".")[1] + "."}}, nil, true, 400, ""},
		{"an access token is no hint", url.Values{"id_token_hint": {access}}, nil, true, 400, ""},
		{"HEAD signs nobody out", url.Values{"id_token_hint": {hint}}, withMethod(http.MethodHead), true, 200, ""},
		{"nor does a prefetch", url.Values{"id_token_hint": {hint}}, withHeader("Sec-Purpose", "prefetch;prerender"), true, 200, ""},
		{"of the older kind", url.Values{"id_token_hint": {hint}}, withHeader("Purpose", "prefetch"), true, 200, ""},
		{"nor an image", url.Values{"id_token_hint": {hint}}, withHeader("Sec-Fetch-Mode", "no-cors"), true, 200, ""},
	} {
		t.Run(test.must, func(t *testing.T) {
			f.t = t
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				if method == http.MethodPost && test.change != nil {
					continue
				}
				v := f.signedIn(alice)
				r := v.request(http.MethodGet, "/end-session?"+test.query.Encode(), "")
				if method == http.MethodPost { // §2: MUST support both
					r = v.request(http.MethodPost, "/end-session", test.query.Encode())
				}
				if test.change != nil {
					test.change(r)
				}
				v.do(r).expectStatus(test.status, test.must).expectLocation(test.location)
				if v.get("/account").has(pages.ActionLogout) != test.signedIn {
					t.Errorf("%s: signed in %v, want %v", method, !test.signedIn, test.signedIn)
				}
			}
		})
	}
}

// The person confirms, or stays; and the page leads only where it was asked to.
func TestEndSessionConfirmation(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	target := "/end-session?" + url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {"https://app.test/bye"}, "state": {"s"}}.Encode()
	online, offline := f.redeemed(v.code()), v.offline()
	session := v.cookies["__Host-oauth_session"]
	v.get(target).press(pages.ActionStay).expectLocation("/account")
	v.get("/account").expectPage(pages.ActionLogout, "stayed")
	form := v.get(target).form(pages.ActionLogout)
	for name, value := range mutations(form.fields.Get(pages.FieldTransaction)) {
		form.fields.Set(pages.FieldTransaction, value)
		v.post("/end-session", form.fields).expectStatus(http.StatusForbidden, "a changed transaction: "+name)
	}
	v.get(target).press(pages.ActionLogout).expectLocation("https://app.test/bye?state=s")
	if v.cookies["__Host-oauth_session"] != "" {
		t.Error("the cookie is still there")
	}
	thief := f.visitor()
	thief.cookies["__Host-oauth_session"] = session
	thief.get("/account").expectPage(pages.ActionLogin, "the session has ended on the server")
	f.judge(online.AccessToken, false, "what was granted for the session")
	f.judge(offline.AccessToken, true, "offline access goes on")
	f.refreshed(offline.RefreshToken)
	v.get(target).expectLocation("https://app.test/bye?state=s") // nobody is signed in: nothing to ask
}

// What a client posts comes from its own site, and browsers send it without our
// cookies: the person is signed in all the same, and must not be told otherwise (§2:
// MUST support POST).
func TestEndSessionFromAnotherSite(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	q := url.Values{"id_token_hint": {f.redeemed(v.code()).IDToken}, "post_logout_redirect_uri": {"https://app.test/bye"}, "state": {"s"}}
	posted := v.post("/end-session", q, func(r *http.Request) {
		r.Header.Del("Cookie")
		r.Header.Set("Origin", "https://app.test")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}).expectStatus(http.StatusSeeOther, "the browser comes back by GET, with the cookies")
	v.get(posted.Header().Get("Location")).expectLocation("https://app.test/bye?state=s")
	v.get("/account").expectPage(pages.ActionLogin, "signed out")
	q.Set("state", strings.Repeat("s", 16<<10))
	v.post("/end-session", q).expectStatus(http.StatusRequestURITooLong, "no longer than an address may be")
}
