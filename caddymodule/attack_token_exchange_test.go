package caddymodule

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// tokenExchangeAttack finds the code of an entry about token exchange (RFC 8693).
func tokenExchangeAttack(a attack) attackCode {
	if code := tokenExchangeAttacks[a.ID]; code != nil {
		return code
	}
	if described, ok := strings.CutPrefix(a.Title, "subject_token: "); ok {
		described, _, _ = strings.Cut(described, " (CVE-")
		if make := strangeSubjects[described]; make != nil {
			return func(a *attempt) {
				for _, token := range make(a) {
					a.refusedSubject(token)
				}
			}
		}
	}
	return nil
}

const (
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	idTokenType     = "urn:ietf:params:oauth:token-type:id_token"
	jwtTokenType    = "urn:ietf:params:oauth:token-type:jwt"
)

// idpClaims are those of a token of a trusted identity provider for alice, made
// for this issuer, with changes.
func idpClaims(issuer string, changes map[string]any) string {
	return goodClaims(issuer, merge(map[string]any{"aud": "https://as.test", "client_id": "idp-app"}, changes))
}

// idpToken is such a token.
func (a *attempt) idpToken(header, claims map[string]any) string {
	token := a.keys.good.sign(a.keys.good.header(header), idpClaims(goodIssuer, claims))
	a.plant(token)
	return token
}

// exchangeForm is the request that is in order: agent acts for alice, of whom the
// identity provider has told.
func (a *attempt) exchangeForm(client string) url.Values {
	return url.Values{
		"actor_token": {a.ownToken(client)}, "actor_token_type": {accessTokenType},
		"subject_token": {a.idpToken(nil, nil)}, "subject_token_type": {accessTokenType},
		"audience": {"https://api.test"},
	}
}

// exchange sends that request, with changes.
func (a *attempt) exchange(changes ...string) exchange {
	a.Helper()
	return a.ask("agent", exchangeGrant, a.exchangeForm("agent"), changes...)
}

// refusedSubject exchanges a subject token under each type that it could be of. A
// refusal says nothing of keys and claims.
func (a *attempt) refusedSubject(token string) {
	a.Helper()
	a.plant(token)
	for _, kind := range []string{accessTokenType, jwtTokenType} {
		e := a.exchange("subject_token="+token, "subject_token_type="+kind)
		a.judge(e)
		a.judgeDescription(e, "alice", "evil", "good.test", "idp-app", "other-rp", "no-such-key")
	}
}

