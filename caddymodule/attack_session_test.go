package caddymodule

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// sessionAttack finds the code of an entry about pages, forms and sessions.
func sessionAttack(a attack) attackCode {
	if code := sessionAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range []struct {
		title *regexp.Regexp
		code  func(value string) attackCode
	}{
		{injectedThrough, reflected},
		{regexp.MustCompile(`^CSRF on consent: (.*)$`), func(how string) attackCode { return consentForgeries[how] }},
		{regexp.MustCompile(`^open redirect: next=(.*)$`), func(next string) attackCode { return openRedirect(wireBytes(decoded(next))) }},
		{regexp.MustCompile(`^link poisoning: (.*)$`), func(line string) attackCode { return poisoned(line) }},
	} {
		if found := pattern.title.FindStringSubmatch(a.Title); found != nil {
			return pattern.code(found[1])
		}
	}
	return nil
}

const sameSite, crossSite = "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"

// consentForgeries are ways to answer the question of the consent page that are
// not its form in the person's browser.
var consentForgeries = map[string]attackCode{
	"no token": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		form.Del("csrf_token")
		without := v.do("POST", target, form.Encode(), formType)
		form.Set("csrf_token", "")
		return []exchange{without, v.submit(target, form)}
	}),
	"token of another session": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		other := v.a.visitor("bob").signedIn()
		other.open("/authorize?" + authorizationRequest("web", "prompt=consent").Encode())
		_, others := other.form("allow")
		form.Set("csrf_token", others.Get("csrf_token"))
		return []exchange{v.submit(target, form), v.submit(target, others)}
	}),
	"token of another form": forgedConsent(func(v *visitor, target string, form url.Values) (answers []exchange) {
		for page, button := range map[string]string{
			"/end-session": "logout", "/device": "continue", "/account": "logout",
			"/authorize?" + authorizationRequest("web", "prompt=consent").Encode(): "allow", // another transaction
		} {
			v.open(page)
			_, other := v.form(button)
			form.Set("csrf_token", other.Get("csrf_token"))
			answers = append(answers, v.submit(target, form))
		}
		return answers
	}),
	"token in query only": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		token := url.Values{"csrf_token": {form.Get("csrf_token")}}
		form.Del("csrf_token")
		return []exchange{v.submit(target+"?"+token.Encode(), form)}
	}),
	"GET instead of POST": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		// With the transaction the question is asked again, and that is all.
		v.do("GET", target+"?"+form.Encode(), "")
		if !v.shows("allow") || v.shown.Header.Get("Location") != "" {
			v.a.Errorf("want the consent page: %d %s", v.shown.StatusCode, v.shown.body)
		}
		// Another site does not know it.
		form.Del("transaction")
		return []exchange{v.do("GET", target+"?"+form.Encode(), ""), v.do("HEAD", target+"?"+form.Encode(), ""), v.do("PUT", target, form.Encode(), formType)}
	}),
	"Content-Type text/plain": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		return []exchange{
			v.do("POST", target, form.Encode(), "Content-Type: text/plain"),
			v.do("POST", target, form.Encode(), "Content-Type: text/plain", "Origin: "+siteURL, sameSite),
			v.do("POST", target, form.Encode(), "Content-Type: multipart/form-data; boundary=x"),
		}
	}),
	"Origin: https://evil.test": forgedConsent(func(v *visitor, target string, form url.Values) (answers []exchange) {
		for _, origin := range []string{"https://evil.test", "https://as.test.evil.test", "http://as.test", "https://as.test:8443", "https://AS.test"} {
			answers = append(answers, v.do("POST", target, form.Encode(), formType, "Origin: "+origin))
		}
		return append(answers,
			v.do("POST", target, form.Encode(), formType, "Origin: "+siteURL, "Origin: https://evil.test"),
			v.do("POST", target, form.Encode(), formType, "Origin: "+siteURL, crossSite),
			v.do("POST", target, form.Encode(), formType, "Origin: "+siteURL, "Sec-Fetch-Site: same-site"))
	}),
	"Origin: null": forgedConsent(func(v *visitor, target string, form url.Values) []exchange {
		return []exchange{
			v.do("POST", target, form.Encode(), formType, "Origin: null"),
			v.do("POST", target, form.Encode(), formType, "Origin: null", crossSite),
			v.do("POST", target, form.Encode(), formType, "Origin: null", "Sec-Fetch-Site: none"),
		}
	}),
}

