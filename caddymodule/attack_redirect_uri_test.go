package caddymodule

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"
)

// redirectURIAttack finds the code of an entry about where answers may go (RFC
// 6749 §3.1.2, RFC 9700 §2.1, RFC 8252 §7).
func redirectURIAttack(a attack) attackCode {
	if code := redirectURIAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range []struct {
		request *regexp.Regexp
		code    func(found []string) attackCode
	}{
		{regexp.MustCompile(`&redirect_uri=<(.*)> \(registered: `), func(found []string) attackCode {
			return refusedRedirect("web", spellings(wireBytes(found[1]))...)
		}},
		{regexp.MustCompile(`^client native, redirect_uri=(\S+)$`), func(found []string) attackCode {
			return refusedRedirect("native", spellings(found[1])...)
		}},
		{regexp.MustCompile(`^client native \(registered .*\), redirect_uri=(\S+)$`), func(found []string) attackCode {
			return acceptedRedirect("native", found[1])
		}},
		{regexp.MustCompile(`^redirect_uri=(\S+) and (\w+)=(\S+)$`), func(found []string) attackCode {
			return refusedRequest("web", "redirect_uri="+found[1], found[2]+"="+decoded(found[3]))
		}},
	} {
		if found := pattern.request.FindStringSubmatch(a.Request); found != nil {
			return pattern.code(found)
		}
	}
	return nil
}

// spellings are a value as it stands, and what it says to one who decodes once
// more than he should.
func spellings(value string) []string {
	if once, err := url.PathUnescape(value); err == nil && once != value {
		return []string{value, once}
	}
	return []string{value}
}

// refusedRedirect asks for an answer at each of the URIs.
func refusedRedirect(client string, uris ...string) attackCode {
	return func(a *attempt) {
		for _, uri := range uris {
			refusedRequest(client, "redirect_uri="+uri)(a)
		}
	}
}

// refusedRequest: a person who has agreed to everything already is shown a page,
// and so is somebody who is not signed in. Asking without a page (prompt=none) or
// for a form instead of a redirect changes nothing.
func refusedRequest(client string, changes ...string) attackCode {
	return func(a *attempt) {
		refusedQueries(a, client, authorizationRequest(client, changes...).Encode())
	}
}

// refusedQueries sends authorization requests that no client is told of.
func refusedQueries(a *attempt, client string, queries ...string) {
	a.Helper()
	agreed := a.visitor("alice")
	agreed.code(client)
	before := a.logLength()
	for _, query := range queries {
		for _, suffix := range []string{"", "&prompt=none", "&response_mode=form_post"} {
			e := agreed.do("GET", "/authorize?"+query+suffix, "")
			a.judge(e)
			if !isHTML(e.answer) {
				a.Errorf("%s is answered with %s, want a page", query, e.Header.Get("Content-Type"))
			}
		}
		a.judge(a.toIssuer("GET", "/authorize?"+query, ""))
	}
	if bytes.Contains(a.logSince(before), []byte("code_issued")) {
		a.Error("a code was given")
	}
}

// acceptedRedirect is a control: the client is answered there.
func acceptedRedirect(client, uri string) attackCode {
	return func(a *attempt) {
		v := a.visitor("alice").signedIn()
		a.judge(v.do("GET", "/authorize?"+authorizationRequest(client, "redirect_uri="+uri).Encode(), ""))
		if !v.shows("allow") {
			a.Fatalf("%s: want the consent page: %s", uri, v.shown.body)
		}
		v.press("allow")
		if v.returned().Get("code") == "" || !strings.HasPrefix(v.at, uri+"?") {
			a.Errorf("sent to %s, want %s with a code", v.at, uri)
		}
	}
}

var redirectURIAttacks = map[string]attackCode{
	"IR-064": func(a *attempt) {
		without := authorizationRequest("web", "-redirect_uri").Encode()
		evil, good := "&redirect_uri=https%3A%2F%2Fevil.test%2Fcb", "&redirect_uri=https%3A%2F%2Fapp.test%2Fcb"
		refusedQueries(a, "web", without+evil+good, without+good+evil)
	},
	"IR-066": refusedRequest("web", "-redirect_uri"),
	"IR-067": refusedRequest("pair", "-redirect_uri", "scope=read"),
	"IR-093": func(a *attempt) {
		v := a.visitor("alice")
		for _, change := range []string{"redirect_uri=https://app.test/cb2", "redirect_uri=https://app.test/cb?", "-redirect_uri"} {
			a.judge(a.redeem("pair", v.code("pair"), change))
		}
	},
}
