package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// openIDAttack finds the code of an entry about OpenID Connect Core.
func openIDAttack(a attack) attackCode {
	if code := openIDAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^max_age=([^ ]+)$`).FindStringSubmatch(a.Title); found != nil {
		return illegalMaxAge(found[1])
	}
	return nil
}

// jwtPart decodes the header (0) or the payload (1) of a JWT.
func jwtPart(a *attempt, jwt string, part int) (members map[string]any) {
	a.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		a.Fatalf("no JWT: %s", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		a.Fatalf("%v: %s", err, jwt)
	}
	return members
}

// claimOf is a claim of a JWT, as text.
func claimOf(a *attempt, jwt, name string) string {
	a.Helper()
	switch value := jwtPart(a, jwt, 1)[name].(type) {
	case nil:
		return ""
	case float64:
		return fmt.Sprint(int64(value))
	default:
		return fmt.Sprint(value)
	}
}

// ageSession makes the sign-in of a browser that much older than it is, and the
// password that was used with it, as if the time had passed.
func (v *visitor) ageSession(by time.Duration) {
	v.a.Helper()
	sum := sha256.Sum256([]byte(v.cookie("session")))
	v.a.rewrite("session", base64.RawURLEncoding.EncodeToString(sum[:]), time.Now().Add(time.Hour), func(record map[string]any) {
		record["auth_time"] = time.Now().Add(-by).UTC()
	})
	v.a.rewrite("user", " "+v.subject(), time.Time{}, func(record map[string]any) {
		record["password_changed"] = time.Now().Add(-2 * by).UTC()
	})
	if !v.hasSession() {
		v.a.Fatal("the session has ended instead of growing old")
	}
}

// rewrite changes a record in the storage of the running server: the one of that
// kind whose key ends so.
func (a *attempt) rewrite(kind, ending string, expiry time.Time, change func(record map[string]any)) {
	a.Helper()
	err := activeApp(a).vault.opened.Load().store.Update(context.Background(), func(tx storage.Tx) error {
		var at string
		var record map[string]any
		err := tx.List(kind, siteURL+" ", func(key string, value []byte) error {
			if !strings.HasSuffix(key, ending) {
				return nil
			}
			at = key
			return json.Unmarshal(value, &record)
		})
		switch {
		case err != nil:
			return err
		case at == "":
			return errors.New("there is no such record")
		}
		change(record)
		value, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return tx.Put(kind, at, value, expiry)
	})
	if err != nil {
		a.Fatal(err)
	}
}

// leftHalfOfHash is the at_hash of a token (OpenID Connect Core §3.1.3.6).
func leftHalfOfHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return b64u(string(sum[:16]))
}

// subject is the sub of the person who is signed in.
func (v *visitor) subject() string {
	v.a.Helper()
	e := v.a.adminCall("GET", "/oauth/users/"+url.PathEscape(v.name), nil)
	e.want(v.a.T, 200)
	return e.member(v.a.T, "sub")
}

// newPerson adds somebody whom nobody knows yet, for attempts that change who is
// known, or what was agreed to.
func (a *attempt) newPerson() *visitor {
	a.Helper()
	name := "person-" + strings.ToLower(a.ID)
	a.addPerson(name, false)
	return a.visitor(name)
}

// illegalMaxAge: a max_age that is no number of seconds is refused, whether or not
// the sign-in is recent.
func illegalMaxAge(value string) attackCode {
	return func(a *attempt) {
		e := a.requested(authorizationRequest("web", "max_age="+value).Encode())
		a.judge(e)
		a.refusedByRedirect(e)
	}
}

// withClaims: the claims parameter is not supported and not read (OpenID Connect
// Core §5.5): a person is asked as without it, and a code says nothing of it.
func withClaims(claims string) attackCode {
	return func(a *attempt) {
		v := a.visitor("alice").signedIn()
		request := authorizationRequest("web", "claims="+claims, "prompt=consent")
		a.judge(v.do("GET", "/authorize?"+request.Encode(), ""))
		if !v.shows("allow") {
			a.Errorf("want the consent page: %d %s", v.shown.StatusCode, v.shown.body)
		}
		contains(a.T, a.toIssuer("GET", "/.well-known/openid-configuration", "").body, `"claims_parameter_supported":false`)
	}
}

var openIDAttacks = map[string]attackCode{
	"IO-002": func(a *attempt) {
		v := a.newPerson().signedIn()
		for _, changes := range [][]string{{"prompt=none"}, {"prompt=none", "scope=openid"}, {"prompt=none", "response_type=code"}} {
			e := v.do("GET", "/authorize?"+authorizationRequest("web", changes...).Encode(), "")
			a.judge(e)
			a.refusedByRedirect(e)
		}
		v.code("web", "scope=openid") // agreed to this, and to nothing more
		e := v.do("GET", "/authorize?"+authorizationRequest("web", "prompt=none", "scope=openid read").Encode(), "")
		a.judge(e)
		a.refusedByRedirect(e)
	},
	"IO-003": func(a *attempt) {
		for _, prompt := range []string{"none login", "login none", "none consent", "none none", "none select_account"} {
			e := a.requested(authorizationRequest("web", "prompt="+prompt).Encode())
			a.judge(e)
			a.refusedByRedirect(e)
		}
	},
	"IO-006": func(a *attempt) {
		v := a.visitor("alice")
		v.code("web")
		a.judge(v.do("GET", "/authorize?"+authorizationRequest("web", "prompt=consent").Encode(), ""))
		if !v.shows("allow") {
			a.Errorf("want the consent page: %s", v.shown.body)
		}
	},
	"IO-008": func(a *attempt) {
		v := a.visitor("alice")
		v.code("web")
		v.ageSession(time.Minute)
		for _, age := range []string{"0", "1"} {
			e := v.do("GET", "/authorize?"+authorizationRequest("web", "max_age="+age, "prompt=none").Encode(), "")
			if got := e.errorCode(); got != "login_required" {
				a.Errorf("max_age=%s with prompt=none: error %q, want login_required", age, got)
			}
		}
		begun := time.Now().Truncate(time.Second)
		a.judge(v.do("GET", "/authorize?"+authorizationRequest("web", "max_age=1").Encode(), ""))
		if !v.shows("login") {
			a.Fatalf("want the sign-in page: %s", v.shown.body)
		}
		v.signIn()
		idToken := a.secret(a.redeem("web", v.returned().Get("code")), "id_token")
		authTime := jwtPart(a, idToken, 1)["auth_time"].(float64)
		if signedIn := time.Unix(int64(authTime), 0); signedIn.Before(begun) || signedIn.After(time.Now()) {
			a.Errorf("auth_time %v, want that of the new sign-in", signedIn)
		}
	},
	"IO-013": func(a *attempt) {
		_, bobs := a.signedInWithHint("bob")
		e := a.requested(authorizationRequest("web", "id_token_hint="+bobs, "prompt=none").Encode())
		a.judge(e)
		a.refusedByRedirect(e)
		// With a page, it is the sign-in page.
		v := a.visitor("alice")
		v.code("web")
		v.do("GET", "/authorize?"+authorizationRequest("web", "id_token_hint="+bobs).Encode(), "")
		if !v.shows("login") {
			a.Errorf("want the sign-in page: %d %s", v.shown.StatusCode, v.shown.body)
		}
	},
	"IO-015": func(a *attempt) {
		for _, claims := range []string{"not JSON", "{", `{"id_token":1}`, `{"id_token":{"iss":{"value":"https://evil.test"}}}`} {
			withClaims(claims)(a)
		}
	},
	"IO-017": func(a *attempt) {
		// As deep as a request may be long: without the closing half it is no JSON,
		// and with it the request is refused unread.
		opening := strings.Repeat("[", 10_000)
		query := authorizationRequest("web", "prompt=consent").Encode() + "&claims="
		a.judge(a.requested(query + opening))
		closed := query + opening + strings.Repeat("]", 10_000)
		for _, e := range []exchange{a.toIssuer("GET", "/authorize?"+closed, ""), a.toIssuer("POST", "/authorize", closed, formType)} {
			if a.seen(e); e.StatusCode != 414 {
				a.Errorf("status %d, want 414", e.StatusCode)
			}
		}
	},
	"IO-018": withClaims(`{"id_token":{"sub":{"value":"bob"}}}`),
	"IO-021": func(a *attempt) {
		v := a.visitor("alice")
		tokens := v.tokens("web", "nonce=n-0S6_WzA2Mj")
		idToken, access := tokens.member(a.T, "id_token"), tokens.member(a.T, "access_token")
		header, claims := jwtPart(a, idToken, 0), jwtPart(a, idToken, 1)
		if header["alg"] != "ES256" || header["typ"] != "JWT" || header["kid"] == nil {
			a.Errorf("header %v", header)
		}
		if header["typ"] == jwtPart(a, access, 0)["typ"] {
			a.Errorf("ID token and access token have the typ %v both", header["typ"])
		}
		for name, want := range map[string]any{
			"iss": siteURL, "sub": v.subject(), "aud": "web", "nonce": "n-0S6_WzA2Mj", "at_hash": leftHalfOfHash(access),
		} {
			if claims[name] != want {
				a.Errorf("%s is %v, want %v", name, claims[name], want)
			}
		}
		now := float64(time.Now().Unix())
		issued, _ := claims["iat"].(float64)
		expiry, _ := claims["exp"].(float64)
		signedIn, _ := claims["auth_time"].(float64)
		if issued < now-60 || issued > now || expiry <= now || signedIn > now || signedIn < now-60 {
			a.Errorf("iat %v, exp %v, auth_time %v at %v", claims["iat"], claims["exp"], claims["auth_time"], now)
		}
		if e := a.toGate("GET", "/api/a", bearer(idToken)); e.StatusCode != 401 {
			a.Errorf("the ID token opens the API: %d", e.StatusCode)
		}
		a.backend.take()
	},
	"IO-022": func(a *attempt) {
		for _, name := range []string{"iss", "aud", "exp", "sub", "scope", "client_id", "act", "cnf"} {
			e := a.adminCall("POST", "/oauth/users", map[string]any{"username": "reserved-" + name, "password": passwordOf(name), name: "evil"})
			if e.StatusCode != 400 {
				a.Errorf("a person with %s: status %d", name, e.StatusCode)
			}
			mapped := UpstreamConfig{Issuer: "https://idp.test", ClientID: "x", Claims: map[string]string{name: "anything"}}
			if _, err := mapped.upstreamConfig(); err == nil {
				a.Errorf("a provider's claim may be mapped to %s", name)
			}
		}
	},
	"IO-023": func(a *attempt) {
		v := a.newPerson()
		first := v.subject()
		tokens := v.tokens("web", "scope=openid offline_access")
		a.adminCall("DELETE", "/oauth/users/"+v.name, nil).want(a.T, 200)
		second := a.addPerson(v.name, false)
		if first == second {
			a.Errorf("the sub %s is used again", first)
		}
		if v.hasSession() {
			a.Error("the session of the one who is gone is one of the other")
		}
		if e := a.refresh("web", tokens.member(a.T, "refresh_token")); e.errorCode() != "invalid_grant" {
			a.Errorf("the refresh token of the one who is gone: %d %s", e.StatusCode, e.body)
		}
		if got := claimOf(a, a.visitor(v.name).tokens("web").member(a.T, "id_token"), "sub"); got != second {
			a.Errorf("sub %s, want %s", got, second)
		}
	},
	"IO-024": func(a *attempt) {
		e := a.requested(authorizationRequest("web", "registration={}").Encode())
		a.judge(e)
		a.refusedByRedirect(e)
	},
	"IO-025": func(a *attempt) {
		for _, hint := range []string{"alice", `"><script>alert(1)</script>`, "alice\x00", "\u202eecila", strings.Repeat("a", 10_000)} {
			v := a.visitor("alice")
			a.judge(v.do("GET", "/authorize?"+authorizationRequest("web", "login_hint="+hint).Encode(), ""))
			if strings.Contains(v.shown.body, "<script>alert") {
				a.Errorf("a script on the page: %s", v.shown.body)
			}
			if !v.shows("login") || v.hasSession() {
				a.Errorf("%.20q: want the sign-in page: %s", hint, v.shown.body)
			}
		}
		v := a.visitor("alice")
		v.open("/authorize?" + authorizationRequest("web", "login_hint=alice").Encode())
		if _, form := v.form("login"); form.Get("username") != "alice" || form.Get("password") != "" {
			a.Errorf("the form is filled in with %v", form)
		}
	},
}