// forgedConsent answers the question for a person who has agreed to nothing yet.
// Nothing is granted, and the person's own answer still counts.
func forgedConsent(forge func(v *visitor, target string, form url.Values) []exchange) attackCode {
	return func(a *attempt) {
		v := a.newPerson().signedIn()
		v.open("/authorize?" + authorizationRequest("web").Encode())
		target, form := v.form("allow")
		before := a.logLength()
		a.judge(forge(v, target, changedForm(form))...)
		if log := a.logSince(before); bytes.Contains(log, []byte("consent_given")) || bytes.Contains(log, []byte("code_issued")) {
			a.Error("something was granted")
		}
		v.do("GET", "/authorize?"+authorizationRequest("web", "prompt=none").Encode(), "")
		if got := v.shown.errorCode(); got != "consent_required" {
			a.Errorf("prompt=none: error %q, want consent_required", got)
		}
		v.open("/authorize?" + authorizationRequest("web").Encode())
		v.press("allow")
		if v.returned().Get("code") == "" {
			a.Errorf("the person cannot agree: %d %s", v.shown.StatusCode, v.shown.body)
		}
	}
}

// sessionCookies are the cookies of a browser, as a header line.
func (v *visitor) sessionCookies() string {
	return "Cookie: __Host-oauth_session=" + v.cookie("session") + "; __Host-oauth_browser=" + v.cookie("browser")
}

// isAccount tells whether an answer is somebody's account page.
func isAccount(e exchange) bool { return strings.Contains(e.body, `name="action" value="logout"`) }