// strangeSubjects make tokens that nobody may be identified by, by what an entry
// calls them.
var strangeSubjects = map[string]func(*attempt) []string{
	"alg none": func(a *attempt) []string {
		unsigned := b64u(a.keys.good.header(map[string]any{"alg": "none"})) + "." + b64u(idpClaims(goodIssuer, nil)) + "."
		mixed := b64u(a.keys.good.header(map[string]any{"alg": "nOnE", "kid": nil})) + "." + b64u(idpClaims(goodIssuer, nil)) + "."
		return []string{unsigned, mixed, unsigned + b64u("x")}
	},
	"HS256 with IdP public key": func(a *attempt) []string {
		var tokens []string
		for _, secret := range a.publicHalf(a.keys.good) {
			key := attackKey{kidGood, "HS256", secret}
			tokens = append(tokens, key.sign(key.header(nil), idpClaims(goodIssuer, nil)))
		}
		return tokens
	},
	"unknown kid": func(a *attempt) []string {
		stranger := newKey("no-such-key")
		return []string{
			stranger.sign(stranger.header(nil), idpClaims(goodIssuer, nil)),
			stranger.sign(stranger.header(map[string]any{"kid": kidGood}), idpClaims(goodIssuer, nil)),
			stranger.sign(stranger.header(map[string]any{"jku": "https://evil.test/keys", "jwk": stranger.public(), "x5u": "https://evil.test/cert"}), idpClaims(goodIssuer, nil)),
		}
	},
	"exp = 0": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"exp": 0}), a.idpToken(nil, map[string]any{"exp": nil}), a.idpToken(nil, map[string]any{"exp": "9999999999"}),
			a.idpToken(nil, map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()}),
		}
	},
	"aud missing": func(a *attempt) []string {
		return []string{a.idpToken(nil, map[string]any{"aud": nil}), a.idpToken(nil, map[string]any{"aud": []string{}}), a.idpToken(nil, map[string]any{"aud": ""})}
	},
	"aud = another relying party": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"aud": "other-rp"}), a.idpToken(nil, map[string]any{"aud": "https://as.test/"}),
			a.idpToken(nil, map[string]any{"aud": "https://as.test.evil.test"}), a.idpToken(nil, map[string]any{"aud": "https://api.test"}),
		}
	},
	"aud contains ours among 5 others": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"aud": []string{"a", "b", "https://as.test", "c", "d", "e"}}),
			a.idpToken(nil, map[string]any{"aud": []string{"https://as.test", "other-rp"}}),
		}
	},
	"azp/client_id = a client we do not trust": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"client_id": "other-app"}), a.idpToken(nil, map[string]any{"client_id": "other-app", "azp": "idp-app"}),
			a.idpToken(nil, map[string]any{"azp": "other-app"}), a.idpToken(nil, map[string]any{"client_id": nil}),
		}
	},
	"iss = unknown https://evil.test": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"iss": "https://evil.test"}), a.idpToken(nil, map[string]any{"iss": "https://good.test/"}),
			a.idpToken(nil, map[string]any{"iss": nil}), a.idpToken(nil, map[string]any{"iss": []string{goodIssuer}}),
			a.idpToken(map[string]any{"jku": "https://evil.test/keys"}, map[string]any{"iss": "https://evil.test"}),
		}
	},
	"iss of IdP A signed by key of IdP B": func(a *attempt) []string {
		return []string{
			a.keys.next.sign(a.keys.next.header(nil), idpClaims(goodIssuer, nil)),
			a.keys.next.sign(a.keys.next.header(map[string]any{"kid": kidGood}), idpClaims(goodIssuer, nil)),
			a.keys.good.sign(a.keys.good.header(nil), idpClaims("https://other-idp.test", nil)),
			a.keys.good.sign(a.keys.good.header(nil), idpClaims("https://as.test", nil)),
		}
	},
	"JWE encrypted": func(*attempt) []string {
		return []string{strings.Join([]string{b64u(`{"alg":"RSA-OAEP","enc":"A256GCM","kid":"good"}`), b64u("key"), b64u("iv"), b64u("text"), b64u("tag")}, ".")}
	},
	"opaque string": func(*attempt) []string {
		return []string{"opaque-" + canary, strings.Repeat("x", 40), "a.b", "..", "a.b.c"}
	},
	"64 KiB": func(a *attempt) []string {
		// So long that it is just let in, and just not.
		long := a.idpToken(nil, map[string]any{"pad": strings.Repeat("x", 44<<10)})
		if e := a.exchange("subject_token=" + long + strings.Repeat("x", 64<<10-len(long))); e.StatusCode != 413 || e.errorCode() != "invalid_request" {
			a.Errorf("64 KiB: %d %s", e.StatusCode, e.body)
		}
		return []string{long, strings.Repeat("x", 60<<10), a.idpToken(nil, map[string]any{"pad": strings.Repeat("x", 16<<10)})}
	},
	"duplicate sub": func(a *attempt) []string {
		claims := strings.TrimSuffix(idpClaims(goodIssuer, nil), "}")
		sign := func(claims string) string { return a.keys.good.sign(a.keys.good.header(nil), claims) }
		return []string{sign(claims + `,"sub":"bob"}`), sign(`{"sub":"bob",` + claims[1:] + "}"), sign(claims + `,"s\u0075b":"bob"}`), sign(claims + `,"Sub":"bob","sub":"alice"}`)}
	},
	"sub missing": func(a *attempt) []string {
		return []string{
			a.idpToken(nil, map[string]any{"sub": nil}), a.idpToken(nil, map[string]any{"sub": ""}), a.idpToken(nil, map[string]any{"sub": 7}),
			a.idpToken(nil, map[string]any{"sub": "alice\x00"}), a.idpToken(nil, map[string]any{"sub": strings.Repeat("a", 2000)}), a.idpToken(nil, map[string]any{"sub": []string{"alice"}}),
		}
	},
}

