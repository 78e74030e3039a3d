package caddymodule

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// Attacks on the pages that people see: scripts, frames, links.

var injectedThrough = regexp.MustCompile(`^reflected XSS through (.*)$`)

// payloads are what a page must show as text, if at all.
var payloads = []string{`"><img src=x onerror=alert(1)>`, "javascript:alert(1)//", "{{constructor}}", "${7*7}", `'-alert(1)-'`, "</title><script>alert(1)</script>"}

// pagePaths are all the pages that anybody can open.
var pagePaths = []string{"/", "/authorize", "/login", "/consent", "/device", "/account", "/end-session", "/applications", "/applications/new", "/applications/secret"}

// reflected sends the payloads by one way to every page.
func reflected(way string) attackCode {
	return func(a *attempt) {
		v := a.visitor("alice").signedIn()
		for _, payload := range payloads {
			for _, e := range injected(a, v, way, payload) {
				a.judge(e)
				showsNoMarkup(a, e, payload)
			}
		}
	}
}

// injected are the answers to a payload. What is no way of its own is a parameter.
func injected(a *attempt, v *visitor, way, payload string) (answers []exchange) {
	a.Helper()
	escaped := url.QueryEscape(payload)
	stranger := a.visitor("nobody")
	switch way {
	case "Referer header":
		for _, page := range pagePaths {
			for _, name := range []string{"Referer", "User-Agent", "Accept-Language", "Origin"} {
				answers = append(answers, v.do("GET", page, "", name+": "+payload))
			}
		}
	case "username field":
		stranger.open("/login")
		target, form := stranger.form("login")
		form.Set("username", payload)
		form.Set("password", "wrong")
		answers = append(answers, stranger.submit(target, form))
	case "path":
		for _, prefix := range append([]string{"/assets", "/register", "/login/callback", "/.well-known"}, pagePaths...) {
			target := strings.TrimSuffix(prefix, "/") + "/" + url.PathEscape(payload)
			answers = append(answers, v.do("GET", target, ""), v.do("POST", target, "a=b", formType))
		}
	default:
		for _, page := range pagePaths {
			answers = append(answers, v.do("GET", page+"?"+way+"="+escaped, ""), v.do("POST", page, way+"="+escaped, formType))
		}
		for _, who := range []*visitor{v, stranger} {
			answers = append(answers,
				who.do("GET", "/authorize?"+authorizationRequest("web", way+"="+payload).Encode(), ""),
				who.do("GET", "/authorize?"+authorizationRequest("web", way+"="+payload, "prompt=consent").Encode(), ""),
				who.do("GET", "/authorize?"+authorizationRequest("web", "response_mode=form_post", way+"="+payload).Encode(), ""))
		}
	}
	return answers
}

// liveURL is a link that runs what it says.
var liveURL = regexp.MustCompile(`(?i)(?:href|src|action|formaction|content)\s*=\s*["']?\s*(?:javascript|data|vbscript):`)

// showsNoMarkup: where a page shows a payload, it is text.
func showsNoMarkup(a *attempt, e exchange, payload string) {
	a.Helper()
	if !isHTML(e.answer) {
		return
	}
	if strings.ContainsAny(payload, `<>"'`) && strings.Contains(e.body, payload) {
		a.Errorf("%s: the page has %q: %s", e.path, payload, e.body)
	}
	if payload == "${7*7}" && strings.Contains(e.body, ">49<") {
		a.Errorf("%s: the template computed: %s", e.path, e.body)
	}
}

// safeFrame: no site may show a page in a frame (RFC 9700
// §4.16).
func safeFrame(a *attempt, e exchange) {
	a.Helper()
	if !isHTML(e.answer) {
		a.Errorf("%s: %d is no page: %s", e.path, e.StatusCode, e.body)
		return
	}
	policy, frames := e.Header.Get("Content-Security-Policy"), e.Header.Get("X-Frame-Options")
	if !strings.Contains(policy, "frame-ancestors 'none'") || frames != "DENY" {
		a.Errorf("%s: Content-Security-Policy %q, X-Frame-Options %q", e.path, policy, frames)
	}
}

