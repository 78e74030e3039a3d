package caddymodule

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
)

// refreshAttack finds the code of an entry about refresh tokens (RFC 6749 §6, RFC
// 9700 §4.14).
func refreshAttack(a attack) attackCode { return refreshAttacks[a.ID] }

// family is a chain of refresh tokens of one authorization.
type family struct {
	client         string
	refresh, first string // the refresh token, and an access token of the same answer
	id             string // the ID token
}

// family begins a chain for alice.
func (a *attempt) family(client string, changes ...string) family {
	a.Helper()
	return familyOf(a, client, a.visitor("alice").tokens(client, append([]string{"scope=openid offline_access read"}, changes...)...))
}

func familyOf(a *attempt, client string, e exchange) family {
	a.Helper()
	f := family{client: client, refresh: a.secret(e, "refresh_token"), first: a.secret(e, "access_token")}
	if e.has("id_token") {
		f.id = a.secret(e, "id_token")
	}
	return f
}

// next uses the refresh token and returns the chain from there on.
func (f family) next(a *attempt, changes ...string) family {
	a.Helper()
	return familyOf(a, f.client, a.refresh(f.client, f.refresh, changes...))
}

// dead judges that nothing of a chain is good any more: not the refresh tokens
// that are given, and not the access tokens.
func (a *attempt) dead(links ...family) {
	a.Helper()
	for _, f := range links {
		if e := a.refresh(f.client, f.refresh); e.StatusCode != 400 || e.errorCode() != "invalid_grant" {
			a.Errorf("a refresh token of the chain: %d %s", e.StatusCode, e.errorCode())
		}
		if a.active(f.first) {
			a.Error("an access token of the chain is still active")
		}
	}
}

// refusedAfter judges that a chain which was good is not after a change.
func refusedAfter(change func(*attempt)) attackCode {
	return func(a *attempt) {
		f := a.family("web")
		change(a)
		a.judge(a.refresh(f.client, f.refresh))
	}
}

// mutatedRefreshToken judges that what is like a refresh token is not one, and
// does the chain no harm: a guess must not end it.
func mutatedRefreshToken(mutate func(string) string) attackCode {
	return func(a *attempt) {
		f := a.family("web")
		for range 3 {
			a.judge(a.refresh("web", mutate(f.refresh)))
		}
		f = f.next(a)
		if !a.active(f.first) {
			a.Error("the chain was ended by a guess")
		}
	}
}