// publicHalf is what an issuer publishes of a key, in all the ways in which it
// could be taken for a shared secret.
func (a *attempt) publicHalf(key attackKey) [][]byte {
	a.Helper()
	public := &key.private.(*ecdsa.PrivateKey).PublicKey
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		a.Fatal(err)
	}
	point, err := public.Bytes()
	if err != nil {
		a.Fatal(err)
	}
	return [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), point, point[1:33], []byte(b64u(string(point[1:33])))}
}

var tokenExchangeAttacks = map[string]attackCode{
	"IX-001": delegated,
	"IX-002": func(a *attempt) {
		form := a.exchangeForm("agent")
		a.judge(
			a.ask("agent", exchangeGrant, form, "subject_token="+form.Get("actor_token"), "actor_token="+form.Get("subject_token")),
			a.exchange("subject_token="+a.ownToken("agent")), a.exchange("subject_token="+a.ownToken("svc")),
		)
	},
	"IX-006": func(a *attempt) {
		tokens := a.visitor("alice").tokens("web", "scope=openid offline_access read")
		exchanged := a.secret(a.exchange(), "access_token")
		for _, actor := range []string{tokens.member(a.T, "id_token"), tokens.member(a.T, "refresh_token"), tokens.member(a.T, "access_token"), exchanged} {
			a.judge(a.exchange("actor_token=" + actor))
		}
	},
	"IX-007": func(a *attempt) {
		key := issuerKey(a.T, siteURL)
		forged := func(changes map[string]any) string {
			return key.sign(key.header(nil), goodClaims(siteURL, merge(map[string]any{"sub": "agent", "client_id": "agent"}, changes)))
		}
		if e := a.exchange("actor_token=" + forged(nil)); e.StatusCode != 200 {
			a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
		}
		revoked := a.ownToken("agent")
		a.must(a.post("/revoke", url.Values{"token": {revoked}}, basic("agent", appSecret)))
		id, secret := a.register(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "read"})
		ofGone := a.secret(a.post("/token", clientCredentials(), basic(id, secret)), "access_token")
		a.adminCall("DELETE", "/oauth/clients/"+id, nil).want(a.T, 200)
		a.judge(
			a.exchange("actor_token="+forged(map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()})),
			a.exchange("actor_token="+revoked),
			a.exchange("actor_token="+ofGone),
			a.exchange("actor_token="+forged(map[string]any{"sub": "disabled", "client_id": "disabled"})),
			a.exchange("actor_token="+a.ownToken("agent2")),
		)
	},
	"IX-010": func(a *attempt) {
		a.judge(a.exchange("-actor_token"), a.exchange("actor_token="), a.exchange("-actor_token", "-actor_token_type"), a.exchange("-actor_token_type"))
		id, secret := a.register(map[string]any{"grant_types": []string{"client_credentials", exchangeGrant}, "scope": "read", "impersonation": true})
		form := a.exchangeForm("agent")
		form.Set("grant_type", exchangeGrant)
		a.judge(a.post("/token", changedForm(form, "-actor_token"), basic(id, secret)))
	},
	"IX-044": collidingSubject,
	"IX-045": unverifiedMail,
	"IX-046": func(a *attempt) {
		for _, other := range []any{map[string]any{"sub": "other"}, map[string]any{"sub": "agent2"}, map[string]any{"client_id": "agent2"}, map[string]any{"iss": siteURL}, map[string]any{}, "agent", []any{}} {
			a.judge(a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"may_act": other})))
		}
		a.must(a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"may_act": map[string]any{"sub": "agent"}})))
	},
	"IX-047": actorChain,
	"IX-049": func(a *attempt) {
		a.judge(
			a.exchange("audience=https://admin-api.test"), a.exchange("-audience", "resource=https://admin-api.test"),
			a.exchange("audience=https://api.test/"), a.exchange("audience=HTTPS://API.TEST"), a.exchange("audience="+siteURL), a.exchange("audience=web"),
		)
	},
	"IX-050": func(a *attempt) {
		one := a.exchange("audience=https://api.test", "audience=https://api.test", "resource=https://api.test")
		a.judge(one, a.exchange("audience=a", "audience=b", "resource=https://c.test"),
			a.exchange("audience=https://api.test", "resource=https://c.test"), a.exchange("audience=https://api.test", "audience=https://other.test"))
		for _, e := range a.exchanges {
			if e.StatusCode == 200 && claim[string](a, e.member(a.T, "access_token"), "aud") != "https://api.test" {
				a.Errorf("a token for %v", a.claims(e.member(a.T, "access_token"))["aud"])
			}
		}
		if one.StatusCode != 200 {
			a.Errorf("a repeated audience is legal (RFC 8693 section 2.1): %s", one.body)
		}
	},
	"IX-051": func(a *attempt) {
		for _, resource := range []string{"https://api.test#x", "https://api.test#", "/relative", "api.test", "javascript:alert(1)", "https://api.test\n", "//api.test"} {
			a.judge(a.exchange("-audience", "resource="+resource))
		}
	},
	"IX-052": func(a *attempt) {
		a.judge(
			a.exchange("scope=admin"), // the agent may have it, what the identity provider vouches for may not
			a.exchange("scope=read admin"),
			a.ask("agent2", exchangeGrant, a.exchangeForm("agent2"), "scope=admin"),
			a.exchange("scope=openid"), a.exchange("scope=offline_access"),
			a.exchange("scope=write", "actor_token="+a.ownToken("agent", "scope=read")),
			a.exchange("scope=write", "subject_token="+a.visitor("alice").tokens("web", "scope=read").member(a.T, "access_token")),
		)
		// Without a scope it is what all of them may have.
		e := a.must(a.exchange("actor_token=" + a.ownToken("agent", "scope=read")))
		if scope := e.member(a.T, "scope"); scope != "read" {
			a.Errorf("scope %q, want read", scope)
		}
	},
	"IX-054": func(a *attempt) {
		soon := time.Now().Add(30 * time.Second).Unix()
		e := a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"exp": soon}))
		a.judge(e)
		if expiry := claim[float64](a, a.secret(e, "access_token"), "exp"); int64(expiry) > soon {
			a.Errorf("exp %v, of a subject token that expires at %d", expiry, soon)
		}
	},
	"IX-056": func(a *attempt) {
		a.judge(a.ask("spa", exchangeGrant, a.exchangeForm("agent")), a.ask("dev", exchangeGrant, a.exchangeForm("agent")))
	},
	"IX-058": func(a *attempt) {
		a.judge(a.ask("svc", exchangeGrant, a.exchangeForm("svc")), a.ask("web", exchangeGrant, a.exchangeForm("agent")))
	},
	"IX-059": func(a *attempt) {
		a.fault = true
		a.idp.answer("silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		for range 3 {
			e := a.exchange("subject_token=" + a.keys.good.sign(a.keys.good.header(nil), idpClaims("https://silent.test", nil)))
			a.judge(e)
			if e.took > 3*time.Second {
				a.Errorf("answered after %v", e.took)
			}
		}
	},
	"IX-060": oddIntrospection,
}