// newHandleText is a cookie of the right form that nobody was given.
func newHandleText() string {
	var b [33]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// wrongPassword signs in with what is not the password, from the page.
func (v *visitor) wrongPassword(password string) exchange {
	v.a.Helper()
	v.open("/login")
	target, form := v.form("login")
	form.Set("username", v.name)
	form.Set("password", password)
	return v.submit(target, form)
}

// placeholderText is what Caddy's replacer would fill in.
const placeholderText = "{env.OAUTH_ATTACK} {file./etc/passwd} {http.request.header.Authorization} {system.hostname}"

var sessionAttacks = map[string]attackCode{
	"IU-021": func(a *attempt) {
		for n, uri := range []string{"javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "http://evil.test/"} {
			storedMarkup(a, a.visitor("admin").signedIn(), map[string]any{
				"client_name": payloads[n], "client_uri": uri, "logo_uri": uri, "policy_uri": uri, "tos_uri": uri, "contacts": []string{payloads[0]},
			})
		}
		for _, e := range a.exchanges {
			for _, payload := range payloads {
				showsNoMarkup(a, e, payload)
			}
			if strings.Contains(e.body, "evil.test") && isHTML(e.answer) {
				a.Errorf("%s: the page shows the address: %s", e.path, e.body)
			}
		}
	},
	"IU-026": func(a *attempt) {
		for _, payload := range payloads {
			username := strings.ReplaceAll(payload, " ", "_")
			e := a.adminCall("POST", "/oauth/users", map[string]any{
				"username": username, "password": passwordOf(username), "name": payload, "email": "x@corp.test", "operator": true,
			})
			if e.StatusCode != 200 {
				continue // refused, which is as good
			}
			v := a.visitor(username).signedIn()
			a.judge(v.open("/account"), v.open("/authorize?"+authorizationRequest("web", "prompt=consent").Encode()), v.open("/applications"))
			a.judge(v.open("/end-session"))
		}
		if len(a.exchanges) == 0 {
			a.Error("none of the names was accepted: try others")
		}
		for _, e := range a.exchanges {
			for _, payload := range payloads {
				showsNoMarkup(a, e, strings.ReplaceAll(payload, " ", "_"))
			}
		}
	},
	"IU-027": func(a *attempt) {
		a.Setenv("OAUTH_ATTACK", canary+"-from-the-environment")
		secret := "Authorization: Bearer " + canary + "-from-a-header"
		printed := func(e exchange, where string) {
			a.judge(e)
			if !strings.Contains(where, "{env.OAUTH_ATTACK}") {
				a.Errorf("%s: want it as it was sent: %s", e.path, where)
			}
		}
		v := a.visitor("alice").signedIn()
		id := a.must(a.toIssuer("POST", "/register", changed(map[string]any{
			"redirect_uris": []string{"https://app.test/cb"}, "client_name": placeholderText[:90], "scope": "openid",
		}, nil), jsonType)).member(a.T, "client_id")
		e := v.do("GET", "/authorize?"+authorizationRequest(id, "scope=openid").Encode(), "", secret)
		printed(e, e.body)
		for _, changes := range [][]string{{"prompt=none"}, {"scope=" + placeholderText, "prompt=none"}} {
			e := v.do("GET", "/authorize?"+authorizationRequest("web", append(changes, "state="+placeholderText)...).Encode(), "", secret)
			location, _ := url.QueryUnescape(e.Header.Get("Location"))
			printed(e, location)
		}
		stranger := a.visitor(placeholderText[:50])
		e = stranger.wrongPassword("wrong")
		printed(e, e.body)
		key := issuerKey(a.T, siteURL)
		forged := key.sign(key.header(map[string]any{"kid": placeholderText}), goodClaims(siteURL, nil))
		a.judge(a.introspection(forged), a.toGate("GET", "/api/a", bearer(forged)), a.toIssuer("GET", "/authorize?client_id="+url.QueryEscape(placeholderText), "", secret))
		if log := a.logSince(a.logStart); bytes.Contains(log, []byte("root:x:0")) || bytes.Contains(log, []byte(canary+"-from")) {
			a.Error("the log has what a placeholder stands for")
		}
	},
	"IU-039": func(a *attempt) {
		attacker, victim := a.visitor("bob"), a.visitor("alice")
		for _, v := range []*visitor{attacker, victim} {
			v.open("/login")
		}
		target, form := attacker.form("login")
		form.Set("username", attacker.name)
		form.Set("password", passwordOf(attacker.name))
		a.judge(
			victim.do("POST", target, form.Encode(), formType, "Origin: https://evil.test", crossSite),
			victim.do("POST", target, form.Encode(), formType),
			a.visitor("alice").do("POST", target, form.Encode(), formType),
			attacker.do("POST", target, form.Encode(), formType, "Origin: https://evil.test", crossSite),
			attacker.do("POST", target, form.Encode(), formType, "Origin: https://evil.test"),
		)
		for _, v := range []*visitor{attacker, victim} {
			if v.hasSession() {
				a.Errorf("the browser of %s is signed in", v.name)
			}
		}
	},
	"IU-042": func(a *attempt) {
		attacker, victim := a.visitor("bob"), a.visitor("alice").signedIn()
		request := "/authorize?" + authorizationRequest("web", "prompt=consent").Encode()
		attacker.open(request)
		target, login := attacker.form("login")
		login.Set("username", victim.name)
		login.Set("password", passwordOf(victim.name))
		continuation := "?transaction=" + url.QueryEscape(login.Get("transaction"))
		a.judge(victim.do("GET", "/consent"+continuation, ""), victim.do("GET", "/login"+continuation, ""), victim.submit(target, login))
		attacker.signIn()
		target, consent := attacker.form("allow")
		continuation = "?transaction=" + url.QueryEscape(consent.Get("transaction"))
		a.judge(
			victim.do("GET", "/consent"+continuation, ""), victim.submit(target, consent),
			a.visitor("alice").do("GET", "/consent"+continuation, ""),
			a.toIssuer("GET", "/consent"+continuation, ""),
		)
	},
	"IU-043": func(a *attempt) {
		v := a.visitor("alice")
		v.open("/authorize?" + authorizationRequest("web", "prompt=consent").Encode())
		loginTarget, login := v.form("login")
		v.signIn()
		target, consent := v.form("allow")
		again := v.do("GET", "/consent?transaction="+url.QueryEscape(consent.Get("transaction")), "") // another tab
		_, other := v.form("allow")
		codes := 0
		for _, e := range []exchange{v.submit(target, consent), v.submit(target, consent), v.submit(target, other), v.submit(loginTarget, login)} {
			a.judge(e)
			if strings.Contains(e.Header.Get("Location"), "code=") {
				codes++
			}
		}
		if codes != 1 || again.StatusCode != 200 {
			a.Errorf("%d codes of one request", codes)
		}
	},
	"IU-045": func(a *attempt) {
		for _, planted := range []string{newHandleText(), "chosen", strings.Repeat("A", 44)} {
			v := a.newPerson()
			v.browser.Jar.SetCookies(&url.URL{Scheme: "https", Host: "as.test", Path: "/"}, []*http.Cookie{
				{Name: "__Host-oauth_session", Value: planted, Path: "/", Secure: true}, {Name: "__Host-oauth_browser", Value: planted, Path: "/", Secure: true},
			})
			v.open("/login")
			before := v.cookie("browser")
			v.signIn()
			session := v.cookie("session")
			if session == planted || session == "" || v.cookie("browser") == before || !v.hasSession() {
				a.Errorf("%q: after the sign-in the session is %q", planted, session)
			}
			stale := a.toIssuer("GET", "/account", "", "Cookie: __Host-oauth_session="+planted+"; __Host-oauth_browser="+before)
			a.judge(stale)
			if isAccount(stale) {
				a.Errorf("%q is a session", planted)
			}
			// A new password is a new session, and the end of the old one.
			old := v.sessionCookies()
			v.open("/account")
			v.press("change-password", "password", passwordOf(v.name), "new_password", passwordOf(v.name)+" again")
			if v.cookie("session") == session || !v.hasSession() {
				a.Error("the session is the same after the password was changed")
			}
			if e := a.toIssuer("GET", "/account", "", old); isAccount(e) {
				a.Error("the old session is one still")
			}
			a.adminCall("DELETE", "/oauth/users/"+v.name, nil).want(a.T, 200)
		}
	},
	"IU-047": func(a *attempt) {
		set := 0
		for _, e := range everyPage(a) {
			a.judge(e)
		}
		v := a.visitor("alice")
		v.open("/login")
		target, form := v.form("login")
		form.Set("username", v.name)
		form.Set("password", passwordOf(v.name))
		a.judge(v.submit(target, form))
		v.open("/end-session")
		target, form = v.form("logout")
		a.judge(v.submit(target, form), a.visitor("nobody").do("GET", "/login", ""), a.visitor("nobody").do("GET", "/?lang=fr", ""))
		for _, e := range a.exchanges {
			for _, cookie := range e.Cookies() {
				set++
				if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" ||
					cookie.SameSite != http.SameSiteLaxMode && cookie.SameSite != http.SameSiteStrictMode {
					a.Errorf("%s: %s", e.path, cookie.Raw)
				}
			}
		}
		if set < 4 {
			a.Errorf("%d cookies were set, want those of browser and session, set and removed", set)
		}
	},
	"IU-048": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		good, evil := v.cookie("session"), newHandleText()
		browser := "__Host-oauth_browser=" + v.cookie("browser")
		for _, cookies := range []string{
			"__Host-oauth_session=" + good + "; __Host-oauth_session=" + evil + "; " + browser,
			"__Host-oauth_session=" + evil + "; __Host-oauth_session=" + good + "; " + browser,
		} {
			e := a.toIssuer("GET", "/authorize?"+authorizationRequest("web").Encode(), "", "Cookie: "+cookies)
			a.judge(e)
			if e.Header.Get("Location") != "" || !strings.Contains(e.body, `value="login"`) {
				a.Errorf("%s: want the sign-in page: %d %s", cookies, e.StatusCode, e.body)
			}
		}
		// A cookie without the prefix, which another host could set, is none.
		for _, name := range []string{"oauth_session", "session", "__Secure-oauth_session", "__host-oauth_session"} {
			if e := a.toIssuer("GET", "/account", "", "Cookie: "+name+"="+good+"; "+browser); isAccount(e) {
				a.Errorf("%s is the session's cookie", name)
			}
		}
	},
	"IU-049": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		good, browser := v.cookie("session"), "__Host-oauth_browser="+v.cookie("browser")
		values := []string{
			"%%%", "not base64!", `{"sub":"admin"}`, "eyJzdWIiOiJhZG1pbiJ9", "", "\x00", "%00", "..%2f..%2fetc%2fpasswd", strings.Repeat("A", 8<<10),
			good + "=", good + "A", good[:len(good)-1], " " + good[1:], `"` + good[:10] + `"`, "\xff\xfe", good + "," + good, strings.ToUpper(good),
		}
		for _, value := range append(values, badCookies...) {
			for _, cookie := range []string{"__Host-oauth_session=" + value + "; " + browser, "__Host-oauth_session=" + value + "; __Host-oauth_browser=" + value} {
				e := a.toIssuer("GET", "/account", "", "Cookie: "+cookie)
				a.judge(e)
				if isAccount(e) || e.StatusCode != 200 && e.StatusCode != 400 {
					a.Errorf("%.40q: status %d, want the sign-in page", value, e.StatusCode)
				}
			}
		}
	},
	"IU-050": func(a *attempt) {
		pages := everyPage(a)
		for _, e := range pages {
			a.judge(e)
			safeFrame(a, e)
		}
		if len(pages) < 15 {
			a.Errorf("%d pages were seen", len(pages))
		}
	},
	"IU-073": bruteForce,
	"IU-075": func(a *attempt) {
		known, unknown := a.newPerson(), a.visitor("nobody-"+strings.ToLower(a.ID))
		if len(known.name) != len(unknown.name) {
			a.Fatal("the names differ in length")
		}
		wrong := []exchange{known.wrongPassword("wrong"), unknown.wrongPassword("wrong"), unknown.wrongPassword(passwordOf(known.name))}
		a.disable(known)
		wrong = append(wrong, known.wrongPassword(passwordOf(known.name)), known.wrongPassword("wrong"))
		names := []string{known.name, unknown.name, unknown.name, known.name, known.name}
		a.judge(wrong...)
		for n, e := range wrong {
			if got, want := likeness(e, names[n]), likeness(wrong[0], names[0]); got != want {
				a.Errorf("%s: told apart:\n%s\n%s", names[n], got, want)
			}
		}
		// Too many attempts look alike, too.
		for range 6 {
			known.wrongPassword("wrong")
			unknown.wrongPassword("wrong")
		}
		locked, free := known.wrongPassword("wrong"), unknown.wrongPassword("wrong")
		if locked.StatusCode != 429 || free.StatusCode != 429 {
			a.Errorf("after many attempts: %d and %d, want 429", locked.StatusCode, free.StatusCode)
		}
	},
	"IU-077": func(a *attempt) {
		v := a.visitor("alice")
		best := answerTimeout
		for range 5 {
			e := v.wrongPassword(strings.Repeat("a", 1<<20))
			a.judge(e)
			best = min(best, e.took)
		}
		if best > 10*time.Millisecond {
			a.Errorf("the answer took %v, want less than 10 ms", best)
		}
		// What fits into a form and is no password is not hashed either.
		best = answerTimeout
		for range 5 {
			e := v.wrongPassword(strings.Repeat("a", 2<<10))
			best = min(best, e.took)
			if e.StatusCode != 401 {
				a.Errorf("2 KiB: status %d", e.StatusCode)
			}
		}
		if best > 10*time.Millisecond {
			a.Errorf("2 KiB: the answer took %v, want less than 10 ms", best)
		}
	},
	"IU-078": func(a *attempt) {
		name := "long-" + strings.ToLower(a.ID)
		password := strings.Repeat("0123456789abcdef", 5)
		a.adminCall("POST", "/oauth/users", map[string]any{"username": name, "password": password}).want(a.T, 200)
		v := a.visitor(name)
		for _, wrong := range []string{password[:72] + "xxxxxxxx", password[:72], password + "x"} {
			e := v.wrongPassword(wrong)
			a.judge(e)
			if e.StatusCode != 401 || v.hasSession() {
				a.Errorf("%q: status %d", wrong, e.StatusCode)
			}
		}
		v.wrongPassword(password) // which is right
		if !v.hasSession() {
			a.Error("the right one is refused")
		}
	},
	"IU-079": func(a *attempt) {
		v := a.visitor("alice")
		v.open("/login")
		target, form := v.form("login")
		form.Set("username", v.name)
		form.Set("password", passwordOf(v.name))
		a.judge(v.do("GET", "/login?username=alice&password="+url.QueryEscape("something else"), ""))
		form.Set("password", "something else")
		a.judge(v.do("GET", target+"?"+form.Encode(), ""), v.do("POST", target+"?"+form.Encode(), "", formType))
		if v.hasSession() {
			a.Error("signed in by a GET")
		}
	},
	"IU-080": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		a.judge(v.open("/account"), v.open("/authorize?"+authorizationRequest("web", "prompt=consent").Encode()))
		v.open("/end-session")
		a.judge(v.press("logout"), v.open("/account"), v.open("/login"))
		for _, e := range a.exchanges {
			if got := e.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
				a.Errorf("%s: Cache-Control %q", e.path, got)
			}
		}
		if v.hasSession() {
			a.Error("signed in after signing out")
		}
	},
}