var refreshAttacks = map[string]attackCode{
	"IF-003": func(a *attempt) {
		id, secret := a.register(map[string]any{
			"grant_types": []string{"client_credentials", "authorization_code", "refresh_token", exchangeGrant}, "redirect_uris": []string{"https://app.test/cb"},
			"scope": "offline_access openid read", "resources": []string{"https://api.test"},
		})
		own := a.post("/token", clientCredentials("scope=offline_access"), basic(id, secret))
		all := a.post("/token", clientCredentials(), basic(id, secret))
		form := a.exchangeForm("agent")
		form.Set("grant_type", exchangeGrant)
		exchange := func(changes ...string) exchange {
			return a.post("/token", changedForm(form, append(changes, "actor_token="+a.secret(all, "access_token"))...), basic(id, secret))
		}
		a.judge(own, all, exchange("scope=offline_access"), exchange("scope=offline_access read"), exchange())
		for _, e := range a.exchanges {
			if e.has("refresh_token") || strings.Contains(e.body, `"scope":"offline_access`) {
				a.Errorf("answered with %s", e.body)
			}
		}
	},
	"IF-004": func(a *attempt) {
		for _, client := range []string{"web", "spa"} {
			first := a.family(client)
			second := first.next(a)
			a.judge(a.refresh(client, first.refresh))
			a.dead(second, first)
		}
		replayedAfterGrace(a)
	},
	"IF-006": func(a *attempt) {
		first := a.family("web")
		second := first.next(a)
		third := second.next(a)
		a.judge(a.refresh("web", second.refresh))
		a.dead(third, second, first)
	},
	"IF-007": refreshAgainstRevocation,
	"IF-009": killedRotation,
	"IF-010": func(a *attempt) {
		f := a.family("web")
		a.judge(
			a.refresh("web2", f.refresh), a.refresh("spa", f.refresh),
			a.refresh("web2", f.refresh, "client_id=web2"),
		)
		f.next(a)
	},
	"IF-011": func(a *attempt) {
		f := a.family("web")
		a.judge(a.refresh("", f.refresh, "client_id=web"), a.refresh("", f.refresh, "client_id=web", "client_secret="), a.refresh("", f.refresh))
		f.next(a)
	},
	"IF-014": func(a *attempt) {
		f := a.family("web")
		narrow := a.refresh("web", f.refresh, "scope=read")
		a.judge(narrow)
		if scope := claim[string](a, a.secret(narrow, "access_token"), "scope"); scope != "read" {
			a.Errorf("narrowed to %q", scope)
		}
		wide := a.refresh("web", a.secret(narrow, "refresh_token"))
		a.judge(wide)
		for scope := range strings.FieldsSeq(claim[string](a, a.secret(wide, "access_token"), "scope")) {
			if !slices.Contains([]string{"openid", "offline_access", "read"}, scope) {
				a.Errorf("%q was never granted", scope)
			}
		}
		latest := a.secret(wide, "refresh_token")
		for _, scope := range []string{"read write", "admin", "write"} {
			if e := a.refresh("web", latest, "scope="+scope); e.StatusCode != 400 || e.errorCode() != "invalid_scope" {
				a.Errorf("widened to %q: %d %s", scope, e.StatusCode, e.body)
			}
		}
		a.must(a.refresh("web", latest))
	},
	"IF-015": func(a *attempt) {
		f := a.family("web", "resource=https://api.test")
		a.judge(
			a.refresh("web", f.refresh, "resource=https://other.test"), a.refresh("web", f.refresh, "resource=https://api.test", "resource=https://other.test"),
			a.refresh("web", f.refresh, "resource=https://api.test/"),
		)
		f.next(a)
	},
	"IF-016": func(a *attempt) {
		v := a.visitor("alice")
		f := familyOf(a, "web", v.tokens("web", "scope=offline_access read", "resource=https://api.test"))
		personal := familyOf(a, "web", v.tokens("web", "scope=openid offline_access read", "resource=https://api.test"))
		a.reconfigure(strings.Replace(a.text, "resource https://api.test https://other.test", "resource https://other.test", 1))
		defer a.reconfigure(a.text)
		a.judge(a.refresh("web", f.refresh))
		// What is left of the other is who the person is.
		if aud := claim[string](a, personal.next(a).first, "aud"); aud != siteURL {
			a.Errorf("a token for %q", aud)
		}
	},
	"IF-017": func(a *attempt) {
		a.addPerson("leaver", false)
		f := familyOf(a, "web", a.visitor("leaver").tokens("web", "scope=openid offline_access read"))
		a.adminCall("DELETE", "/oauth/users/leaver", nil).want(a.T, 200)
		a.judge(a.refresh("web", f.refresh))
		a.dead(f)
	},
	"IF-018": func(a *attempt) {
		a.addPerson("careful", false)
		f := familyOf(a, "web", a.visitor("careful").tokens("web", "scope=openid offline_access read"))
		a.adminCall("POST", "/oauth/users/careful/set-password", map[string]string{"password": canary + " another staple"}).want(a.T, 200)
		a.judge(a.refresh("web", f.refresh))
		a.dead(f)
	},
	"IF-020": func(a *attempt) {
		defer a.reconfigure(a.text)
		refusedAfter(func(a *attempt) {
			a.reconfigure(strings.Replace(a.text, "scope openid profile email offline_access read write", "scope openid profile email read write", 1))
		})(a)
	},
	"IF-022": func(a *attempt) {
		id, old := a.register(map[string]any{
			"grant_types": []string{"authorization_code", "refresh_token"}, "redirect_uris": []string{"https://app.test/cb"},
			"scope": "openid offline_access read", "resources": []string{"https://api.test"},
		})
		code := a.visitor("alice").code(id, "scope=openid offline_access read")
		e := a.redeem("", code, "client_id="+id, "client_secret="+old)
		refresh := a.secret(e, "refresh_token")
		rotated := a.adminCall("POST", "/oauth/clients/"+id+"/rotate-secret", map[string]any{"overlap_seconds": 0})
		rotated.want(a.T, 200)
		a.judge(a.refresh("", refresh, "client_id="+id, "client_secret="+old))
		a.must(a.refresh("", refresh, "client_id="+id, "client_secret="+rotated.member(a.T, "client_secret")))
	},
	"IF-024": mutatedRefreshToken(func(token string) string { return token[:len(token)-1] }),
	"IF-025": mutatedRefreshToken(func(token string) string { return token + "A" }),
	"IF-029": mutatedRefreshToken(func(token string) string {
		// A handle is the hour it was made in, by which records are ordered, and
		// random bytes: guess those.
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			panic(err)
		}
		_, _ = rand.Read(b[len(b)-16:])
		return base64.RawURLEncoding.EncodeToString(b)
	}),
	"IF-030": func(a *attempt) {
		v := a.visitor("alice")
		f := familyOf(a, "web", v.tokens("web", "scope=openid offline_access read", "nonce=n-0S6_WzA2Mj"))
		e := a.refresh("web", f.refresh)
		a.judge(e)
		before, after := a.claims(f.id), a.claims(a.secret(e, "id_token"))
		for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
			if before[name] != after[name] {
				a.Errorf("%s was %v and is %v", name, before[name], after[name])
			}
		}
		if after["nonce"] != nil && after["nonce"] != before["nonce"] {
			a.Errorf("nonce was %v and is %v", before["nonce"], after["nonce"])
		}
		if before["auth_time"] == nil {
			a.Error("the ID token does not say when alice signed in")
		}
	},
}

