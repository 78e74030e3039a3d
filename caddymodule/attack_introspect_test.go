package caddymodule

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// introspectAttack finds the code of an entry about introspection (RFC 7662),
// revocation (RFC 7009) and the userinfo endpoint (OpenID Connect Core §5.3).
func introspectAttack(a attack) attackCode {
	if code := introspectAttacks[a.ID]; code != nil {
		return code
	}
	if rest, ok := strings.CutPrefix(a.Title, "introspect "); ok {
		if tokens := uselessTokens[strings.TrimSuffix(rest, " token")]; tokens != nil {
			return inactive(tokens)
		}
	}
	return nil
}

// uselessTokens are what an API may be shown and must not take, by what an entry
// calls it.
var uselessTokens = map[string]func(*attempt) []string{
	"expired": func(a *attempt) []string {
		key := issuerKey(a.T, siteURL)
		return []string{
			key.sign(key.header(nil), goodClaims(siteURL, map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()})),
			key.sign(key.header(nil), goodClaims(siteURL, map[string]any{"exp": 0})),
		}
	},
	"revoked": func(a *attempt) []string {
		token := a.ownToken("svc")
		a.must(a.post("/revoke", url.Values{"token": {token}}, basic("svc", appSecret)))
		return []string{token}
	},
	"garbage": func(*attempt) []string {
		return []string{"garbage", "..", "a.b.c", strings.Repeat("x", 60<<10), "\x00", "null", "{}"}
	},
	"truncated by 1 char": func(a *attempt) []string {
		token := a.ownToken("svc")
		return []string{token[:len(token)-1], token[1:], token + "A"}
	},
	"ID token":                        func(a *attempt) []string { return []string{a.family("web").id} },
	"code":                            func(a *attempt) []string { return []string{a.visitor("alice").code("web")} },
	"refresh token of another client": func(a *attempt) []string { return []string{a.family("web").refresh} },
}

// inactive: of what is not good, introspection says that and nothing else, whatever
// it is taken for.
func inactive(tokens func(*attempt) []string) attackCode {
	return func(a *attempt) {
		if !a.active(a.ownToken("svc")) {
			a.Fatal("the control is not active")
		}
		for _, token := range tokens(a) {
			for _, hint := range []string{"-token_type_hint", "token_type_hint=access_token", "token_type_hint=refresh_token", "token_type_hint=nonsense"} {
				for _, client := range []string{"rs1", "web"} {
					e := a.post("/introspect", changedForm(url.Values{"token": {token}}, hint), basic(client, appSecret))
					a.judge(e)
					if e.body != `{"active":false}` {
						a.Errorf("%s is told %s", client, e.body)
					}
				}
			}
		}
	}
}

// userinfo asks who a token speaks for.
func (a *attempt) userinfo(token string) exchange {
	a.Helper()
	return a.toIssuer("GET", "/userinfo", "", bearer(token))
}

