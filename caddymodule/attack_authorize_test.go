package caddymodule

import (
	"net/url"
	"regexp"
	"strings"
)

// authorizeAttack finds the code of an entry about the authorization endpoint (RFC
// 6749 §3.1, §4.1).
func authorizeAttack(a attack) attackCode {
	if code := authorizeAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range []struct {
		title *regexp.Regexp
		code  func(value string) attackCode
	}{
		{regexp.MustCompile(`^duplicate (\w+)$`), repeatedParameter},
		{regexp.MustCompile(`^response_type=(.*)$`), otherResponseType},
		{regexp.MustCompile(`^response_mode=(.*)$`), otherResponseMode},
		{regexp.MustCompile(`^scope=(.*)$`), oddScope},
	} {
		if found := pattern.title.FindStringSubmatch(a.Title); found != nil {
			return pattern.code(found[1])
		}
	}
	return nil
}

// requested makes an authorization request as a person who has agreed to it
// before, so that whatever is not refused gives a code at once.
func (a *attempt) requested(query string, lines ...string) exchange {
	a.Helper()
	v := a.visitor("alice")
	v.code("web")
	return v.do("GET", "/authorize?"+query, "", lines...)
}

// refusedByRedirect: a refusal goes to the client in the query, with the state and
// with iss (RFC 6749 §4.1.2.1, RFC 9207 §2), and brings no code.
func (a *attempt) refusedByRedirect(e exchange) {
	a.Helper()
	location := e.Header.Get("Location")
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, "https://app.test/cb?") || u.Fragment != "" {
		a.Errorf("%s: sent to %q, want the client", e.path, location)
		return
	}
	returned := u.Query()
	if returned.Get("state") != "state-0123456789" || returned.Get("iss") != siteURL || returned.Get("code") != "" || returned.Get("error") == "" {
		a.Errorf("%s: the client is told %v, want an error with state and iss", e.path, returned)
	}
}

// repeatedParameter: neither of two values is used (RFC 6749 §3.1).
func repeatedParameter(name string) attackCode {
	others := map[string]string{
		"client_id": "web2", "response_type": "token", "code_challenge": challengeOf("other"), "code_challenge_method": "plain",
	}
	return func(a *attempt) {
		good := authorizationRequest("web")
		other := name + "=" + others[name]
		if others[name] == "" {
			a.Fatalf("no other value of %s", name)
		}
		for _, query := range []string{
			good.Encode() + "&" + other, other + "&" + good.Encode(), good.Encode() + "&" + name + "=" + url.QueryEscape(good.Get(name)),
		} {
			a.judge(a.requested(query))
			a.judge(a.toIssuer("POST", "/authorize", query, formType)) // by way of a GET
		}
	}
}

func otherResponseType(value string) attackCode {
	change := "response_type=" + decoded(value)
	if value == "(missing)" {
		change = "-response_type"
	}
	return func(a *attempt) {
		e := a.requested(authorizationRequest("web", change).Encode())
		a.judge(e)
		a.refusedByRedirect(e)
		want := "unsupported_response_type"
		if change == "-response_type" {
			want = "invalid_request"
		}
		if got := e.errorCode(); got != want {
			a.Errorf("error %q, want %q", got, want)
		}
	}
}

// otherResponseMode: what the metadata does not list is refused in the query. Of
// those it lists, a form is the only other one; it goes to the redirect URI and
// needs no inline script.
func otherResponseMode(mode string) attackCode {
	return func(a *attempt) {
		e := a.requested(authorizationRequest("web", "response_mode="+mode).Encode())
		a.judge(e)
		advertised := a.toIssuer("GET", "/.well-known/openid-configuration", "")
		if mode != "form_post" {
			a.refusedByRedirect(e)
			if strings.Contains(advertised.body, `"`+mode+`"`) {
				a.Errorf("%s is advertised", mode)
			}
			return
		}
		contains(a.T, advertised.body, `"response_modes_supported":["query","form_post"]`)
		contains(a.T, e.body, `action="https://app.test/cb"`, `name="code"`, `name="iss" value="https://as.test"`)
		if policy := e.Header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || strings.Contains(e.body, "<script>") {
			a.Errorf("Content-Security-Policy %q: %s", policy, e.body)
		}
	}
}