// replayedAfterGrace: where a used refresh token may be sent again for a while,
// that is over as soon as its successor was used.
func replayedAfterGrace(a *attempt) {
	a.reconfigure(strings.Replace(a.text, "refresh_token_grace off", "refresh_token_grace 1m", 1))
	defer a.reconfigure(a.text)
	first := a.family("web")
	second := first.next(a)
	if again := first.next(a); again.refresh != second.refresh {
		a.Error("a lost answer brought a second successor")
	}
	third := second.next(a)
	a.judge(a.refresh("web", first.refresh))
	a.dead(third, second, first)
}

// refreshAgainstRevocation: when the revocation was answered with 200 and the
// refresh has returned too, nothing of the chain lives.
func refreshAgainstRevocation(a *attempt) {
	rounds := 100
	if os.Getenv("OAUTH_TEST_ALL") != "" {
		rounds = 1000
	}
	v := a.visitor("alice")
	a.measured["live_after_revoke"] = 0
	for range rounds {
		f := familyOf(a, "web", v.tokens("web", "scope=openid offline_access read"))
		var revoked, refreshed exchange
		var both sync.WaitGroup
		both.Go(func() { revoked = a.post("/revoke", url.Values{"token": {f.refresh}}, basic("web", appSecret)) })
		both.Go(func() { refreshed = a.refresh("web", f.refresh) })
		both.Wait()
		a.must(revoked)
		live := a.active(f.first)
		if refreshed.StatusCode == 200 {
			live = live || a.active(a.secret(refreshed, "access_token")) || a.refresh("web", a.secret(refreshed, "refresh_token")).StatusCode == 200
		}
		if live {
			a.measured["live_after_revoke"]++
		}
	}
	f := a.family("web")
	a.must(a.post("/revoke", url.Values{"token": {f.refresh}}, basic("web", appSecret)))
	a.judge(a.refresh("web", f.refresh))
}

// killedCaddyfile is a server of its own, that can be killed.
const killedCaddyfile = `{
	oauth {
		issuer $GATE {
			scope read "Read"
			default_resource $GATE/api
			refresh_token_grace off
			client web {
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				scope openid offline_access read
			}
		}
	}
}

$GATE {
	oauth_issuer
}
`

// killedRotation: a server is killed while it rotates. What it has answered for is
// so afterwards; what it has not may be so or not, but never both: of a token and
// its successor one is good at most.
func killedRotation(a *attempt) {
	s := newServer(a.T, a.backend.address)
	p := s.serve(killedCaddyfile)
	alice := s.person()
	for range 5 {
		known, answered := refreshTokenOf(s, alice), make(chan string)
		form := func(token string) string {
			return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode()
		}
		go func() {
			defer close(answered)
			for token := known; ; {
				e, err := s.try("POST", "/token", form(token), basic("web", appSecret), formType)
				if err != nil || e.StatusCode != 200 {
					return
				}
				token = e.member(a.T, "refresh_token")
				answered <- token
			}
		}()
		chain := []string{known}
		for token := range answered {
			if chain = append(chain, token); len(chain) == 20 {
				go func() { _ = p.cmd.Process.Kill() }() // in the midst of the next
			}
		}
		<-p.exited
		p = s.serve(killedCaddyfile)
		// The last that was answered for may have been used without an answer: then
		// it is dead and so is the chain, and its owner signs in again.
		live := 0
		last := s.send("POST", "/token", form(chain[len(chain)-1]), basic("web", appSecret), formType)
		if last.StatusCode == 200 {
			live++
		}
		before := s.send("POST", "/token", form(chain[len(chain)-2]), basic("web", appSecret), formType)
		if before.StatusCode == 200 {
			live++
		}
		a.measured["live_successors"] = max(a.measured["live_successors"], float64(live))
		a.judge(exchange{answer: last, path: "/token"}, exchange{answer: before, path: "/token"})
	}
	p.stop()
}

// codeOf is an authorization code of a person at a server of its own.
func codeOf(s *server, p *person, scope string) string {
	s.t.Helper()
	p.open(s.url + "/authorize?" + authorizationRequest("web", "scope="+scope).Encode())
	if strings.Contains(p.page, `value="login"`) {
		p.signIn(s.url)
	}
	if p.at == "" {
		p.press(s.url+"/consent", "allow")
	}
	return p.answer().Get("code")
}

// redeemForm is the token request for such a code.
func redeemForm(code string) string {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier}}.Encode()
}

// refreshTokenOf is a fresh refresh token of a person.
func refreshTokenOf(s *server, p *person) string {
	s.t.Helper()
	e := s.send("POST", "/token", redeemForm(codeOf(s, p, "openid offline_access read")), basic("web", appSecret), formType)
	e.want(s.t, 200)
	return e.member(s.t, "refresh_token")
}