var introspectAttacks = map[string]attackCode{
	"II-015": func(a *attempt) {
		e := a.toIssuer("GET", "/introspect?token="+a.ownToken("svc"), "", basic("rs1", appSecret))
		a.judge(e)
		if e.StatusCode == 405 && e.Header.Get("Allow") != "POST" {
			a.Errorf("Allow %q", e.Header.Get("Allow"))
		}
	},
	"II-016": guessedTokens,
	"II-019": func(a *attempt) {
		first := a.family("web")
		second := first.next(a)
		third := second.next(a)
		a.judge(a.post("/revoke", url.Values{"token": {third.refresh}}, basic("web", appSecret)))
		a.dead(third, second, first)
		for _, f := range []family{first, second, third} {
			if e := a.toGate("GET", "/api/a", bearer(f.first)); e.StatusCode != 401 {
				a.Errorf("the gate: %d", e.StatusCode)
			}
			if e := a.userinfo(f.first); e.StatusCode != 401 {
				a.Errorf("userinfo: %d", e.StatusCode)
			}
		}
		a.backend.take()
	},
	"II-020": func(a *attempt) {
		token := a.ownToken("svc")
		a.must(a.toGate("GET", "/api/a", bearer(token)))
		a.backend.take()
		a.judge(a.post("/revoke", url.Values{"token": {token}}, basic("svc", appSecret)))
		refused := func(when string) {
			if e := a.toGate("GET", "/api/a", bearer(token)); e.StatusCode != 401 {
				a.Errorf("%s: %d", when, e.StatusCode)
			}
			if got := a.backend.take(); len(got) > 0 {
				a.Errorf("%s: the backend got %q", when, got)
			}
		}
		refused("at once")
		a.reconfigure(a.text + "\n# changed\n") // TestRestart has the restart
		a.backend.take()
		refused("after a reload")
		a.reconfigure(a.text)
	},
	"II-023": func(a *attempt) {
		// For the endpoint, and without the scope; and as the issuer gives it.
		key := issuerKey(a.T, siteURL)
		a.judge(a.userinfo(key.sign(key.header(nil), goodClaims(siteURL, map[string]any{"aud": siteURL, "scope": "read", "sub": a.subject("alice")}))))
	},
	"II-024": func(a *attempt) {
		f := a.family("web", "resource=https://api.test")
		key := issuerKey(a.T, siteURL)
		otherAudience := key.sign(key.header(nil), goodClaims(siteURL, map[string]any{"scope": "openid read", "sub": a.subject("alice")}))
		for _, token := range []string{f.id, a.ownToken("svc"), a.secret(a.exchange(), "access_token"), otherAudience, f.refresh} {
			a.judge(a.userinfo(token))
		}
		a.must(a.userinfo(f.first))
	},
	"II-025": func(a *attempt) {
		token := a.family("web").first
		a.judge(
			a.toIssuer("GET", "/userinfo?access_token="+token, ""), a.post("/userinfo?access_token="+token, url.Values{}),
			a.toIssuer("GET", "/userinfo?access_token="+token, "", "Authorization: Bearer x"),
		)
	},
	"II-028": func(a *attempt) {
		const name = `<img src=x onerror=alert(1)>"'&` + "\u2028"
		a.adminCall("POST", "/oauth/users", map[string]any{"username": "html", "password": passwordOf("html"), "name": name, "email": "html@corp.test"}).want(a.T, 200)
		v := a.visitor("html")
		for scope, want := range map[string][]string{
			"openid": {"sub"}, "openid profile": {"name", "preferred_username", "sub", "updated_at"}, "openid email": {"email", "email_verified", "sub"},
		} {
			e := a.userinfo(v.tokens("web", "scope="+scope).member(a.T, "access_token"))
			a.judge(e)
			if e.Header.Get("Content-Type") != "application/json" || e.Header.Get("X-Content-Type-Options") != "nosniff" || strings.ContainsAny(e.body, "<>") {
				a.Errorf("%s, %s: %s", e.Header.Get("Content-Type"), e.Header.Get("X-Content-Type-Options"), e.body)
			}
			var claims map[string]any
			if err := json.Unmarshal([]byte(e.body), &claims); err != nil {
				a.Fatal(err)
			}
			for got := range claims {
				if !slices.Contains(want, got) {
					a.Errorf("the scope %s gives the claim %s", scope, got)
				}
			}
			if scope == "openid profile" && claims["name"] != name {
				a.Errorf("name %q", claims["name"])
			}
		}
		a.adminCall("DELETE", "/oauth/users/html", nil).want(a.T, 200)
	},
	"II-029": func(a *attempt) {
		a.addPerson("deleted", false)
		token := a.visitor("deleted").tokens("web").member(a.T, "access_token")
		a.must(a.userinfo(token))
		a.adminCall("DELETE", "/oauth/users/deleted", nil).want(a.T, 200)
		a.judge(a.userinfo(token))
		// Not even a token that was not taken back brings back who is gone.
		key := issuerKey(a.T, siteURL)
		a.judge(a.userinfo(key.sign(key.header(nil), goodClaims(siteURL, map[string]any{"aud": siteURL, "scope": "openid", "sub": a.claims(token)["sub"], "iat": time.Now().Add(time.Second).Unix()}))))
	},
}

// subject is the sub of somebody of the fixture.
func (a *attempt) subject(name string) string {
	a.Helper()
	return a.adminCall("GET", "/oauth/users/"+name, nil).member(a.T, "sub")
}

// guessedTokens: a hundred thousand guesses cost the last as much as the first.
func guessedTokens(a *attempt) {
	const batches, size = 100, 1000
	key := newKey("no-such-key")
	var times []time.Duration
	for n := range batches {
		var text strings.Builder
		for m := range size {
			guess := rand.Text()
			if m%10 == 0 {
				guess = key.sign(`{"alg":"ES256","typ":"at+jwt","kid":"`+guess+`"}`, `{"iss":"https://as.test","jti":"`+guess+`"}`)
			}
			form := url.Values{"token": {guess}}.Encode()
			text.WriteString(requestHead("POST", "/introspect", "Host: as.test", formType, basic("rs1", appSecret), contentLength(form)) + form)
		}
		begun := time.Now()
		answers := a.wire(a.issuer, text.String(), size)
		times = append(times, time.Since(begun))
		if len(answers) != size {
			a.Fatalf("%d answers of %d", len(answers), size)
		}
		for _, e := range answers {
			if e.body != `{"active":false}` && e.StatusCode != 429 {
				a.Fatalf("a guess is told %d %s", e.StatusCode, e.body)
			}
		}
		if n == 0 || n == batches-1 {
			a.judge(answers...)
		}
	}
	early, late := slices.Min(times[:batches/4]), slices.Min(times[batches*3/4:])
	if late > 3*early {
		a.Errorf("%d guesses took %v at first and %v at last", size, early, late)
	}
}