// oddScope: what may not be granted is refused, or left out, and then the consent
// page shows what remains.
func oddScope(value string) attackCode {
	value = wireBytes(strings.ReplaceAll(value, `\"`, `"`))
	return func(a *attempt) {
		v := a.visitor("alice").signedIn()
		for _, scope := range []string{value, value + " read", "read " + value} {
			e := v.do("GET", "/authorize?"+authorizationRequest("web", "scope="+scope, "prompt=consent").Encode(), "")
			a.judge(e)
			if e.StatusCode != 200 {
				a.refusedByRedirect(e)
				continue
			}
			if strings.Contains(e.body, value) && strings.ContainsAny(value, `"<>\`) || strings.Contains(e.body, "<code>OPENID") {
				a.Errorf("the consent page has %q: %s", value, e.body)
			}
		}
	}
}

// pushedRequest is a request URI as a pushed authorization request would have it
// (RFC 9126 §2.2).
const pushedRequest = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"

var authorizeAttacks = map[string]attackCode{
	"IA-010": func(a *attempt) {
		v := a.visitor("alice")
		a.judge(v.do("GET", "/authorize?"+authorizationRequest("web", "foo=bar").Encode(), ""))
		if !v.shows("login") {
			a.Errorf("want the sign-in page: %s", v.shown.body)
		}
	},
	"IA-028": oddScope(`"><script>`),
	"IA-034": func(a *attempt) {
		oddScope("openid openid")(a)
		v := a.visitor("alice")
		if got := v.tokens("web", "scope=openid openid").member(a.T, "scope"); got != "openid" {
			a.Errorf("scope %q, want openid once", got)
		}
	},
	"IA-036": func(a *attempt) {
		// What was agreed to before is not enough: a person is asked. No other entry
		// agrees to anything for this one.
		v := a.visitor("admin")
		v.code("web")
		e := v.do("GET", "/authorize?"+authorizationRequest("web", "scope=openid read offline_access", "prompt=none").Encode(), "")
		a.refusedByRedirect(e)
		a.judge(v.do("GET", "/authorize?"+authorizationRequest("web", "scope=openid read offline_access").Encode(), ""))
		if !v.shows("allow") {
			a.Errorf("want the consent page: %s", v.shown.body)
		}
		// Whoever does not ask for it does not get it.
		if tokens := a.visitor("admin").tokens("web"); tokens.has("refresh_token") {
			a.Errorf("a refresh token without offline_access")
		}
	},
	"IA-038": func(a *attempt) {
		a.hostile = " +%2B&=#;'\"\u00e9%00 " + strings.Repeat("\u00e9+", 2<<10)[:4<<10]
		change := "state=" + a.hostile
		a.judge(a.requested(authorizationRequest("web", change).Encode()))
		a.judge(a.requested(authorizationRequest("web", change, "scope=nothing").Encode()))
		a.judge(a.toIssuer("GET", "/authorize?"+authorizationRequest("web", change, "prompt=none").Encode(), ""))
		v := a.visitor("bob").signedIn()
		v.open("/authorize?" + authorizationRequest("web", change, "prompt=consent").Encode())
		target, form := v.form("deny")
		a.judge(v.submit(target, form))
	},
	"IA-039": func(a *attempt) {
		for _, change := range []string{"", "scope=nothing", "prompt=none"} {
			query := authorizationRequest("web", "-state", change).Encode() + "&state=a%0d%0aSet-Cookie:%20x=1"
			e := a.requested(query)
			a.judge(e)
			for _, cookie := range e.Cookies() {
				if cookie.Name == "x" {
					a.Errorf("a cookie was set: %v", cookie)
				}
			}
			if !strings.Contains(e.Header.Get("Location"), "state=a%0D%0ASet-Cookie%3A+x%3D1") {
				a.Errorf("Location %q, want the state encoded again", e.Header.Get("Location"))
			}
		}
	},
	"IA-041": func(a *attempt) {
		v := a.visitor("alice")
		v.code("web")
		request := func(changes ...string) string {
			return "/authorize?" + authorizationRequest("web", changes...).Encode()
		}
		answers := []exchange{v.do("GET", request(), ""), v.do("GET", request("scope=nothing"), "")}
		v.open(request("prompt=consent"))
		target, form := v.form("deny")
		answers = append(answers, v.submit(target, form), a.visitor("bob").do("GET", request("prompt=none"), ""))
		for n, want := range []string{"", "invalid_scope", "access_denied", "login_required"} {
			a.judge(answers[n])
			location, err := url.Parse(answers[n].Header.Get("Location"))
			if err != nil || location.Query().Get("iss") != siteURL || len(location.Query()["iss"]) != 1 {
				a.Errorf("%q: Location %q, want iss once", want, answers[n].Header.Get("Location"))
			}
			if got := answers[n].errorCode(); got != want {
				a.Errorf("error %q, want %q", got, want)
			}
		}
	},
	"IA-042": func(a *attempt) {
		for _, changes := range [][]string{{}, {"scope=nothing"}, {"response_type=token"}, {"code_challenge=x"}, {"code_challenge_method=plain"}} {
			e := a.requested(authorizationRequest("web", changes...).Encode())
			a.judge(e)
			if location := e.Header.Get("Location"); strings.Contains(location, challengeOf(attackVerifier)) || strings.Contains(location, "code_challenge=") {
				a.Errorf("Location %q", location)
			}
		}
	},
	"IA-043": func(a *attempt) {
		object := b64u(`{"alg":"none"}`) + "." + b64u(`{"scope":"openid admin","redirect_uri":"https://evil.test/cb"}`) + "."
		e := a.requested(authorizationRequest("web", "request="+object).Encode())
		a.judge(e)
		a.refusedByRedirect(e)
	},
	"IA-047": func(a *attempt) {
		for _, redirect := range []string{"redirect_uri=https://evil.test/cb", "redirect_uri=https://app.test/cb"} {
			e := a.requested(authorizationRequest("web", "request_uri="+pushedRequest, "scope=admin", redirect).Encode())
			a.judge(e)
			if e.StatusCode == 303 {
				a.refusedByRedirect(e)
			}
		}
		a.judge(a.requested(url.Values{"client_id": {"web"}, "request_uri": {pushedRequest}}.Encode()))
	},
	"IA-050": func(a *attempt) {
		for _, query := range []string{authorizationRequest("web").Encode(), authorizationRequest("web", "prompt=consent").Encode()} {
			a.judge(a.requested(query, "Origin: https://evil.test", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"))
		}
		a.seen(a.toIssuer("OPTIONS", "/authorize", "", "Origin: https://evil.test", "Access-Control-Request-Method: GET"))
	},
	"IA-052": func(a *attempt) {
		v := a.visitor("alice")
		const state = "state-that-stands-in-no-log-0123456789"
		a.plant(state)
		plain := func(e exchange) {
			if got := e.Header.Get("Referrer-Policy"); got != "no-referrer" {
				a.Errorf("%s: Referrer-Policy %q", e.path, got)
			}
		}
		plain(v.open("/authorize?" + authorizationRequest("web", "state="+state, "prompt=consent").Encode()))
		plain(v.signIn())
		target, form := v.form("allow")
		e := v.submit(target, form)
		a.judge(e)
		plain(e)
		v.follow()
		code := v.returned().Get("code")
		a.plant(code)
		tokens := a.redeem("web", code)
		hint := a.secret(tokens, "id_token")
		a.secret(tokens, "access_token")
		a.plant(v.cookie("session"))
		a.plant(appSecret)
		plain(v.open("/end-session?" + url.Values{"id_token_hint": {hint}, "state": {state}, "post_logout_redirect_uri": {"https://app.test/bye"}}.Encode()))
	},
	"IA-054": func(a *attempt) { a.judge(a.requested(authorizationRequest("svc").Encode())) },
	"IA-056": func(a *attempt) {
		registered := a.toIssuer("POST", "/register", `{"redirect_uris": ["http://127.0.0.1:40000/cb"], "client_name": "App", "token_endpoint_auth_method": "none"}`, jsonType)
		id := a.must(registered).member(a.T, "client_id")
		request := authorizationRequest(id, "redirect_uri=http://127.0.0.1:40001/cb", "scope=openid").Encode()
		v := a.visitor("alice").signedIn()
		for range 2 {
			a.judge(v.do("GET", "/authorize?"+request, ""))
			if !v.shows("allow") {
				a.Fatalf("want the consent page: %s", v.shown.body)
			}
			v.press("allow")
			if v.returned().Get("code") == "" {
				a.Fatalf("no code: %s", v.at)
			}
		}
		v.do("GET", "/authorize?"+request+"&prompt=none", "")
		if got := v.shown.errorCode(); got != "consent_required" {
			a.Errorf("prompt=none: error %q, want consent_required", got)
		}
	},
}

const jsonType = "Content-Type: application/json"
