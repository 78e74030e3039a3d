package caddymodule

import (
	"regexp"
	"strings"
)

// headerAttack finds the code of an entry about where a token may stand.
func headerAttack(a attack) attackCode {
	if code := headerAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^control: scheme (\w+)$`).FindStringSubmatch(a.Title); found != nil {
		return func(a *attempt) {
			token := a.goodToken()
			a.shows(token)
			a.judge(a.toGate("GET", "/api/a", "Authorization: "+found[1]+" "+token))
		}
	}
	if found := regexp.MustCompile(`^token in ([\w-]+-[\w-]+)$`).FindStringSubmatch(a.Title); found != nil {
		return func(a *attempt) { otherHeader(a, found[1]) }
	}
	return nil
}

// otherHeader shows a token under another name. It opens nothing, and next to a
// good one it does not come through.
func otherHeader(a *attempt, name string) {
	token := a.goodToken()
	line := name + ": Bearer " + token
	a.judge(a.toGate("GET", "/api/a", line))
	if got := a.backend.take(); len(got) > 0 {
		a.Errorf("the backend got %q", got)
	}
	a.toGate("GET", "/public/a", line)
	for _, request := range a.backend.take() {
		if strings.Contains(request, token) {
			a.Errorf("%s reached the backend: %q", name, request)
		}
	}
}

// withForged has two Authorization lines, of which one is good.
func withForged(first, second func(a *attempt) string) attackCode {
	return func(a *attempt) {
		a.judge(a.toGate("GET", "/api/a", "Authorization: "+first(a), "Authorization: "+second(a)))
	}
}

func goodCredentials(a *attempt) string { return "Bearer " + a.goodToken() }

// forgedCredentials are of an unsigned token that says admin.
func forgedCredentials(*attempt) string {
	return "Bearer " + b64u(`{"alg":"none","typ":"at+jwt"}`) + "." + b64u(goodClaims(rsaIssuer, map[string]any{"sub": "admin"})) + "."
}

var headerAttacks = map[string]attackCode{
	"GH-005": withForged(goodCredentials, forgedCredentials),
	"GH-006": withForged(forgedCredentials, goodCredentials),
	"GH-007": withForged(func(*attempt) string { return "Basic QQ==" }, goodCredentials),
	"GH-008": func(a *attempt) {
		a.judge(a.toGate("GET", "/api/a", "Authorization: Basic QQ==, Bearer "+a.goodToken()))
	},
	"GH-010": func(a *attempt) {
		token := a.goodToken()
		a.plant(token)
		e := a.toGate("GET", "/api/a?access_token="+token)
		a.judge(e)
		if e.errorCode() != "" {
			a.Errorf("error %q: the request shows no token (RFC 6750 §3.1)", e.errorCode())
		}
	},
	"GH-011": func(a *attempt) {
		body := "access_token=" + a.goodToken()
		a.judge(a.wire(a.gate, requestHead("POST", "/api/a", "Host: gw.test", "Content-Type: application/x-www-form-urlencoded", contentLength(body))+body, 1)...)
	},
	"GH-012": func(a *attempt) { a.judge(a.toGate("GET", "/api/a", "Cookie: access_token="+a.goodToken())) },
	"GH-020": func(a *attempt) {
		forged := strings.TrimPrefix(forgedCredentials(a), "Bearer ")
		a.forbidden = []string{forged}
		e := a.toGate("GET", "/api/a?access_token="+forged, a.shows(a.goodToken()))
		a.judge(e)
		if e.StatusCode == 400 && e.errorCode() != "invalid_request" {
			a.Errorf("error %q, want invalid_request", e.errorCode())
		}
	},
	"GH-021": func(a *attempt) {
		chunks := "4\r\nbody\r\n0\r\nAuthorization: Bearer " + a.goodToken() + "\r\nX-User: admin\r\n\r\n"
		a.judge(a.wire(a.gate, requestHead("POST", "/api/a", "Host: gw.test", "Transfer-Encoding: chunked", "Trailer: Authorization, X-User")+chunks, 1)...)
		// The same trailers behind a good token do not come through.
		a.backend.take()
		a.wire(a.gate, requestHead("POST", "/api/a", "Host: gw.test", "Transfer-Encoding: chunked", "Trailer: Authorization, X-User", bearer(a.goodToken()))+chunks, 1)
		for _, request := range a.backend.take() {
			if strings.Contains(request, "admin") || len(fields(request, "Authorization")) > 0 {
				a.Errorf("a trailer reached the backend: %q", request)
			}
		}
	},
	"GH-022": func(a *attempt) {
		for _, junk := range []string{"\x00x", "\x80", "\xff", "\x7f", "\x01"} {
			a.judge(a.toGate("GET", "/api/a", bearer(a.goodToken()+junk)))
		}
	},
	"GH-024": func(a *attempt) {
		token := a.goodToken()
		a.plant(token)
		for _, credentials := range []string{
			`Digest username="alice", realm="r", nonce="n", uri="/api/a", response="x"`, "Negotiate YII=",
			"DPoP " + token, "Token " + token, "Bearer: " + token, "JWT " + token,
		} {
			a.judge(a.toGate("GET", "/api/a", "Authorization: "+credentials))
		}
	},
}
