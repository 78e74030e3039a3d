package caddymodule

import (
	"regexp"
	"strings"
)

// identityAttack finds the code of an entry about who the backend takes the
// caller for.
func identityAttack(a attack) attackCode {
	if code := identityAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range []struct {
		title *regexp.Regexp
		code  func(name, value string) attackCode
	}{
		{regexp.MustCompile(`^client-supplied (\S+) with a valid token()$`), func(name, _ string) attackCode { return claimsToBe(name + ": admin") }},
		{regexp.MustCompile(`^alias (\S+)()$`), func(name, _ string) attackCode { return claimsToBe(wireBytes(name) + ": admin") }},
		{regexp.MustCompile(`^Connection: (.*) (removes) gateway-set headers$`), func(list, _ string) attackCode { return claimsToBe("Connection: " + list) }},
	} {
		if found := pattern.title.FindStringSubmatch(a.Title); found != nil {
			return pattern.code(found[1], found[2])
		}
	}
	if forwardedHeader.MatchString(a.Request) {
		return forwarded(forwardedHeader.FindStringSubmatch(a.Request)[1])
	}
	return nil
}

// claimsToBe sends header lines next to a good token. Nothing of them is left of
// what could tell the backend who calls.
func claimsToBe(lines ...string) attackCode {
	return func(a *attempt) {
		a.forbidden = append(a.forbidden, "admin")
		a.judge(a.toGate("GET", "/api/a", append(lines, a.shows(a.goodToken()))...))
	}
}

var forwardedHeader = regexp.MustCompile(`^GET /api/a without token, (X-[\w-]+: \S+)$`)

// forwarded: what a proxy might have said opens nothing, and comes from nobody
// that is trusted.
func forwarded(line string) attackCode {
	name, value, _ := strings.Cut(line, ": ")
	return func(a *attempt) {
		e := a.toGate("GET", "/api/a", line)
		a.judge(e)
		if strings.Contains(e.body+e.Header.Get("WWW-Authenticate")+e.Header.Get("Location"), "evil") {
			a.Errorf("the answer repeats it: %q %s", e.Header, e.body)
		}
		if got := a.backend.take(); len(got) > 0 {
			a.Errorf("without a token the backend got %q", got)
		}
		a.toGate("GET", "/api/a", line, bearer(a.goodToken()))
		for _, request := range a.backend.take() {
			for _, got := range fields(request, name) {
				if got == value {
					a.Errorf("%s: %s reached the backend", name, got)
				}
			}
		}
	}
}

// badCookies are values of the issuer's session cookie as no issuer would set them,
// and one that could be.
var badCookies = []string{
	"%%%", "not base64!", `{"sub":"admin"}`, b64u(`{"sub":"admin"}`), "", "\x00", "%00", "..%2f..%2fetc", strings.Repeat("A", 8<<10),
	strings.Repeat("A", 43), "a; __Host-oauth_session=b", "a, __Host-oauth_session=b",
}

var identityAttacks = map[string]attackCode{
	"GI-013": func(a *attempt) {
		a.forbidden = []string{"admin"}
		for _, line := range []string{"X-User: admin", "X-Auth-Scopes: admin", "Remote-User: admin", "X_User: admin", "X.User: admin"} {
			a.judge(a.toGate("GET", "/public/a", line))
		}
	},
	"GI-014": claimsToBe("X-User-Email: admin@x", "x_user.email: admin@x"),
	"GI-026": claimsToBe("X-User : admin"),
	"GI-027": claimsToBe("X\xe2\x80\x90User: admin"),
	"GI-028": claimsToBe("X-User: admin", "X-User: admin"),
	"GI-048": func(a *attempt) {
		long := strings.Repeat("e", 40<<10)
		token := withClaim(a, "email", `"`+long+`"`)
		show := a.shows(token)
		a.judge(a.toGate("GET", "/api/a", show))
		// As much as a token may hold arrives whole.
		short := strings.Repeat("e", 4<<10)
		show = a.shows(withClaim(a, "email", `"`+short+`"`))
		a.identity["X-User-Email"] = short
		a.judge(a.toGate("GET", "/api/a", show))
	},
	"GI-050": func(a *attempt) {
		a.fault = true
		token := a.goodToken()
		a.forbidden = []string{token}
		a.judge(a.toGate("GET", "/api/fails", a.shows(token)))
	},
	"GI-051": func(a *attempt) {
		for _, value := range badCookies {
			a.judge(a.toGate("GET", "/api/a", "Cookie: __Host-oauth_session="+value))
		}
	},
}
