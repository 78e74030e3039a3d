package caddymodule

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const publicCaddyfile = `{
	oauth {
		issuer $GATE {
			scope api:read "Read"
			client app {
				secret_hash $HASH
				grant client_credentials
				scope api:read
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect {
		resource $GATE/api
		public /public/*
	}
	reverse_proxy $BACKEND
}
`

// TestAmbiguousTargets: what two servers could understand differently reaches no
// backend, with a token or without (RFC 3986 §6, RFC 9110 §7.1).
func TestAmbiguousTargets(t *testing.T) {
	b := startBackend(t)
	s := start(t, publicCaddyfile, b.address)
	token := s.appToken()
	host := strings.TrimPrefix(s.url, "http://")
	for _, target := range []string{
		"/public//../api/a", "/public/%2e%2e%2fapi%2fa", "/public/..%2fapi/a", "/public/.%2e/api/a", "/public/%252e%252e%252fapi%252fa",
		"/public/..;/api/a", "/public/a/..;/..;/api/a", "/public/..%5capi/a", `/public/..\api/a`, "/public/..%255capi/a",
		"/public/\xc0\xae\xc0\xae/api/a", "/public/%c0%ae%c0%ae/api/a", "/public/%u002e%u002e/api/a", "/public/..%00/api/a",
		"/public/x%00/../../api/a", "/public/...//api/a", "/public/..%20/api/a", "/public/..%0d%0a/api/a", "//api/a", "///api/a",
		"/%2fapi/a", "/api%2fa", "/public/../../../../api/a", "/public/%2e%2e/%61%70%69/a", "/public%2f..%2fapi%2fa",
		"/public/./a", "/public/a/.", "/public/a/..", "/public/x;y=z", "/public/%3b", "http://" + host + "/public/a",
		"/public/a#/../api", "/public/x%0ay",
	} {
		for _, headers := range [][]string{nil, {bearer(token)}} {
			answers := s.raw(t, s.rawRequest("GET", target, headers...), 1)
			if got := statuses(answers)[0]; got < 400 || got >= 500 {
				t.Errorf("%q with %d headers: status %d, want a refusal", target, len(headers), got)
			}
		}
		b.none(t)
	}
	for target, want := range map[string]int{
		"/public/a": 200, "/public/a.b/..c/d": 200, "/PUBLIC/a": 200, "/public/%C3%A9t%C3%A9": 200, "/public/a%20b?x=//..;%2f": 200,
		"/public-x/a": 401, "/public": 401, "/API/a": 401, "/%61pi/a": 401, "/api/a": 401,
	} {
		if got := statuses(s.raw(t, s.rawRequest("GET", target), 1))[0]; got != want {
			t.Errorf("%q without a token: status %d, want %d", target, got, want)
		}
	}
	b.take()
	// Identity headers are removed on public paths too (RFC 9700 §4.13).
	s.send("GET", "/public/a", "", "X-Auth-Subject: admin", "X_User: admin", "Remote-User: admin").want(t, 200)
	for _, name := range []string{"X-Auth-Subject", "X_User", "Remote-User"} {
		if got := fields(b.one(t), name); len(got) != 0 {
			t.Errorf("%s %q reached a public path", name, got)
		}
		s.send("GET", "/public/a", "", "X-Auth-Subject: admin", "X_User: admin", "Remote-User: admin").want(t, 200)
	}
}

// TestAllowedTargets: each kind can be allowed, by its name, and alone.
func TestAllowedTargets(t *testing.T) {
	for kind, target := range map[string]string{
		encodedSlash: "/a%2fb", encodedBackslash: "/a%5Cb", dotSegment: "/a/../b", doubleSlash: "/a//b",
		doubleEncoding: "/a%2541", pathParameter: "/a;b=c", controlCharacter: "/a%0a",
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{URL: u}
		if got := ambiguity(r, nil); got != kind {
			t.Errorf("%s is found to be %q, want %q", target, got, kind)
		}
		if got := ambiguity(r, []string{kind}); got != "" {
			t.Errorf("%s is refused for %q, though %s is allowed", target, got, kind)
		}
		for _, other := range ambiguities {
			if other != kind && ambiguity(r, []string{other}) == "" {
				t.Errorf("%s passes though only %s is allowed", target, other)
			}
		}
	}
	if validateAllowed([]string{"everything"}) == nil {
		t.Error("a kind that there is not was accepted")
	}
}
