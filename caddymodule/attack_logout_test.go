package caddymodule

import (
	"net/url"
	"strings"
)

// logoutAttack finds the code of an entry about signing out (OpenID Connect
// RP-Initiated Logout).
func logoutAttack(a attack) attackCode { return logoutAttacks[a.ID] }

// signedInWithHint is a person who has signed in for web, and the ID token that
// web got.
func (a *attempt) signedInWithHint(name string) (v *visitor, hint string) {
	a.Helper()
	v = a.visitor(name)
	return v, a.secret(v.tokens("web"), "id_token")
}

func endSession(parameters ...string) string {
	return "/end-session?" + changedForm(url.Values{}, parameters...).Encode()
}

// signedInStill fails the attempt if the browser has lost its session.
func (v *visitor) signedInStill() {
	v.a.Helper()
	if before := v.shown.path; !v.hasSession() {
		v.a.Errorf("%s: the person is signed out", before)
	}
}

// hasSession tells whether the account page is somebody's.
func (v *visitor) hasSession() bool {
	v.a.Helper()
	return v.sees("/account", "logout")
}

// sees tells whether a page has a button, without going there.
func (v *visitor) sees(page, action string) bool {
	v.a.Helper()
	was := v.shown
	defer func() { v.shown = was }()
	v.do("GET", page, "")
	return v.shows(action)
}

// tampered is a JWS with another header or payload, and the old signature.
func tampered(jws, header, payload string) string {
	parts := strings.Split(jws, ".")
	if header != "" {
		parts[0] = b64u(header)
	}
	if payload != "" {
		parts[1] = b64u(payload)
	}
	return strings.Join(parts, ".")
}