// delegated: what the one request that is in order gives, and nothing more.
func delegated(a *attempt) {
	subjectEnds := time.Now().Add(200 * time.Second).Unix()
	e := a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"exp": subjectEnds}))
	a.judge(e)
	claims := a.claims(a.secret(e, "access_token"))
	actor, _ := claims["act"].(map[string]any)
	if actor["sub"] != "agent" || actor["act"] != nil {
		a.Errorf("act %v, want agent alone", claims["act"])
	}
	for name, want := range map[string]any{"sub": goodIssuer + "|alice", "aud": "https://api.test", "client_id": "agent", "iss": siteURL} {
		if claims[name] != want {
			a.Errorf("%s %v, want %v", name, claims[name], want)
		}
	}
	if e.member(a.T, "issued_token_type") != accessTokenType || e.member(a.T, "token_type") != "Bearer" {
		a.Errorf("answered with %s", e.body)
	}
	if e.has("refresh_token") || e.has("id_token") {
		a.Errorf("more than an access token: %s", e.body)
	}
	if expiry, _ := claims["exp"].(float64); int64(expiry) > subjectEnds {
		a.Errorf("exp %v, of a subject token that expires at %d", expiry, subjectEnds)
	}
}

// collidingSubject: whatever another issuer calls its people, it names none of
// ours, and no client.
func collidingSubject(a *attempt) {
	listed := a.adminCall("GET", "/oauth/users/alice", nil)
	local := listed.member(a.T, "sub")
	for _, sub := range []string{"alice", "admin", "svc", "agent", local, "https://other-idp.test|alice", siteURL + "|alice"} {
		e := a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"sub": sub}))
		a.judge(e)
		if got := claim[string](a, a.secret(e, "access_token"), "sub"); got != goodIssuer+"|"+sub {
			a.Errorf("the subject %q became %q", sub, got)
		}
	}
}