// everyPage visits the pages that there are, those of errors included.
func everyPage(a *attempt) (pages []exchange) {
	a.Helper()
	v := a.visitor("admin")
	see := func(e exchange) { pages = append(pages, e) }
	for _, page := range []string{"/", "/login", "/device", "/account", "/authorize?" + authorizationRequest("web").Encode()} {
		see(v.open(page))
	}
	see(v.do("POST", "/login", "a=b", formType))
	v.open("/login")
	v.press("login", "username", "admin", "password", "wrong")
	see(v.shown)
	v.open("/login")
	see(v.signIn())
	see(v.open("/authorize?" + authorizationRequest("web", "prompt=consent").Encode()))
	see(v.open("/authorize?" + authorizationRequest("web", "prompt=consent", "redirect_uri=https://evil.test/").Encode()))
	see(v.open("/end-session"))
	see(v.open("/end-session?id_token_hint=x"))
	see(v.open("/applications"))
	see(v.open("/applications/new"))
	see(v.open("/applications/nothing"))
	see(v.open("/applications/secret?token=x"))
	see(v.open("/consent?transaction=x"))
	started := a.must(a.post("/device-authorization", url.Values{"client_id": {"dev"}, "scope": {"openid read"}}))
	v.open("/device")
	see(v.press("continue", "user_code", started.member(a.T, "user_code")))
	see(v.press("deny"))
	v.code("web")
	see(v.do("GET", "/authorize?"+authorizationRequest("web", "response_mode=form_post").Encode(), ""))
	v.open("/end-session")
	see(v.press("logout"))
	return pages
}

// poisoned: what a request says of the host is in no answer.
func poisoned(lines ...string) attackCode {
	return func(a *attempt) {
		for _, target := range []string{
			"/authorize?" + authorizationRequest("web").Encode(), "/login", "/end-session", "/logout", "/device", "/account", "/",
			"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/applications/new",
		} {
			a.judge(a.wireIssuer("GET", target, "", lines...))
		}
		e := a.wireIssuer("POST", "/device-authorization", "client_id=dev", append(lines, formType)...)
		a.judge(e)
		if e.StatusCode == 200 && !strings.HasPrefix(e.member(a.T, "verification_uri"), siteURL+"/") {
			a.Errorf("verification_uri is elsewhere: %s", e.body)
		}
	}
}

// wireIssuer is toIssuer, with the Host of the lines if they have one.
func (a *attempt) wireIssuer(method, target, body string, lines ...string) exchange {
	a.Helper()
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "Host: ") {
		return a.toIssuer(method, target, body, lines...)
	}
	if body != "" {
		lines = append(lines, contentLength(body))
	}
	return a.wire(a.issuer, requestHead(method, target, lines...)+body, 1)[0]
}

// returnParameters are names by which other servers are told where to go after
// the sign-in.
var returnParameters = []string{"next", "return_to", "return", "redirect", "redirect_to", "redirect_url", "url", "continue", "goto", "target", "RelayState", "transaction", "post_logout_redirect_uri"}

// openRedirect signs in with a way back that is somebody else's.
func openRedirect(value string) attackCode {
	return func(a *attempt) {
		for _, name := range returnParameters {
			parameter := name + "=" + url.QueryEscape(value)
			v := a.visitor("alice")
			a.judge(v.do("GET", "/login?"+parameter, ""))
			a.judge(v.do("GET", "/account?"+parameter, ""), v.do("GET", "/consent?"+parameter, ""), v.do("GET", "/device?"+parameter, ""))
			if name != "next" && name != "return_to" {
				continue
			}
			v.open("/login")
			target, form := v.form("login")
			form.Set("username", v.name)
			form.Set("password", passwordOf(v.name))
			form.Set(name, value)
			a.judge(v.submit(target+"?"+parameter, form))
			if !v.hasSession() {
				a.Errorf("not signed in")
			}
		}
	}
}

// storedMarkup registers a client that is called so, and opens the pages on which
// people see it.
func storedMarkup(a *attempt, v *visitor, metadata map[string]any) {
	a.Helper()
	metadata["redirect_uris"] = []string{"https://app.test/cb"}
	metadata["grant_types"] = []string{"authorization_code", "urn:ietf:params:oauth:grant-type:device_code"}
	metadata["token_endpoint_auth_method"] = "none"
	body, err := json.Marshal(metadata)
	if err != nil {
		a.Fatal(err)
	}
	e := a.toIssuer("POST", "/register", string(body), jsonType)
	a.judge(e)
	if e.StatusCode != 201 {
		return // refused, which is as good
	}
	id := e.member(a.T, "client_id")
	request := "/authorize?" + authorizationRequest(id, "scope=openid").Encode()
	a.judge(a.visitor("nobody").open(request), v.open(request))
	if v.shows("allow") {
		v.press("allow")
	}
	a.judge(v.open("/account"), v.open("/end-session?client_id="+id))
	started := a.must(a.post("/device-authorization", url.Values{"client_id": {id}, "scope": {"openid"}}))
	v.open("/device")
	a.judge(v.press("continue", "user_code", started.member(a.T, "user_code")))
	a.judge(v.press("allow"), v.open("/applications"))
	list := a.adminCall("GET", "/oauth/clients", nil)
	if !strings.HasPrefix(list.Header.Get("Content-Type"), "application/json") || !json.Valid([]byte(list.body)) {
		a.Errorf("the operator's list is %s", list.Header.Get("Content-Type"))
	}
}