var logoutAttacks = map[string]attackCode{
	"IG-002": func(a *attempt) {
		v, hint := a.signedInWithHint("alice")
		id, _ := a.register(map[string]any{
			"client_id": "elsewhere-" + a.ID, "grant_types": []string{"authorization_code"}, "redirect_uris": []string{"https://elsewhere.test/cb"},
			"post_logout_redirect_uris": []string{"https://elsewhere.test/bye"}, "scope": "openid",
		})
		to := "post_logout_redirect_uri=https://elsewhere.test/bye"
		for _, target := range []string{
			endSession("id_token_hint="+hint, to), endSession("id_token_hint="+hint, "client_id="+id, to), endSession("client_id=web", to), endSession(to),
		} {
			e := v.do("GET", target, "")
			a.judge(e, a.visitor("nobody").do("GET", target, ""))
			if e.StatusCode != 400 {
				a.Errorf("%s: status %d", target, e.StatusCode)
			}
			v.signedInStill()
		}
	},
	"IG-003": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		for _, target := range []string{"/end-session", endSession("client_id=web"), endSession("client_id=web", "post_logout_redirect_uri=https://app.test/bye")} {
			a.judge(v.do("GET", target, "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Referer: https://evil.test/"))
			if !v.shows("logout") {
				a.Errorf("%s: want a question: %s", target, v.shown.body)
			}
			v.signedInStill()
			// A page of another site cannot answer it.
			_, form := v.form("logout")
			form.Set("csrf_token", "")
			v.do("POST", "/end-session", form.Encode(), formType, "Origin: https://evil.test", "Sec-Fetch-Site: cross-site")
			v.signedInStill()
		}
		v.open("/end-session")
		v.press("logout")
		if v.hasSession() {
			a.Error("signed in after the confirmation")
		}
	},
	"IG-004": func(a *attempt) {
		v, hint := a.signedInWithHint("alice")
		subject := claimOf(a, hint, "sub")
		foreign := a.keys.good
		claims := goodClaims(siteURL, map[string]any{"sub": subject, "aud": "web"})
		key := issuerKey(a.T, siteURL)
		for what, bad := range map[string]string{
			"modified":             tampered(hint, "", claims),
			"alg none":             b64u(`{"alg":"none","typ":"JWT"}`) + "." + b64u(claims) + ".",
			"alg none, signed":     tampered(hint, `{"alg":"none","typ":"JWT"}`, ""),
			"another key":          foreign.sign(foreign.header(map[string]any{"typ": "JWT"}), claims),
			"another issuer's":     key.sign(key.header(map[string]any{"typ": "JWT"}), goodClaims("https://good.test", map[string]any{"sub": subject, "aud": "web"})),
			"an access token":      key.sign(key.header(nil), claims),
			"from the future":      key.sign(key.header(map[string]any{"typ": "JWT"}), goodClaims(siteURL, map[string]any{"sub": subject, "aud": "web", "iat": 9_999_999_999})),
			"of a client unknown":  key.sign(key.header(map[string]any{"typ": "JWT"}), goodClaims(siteURL, map[string]any{"sub": subject, "aud": "nobody"})),
			"no token":             "hint",
			"cut":                  hint[:len(hint)-5],
			"of another client":    hint + "&client_id=web2",
			"with another in line": hint + "&id_token_hint=" + hint,
		} {
			target := "/end-session?post_logout_redirect_uri=https%3A%2F%2Fapp.test%2Fbye&id_token_hint=" + bad
			e := v.do("GET", target, "")
			a.judge(e)
			if e.StatusCode != 400 || e.Header.Get("Location") != "" {
				a.Errorf("%s: status %d, Location %q", what, e.StatusCode, e.Header.Get("Location"))
			}
			v.signedInStill()
		}
		// Somebody else's does not sign alice out without a question.
		_, bobs := a.signedInWithHint("bob")
		a.judge(v.do("GET", endSession("id_token_hint="+bobs, "post_logout_redirect_uri=https://app.test/bye"), ""))
		if !v.shows("logout") {
			a.Errorf("want a question: %d %s", v.shown.StatusCode, v.shown.body)
		}
		v.signedInStill()
	},
	"IG-005": func(a *attempt) {
		v, hint := a.signedInWithHint("alice")
		for _, to := range []string{
			"javascript:alert(1)", "data:text/html,<script>1</script>", `https://app.test\@evil.test/bye`, `https:\\evil.test`,
			"https://app.test/bye\r\nSet-Cookie: x=1", "https://app.test/bye\r\nLocation: https://evil.test/", "//evil.test/bye", "https://app.test/bye/../../evil",
		} {
			e := v.do("GET", endSession("id_token_hint="+hint, "post_logout_redirect_uri="+to), "")
			a.judge(e)
			if e.StatusCode != 400 {
				a.Errorf("%q: status %d", to, e.StatusCode)
			}
		}
		v.signedInStill()
		for _, state := range []string{"a\r\nLocation: https://evil.test/", "javascript:alert(1)", `"><script>`, "a&post_logout_redirect_uri=https://evil.test/"} {
			v, hint := a.signedInWithHint("alice")
			e := v.do("GET", endSession("id_token_hint="+hint, "post_logout_redirect_uri=https://app.test/bye", "state="+state), "")
			a.judge(e)
			if want := "https://app.test/bye?" + (url.Values{"state": {state}}).Encode(); len(e.Header.Values("Location")) != 1 || e.Header.Get("Location") != want {
				a.Errorf("Location %q, want %q", e.Header.Values("Location"), want)
			}
		}
	},
	"IG-007": func(a *attempt) {
		id, secret := a.register(map[string]any{
			"client_id": "kept-" + a.ID, "grant_types": []string{"authorization_code", "refresh_token"}, "redirect_uris": []string{"https://app.test/cb"},
			"scope": "openid read", "resources": []string{"https://api.test"}, "refresh_token_always": true,
		})
		v := a.visitor("alice")
		form := url.Values{"grant_type": {"authorization_code"}, "code": {v.code(id)}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier}}
		tokens := a.must(a.post("/token", form, basic(id, secret)))
		access, refresh, hint := a.secret(tokens, "access_token"), a.secret(tokens, "refresh_token"), a.secret(tokens, "id_token")
		offline := a.secret(v.tokens("web", "scope=openid offline_access"), "refresh_token")
		pending, old := v.code("web"), v.cookie("session")
		waiting := v.open("/authorize?" + authorizationRequest("web", "prompt=consent").Encode())
		target, consent := v.form("allow")

		a.judge(v.do("GET", endSession("id_token_hint="+hint), ""))
		stale := "Cookie: __Host-oauth_session=" + old
		if e := a.toIssuer("GET", "/account", "", stale); strings.Contains(e.body, `value="logout"`) {
			a.Error("the old cookie is a session")
		}
		if e := v.submit(target, consent); e.StatusCode == 303 || waiting.StatusCode != 200 {
			a.Errorf("the consent page of the ended session was answered: %q", e.Header.Get("Location"))
		}
		if e := a.redeem("web", pending); e.errorCode() != "invalid_grant" {
			a.Errorf("the old code: %d %s", e.StatusCode, e.body)
		}
		if e := a.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, basic(id, secret)); e.errorCode() != "invalid_grant" {
			a.Errorf("the refresh token: %d %s", e.StatusCode, e.body)
		}
		if a.active(access) {
			a.Error("the access token is active")
		}
		a.must(a.refresh("web", offline)) // was granted for longer than the session
	},
	"IG-008": func(a *attempt) {
		v, hint := a.signedInWithHint("alice")
		target := endSession("id_token_hint=" + hint)
		for _, lines := range [][]string{
			{"Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site"},
			{"Purpose: prefetch"}, {"Sec-Purpose: prefetch"}, {"Sec-Purpose: prefetch;prerender", "Sec-Fetch-Mode: navigate"},
			{"Sec-Fetch-Mode: cors", "Origin: https://evil.test"},
		} {
			a.judge(v.do("GET", target, "", lines...))
			v.signedInStill()
		}
		a.judge(v.do("HEAD", target, ""))
		v.signedInStill()
	},
	"IG-009": func(a *attempt) {
		v, hint := a.signedInWithHint("alice")
		good, evil := "post_logout_redirect_uri=https://app.test/bye", "post_logout_redirect_uri=https://evil.test/bye"
		for _, both := range [][]string{{good, evil}, {evil, good}, {good, good}} {
			target := endSession(append(both, "id_token_hint="+hint)...)
			e := v.do("GET", target, "")
			a.judge(e)
			if e.StatusCode != 400 {
				a.Errorf("%q: status %d", both, e.StatusCode)
			}
			v.signedInStill()
		}
	},
}