// unverifiedMail: an address that nobody has checked makes nobody somebody else;
// where a configuration takes the address for the subject, such a token is
// refused.
func unverifiedMail(a *attempt) {
	unverified := []map[string]any{{"email_verified": false}, {"email_verified": "true"}, {"email_verified": nil}, {"email_verified": 1}}
	for _, claims := range unverified {
		claims["email"] = "alice@corp.test"
		e := a.exchange("subject_token=" + a.idpToken(nil, merge(claims, map[string]any{"sub": "mallory"})))
		a.judge(e)
		if e.StatusCode == 200 {
			if sub := claim[string](a, a.secret(e, "access_token"), "sub"); sub != goodIssuer+"|mallory" {
				a.Errorf("mallory became %q", sub)
			}
		}
	}
	for _, claims := range append(unverified, map[string]any{"email_verified": true}) {
		claims["email"], claims["sub"] = "alice@corp.test", "mallory"
		e := a.exchange("subject_token=" + a.keys.next.sign(a.keys.next.header(nil), idpClaims("https://mail-idp.test", claims)))
		a.judge(e)
		if verified := claims["email_verified"] == true; (e.StatusCode == 200) != verified {
			a.Errorf("by mail, email_verified %v: %d %s", claims["email_verified"], e.StatusCode, e.body)
		}
	}
}

// actorChain: who acted before stays in the chain, as it was; and a chain has an
// end.
func actorChain(a *attempt) {
	for _, depth := range []int{1, 3, 50} {
		var before any
		for n := range depth {
			actor := map[string]any{"sub": "former-" + string(rune('a'+n%26))}
			if before != nil {
				actor["act"] = before
			}
			before = actor
		}
		e := a.exchange("subject_token=" + a.idpToken(nil, map[string]any{"act": before}))
		a.judge(e)
		if (e.StatusCode == 200) != (depth < 4) {
			a.Errorf("after %d actors: %d %s", depth, e.StatusCode, e.body)
		}
		if e.StatusCode != 200 {
			continue
		}
		chain := claim[map[string]any](a, a.secret(e, "access_token"), "act")
		if chain["sub"] != "agent" {
			a.Errorf("the current actor is %v", chain["sub"])
		}
		wanted := before
		for got := chain["act"]; wanted != nil || got != nil; {
			have, _ := got.(map[string]any)
			want, _ := wanted.(map[string]any)
			if have == nil || want == nil || have["sub"] != want["sub"] {
				a.Fatalf("the chain is %v", chain)
			}
			got, wanted = have["act"], want["act"]
		}
	}
}

// oddIntrospection: an answer to introspection that is not what RFC 7662 §2.2 says
// makes no token good.
func oddIntrospection(a *attempt) {
	rest := `,"sub":"alice","aud":"https://as.test","client_id":"idp-app","exp":9999999999}`
	for _, odd := range []string{
		`{"active":"true"` + rest, `{"active":1` + rest, `{"active":[true]` + rest, `{"active":{"active":true}` + rest, `{"Active":true` + rest,
		`[{"active":true` + rest + `]`, `<html>{"active":true` + rest + `</html>`, ``, `null`, `true`, `{"active":true,"active":false` + rest,
		`{"active":null` + rest, `{"sub":"alice"}`, `{"active":true` + rest + `{"active":false}`,
	} {
		a.idp.answer("odd-introspection", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(odd))
		})
		e := a.exchange("subject_token=opaque-" + canary + "-" + b64u(odd)[:min(12, len(b64u(odd)))])
		a.judge(e)
	}
	defer a.idp.answer("odd-introspection", inactiveAnswer)
	a.idp.answer("odd-introspection", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"active":true` + rest))
	})
	if e := a.exchange("subject_token=opaque-" + canary + "-good"); e.StatusCode != 200 {
		a.Errorf("the control is refused: %d %s", e.StatusCode, e.body)
	}
}

// inactiveAnswer is what introspection says of a token that it does not know.
func inactiveAnswer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"active":false}`))
}
