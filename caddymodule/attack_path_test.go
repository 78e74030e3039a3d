package caddymodule

import (
	"regexp"
	"strings"
)

var (
	anonymousTarget = regexp.MustCompile(`^raw request line "GET (.*) HTTP/1\.1", Host: gw\.test, no Authorization$`)
	readerTarget    = regexp.MustCompile(`^raw GET (.*) with a token of scope=read `)
	remark          = regexp.MustCompile(` \([a-z ]+\)$`)
)

// pathAttack finds the code of an entry about targets and hosts.
func pathAttack(a attack) attackCode {
	if code := pathAttacks[a.ID]; code != nil {
		return code
	}
	if found := anonymousTarget.FindStringSubmatch(a.Request); found != nil {
		target := wireBytes(remark.ReplaceAllString(found[1], ""))
		return func(a *attempt) { a.judge(a.toGate("GET", target)) }
	}
	if found := readerTarget.FindStringSubmatch(a.Request); found != nil {
		target := wireBytes(found[1])
		return func(a *attempt) { a.judge(a.toGate("GET", target, a.shows(a.goodToken()))) }
	}
	if host, found := strings.CutPrefix(a.Title, "Host: "); found {
		return func(a *attempt) { foreignHost(a, host) }
	}
	return nil
}

// foreignHost: the Host of a request neither opens the gate nor names the issuer.
func foreignHost(a *attempt, host string) {
	a.judge(a.wire(a.gate, requestHead("GET", "/api/a", "Host: "+host), 1)...)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		for _, e := range a.wire(a.issuer, requestHead("GET", path, "Host: "+host), 1) {
			if e.StatusCode != 200 && e.StatusCode != 400 && e.StatusCode != 404 && e.StatusCode != 421 {
				a.Errorf("%s with Host %s: %d", path, host, e.StatusCode)
			}
			a.seen(e)
		}
	}
}

// sameDecision shows several requests that must come to the same end as one in
// the usual form.
func sameDecision(a *attempt, usual exchange, others ...exchange) {
	a.Helper()
	a.judge(others...)
	for _, e := range others {
		if e.StatusCode == 200 && usual.StatusCode != 200 {
			a.Errorf("%s: %d, and %d in the usual form", e.path, e.StatusCode, usual.StatusCode)
		}
	}
}

var pathAttacks = map[string]attackCode{
	"GP-072": func(a *attempt) {
		a.forbidden = []string{"evil"}
		show := a.shows(a.goodToken())
		a.judge(a.toGate("GET", "http://evil.test/api/a", show))
		// Without a token it opens nothing, and names no other resource.
		e := a.toGate("GET", "http://evil.test/api/a")
		if e.StatusCode == 200 || strings.Contains(e.Header.Get("WWW-Authenticate")+e.body, "evil") {
			a.Errorf("without a token: %d %s", e.StatusCode, e.Header.Get("WWW-Authenticate"))
		}
	},
	"GP-073": func(a *attempt) {
		sameDecision(a, a.toGate("GET", "/api/a"), a.toGate("GET", "https://gw.test/api/a"), a.toGate("GET", "http://gw.test/api/a"))
	},
	"GP-087": func(a *attempt) {
		for _, hosts := range [][]string{{"Host: gw.test", "Host: evil.test"}, {"Host: evil.test", "Host: gw.test"}, {"Host: gw.test", "Host: gw.test"}} {
			a.judge(a.wire(a.gate, requestHead("GET", "/api/a", append(hosts, bearer(a.goodToken()))...), 1)...)
		}
	},
	"GP-088": func(a *attempt) {
		a.judge(a.wire(a.gate, "GET /api/a HTTP/1.0\r\n\r\n", 1)...)
		a.judge(a.wire(a.gate, "GET /api/a\r\n\r\n", 1)...)
	},
	"GP-090": func(a *attempt) {
		for _, target := range []string{"/api/a#/public/x", "/public/x#/../api/a"} {
			a.judge(a.toGate("GET", target))
		}
	},
}
