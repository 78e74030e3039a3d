package probe

import (
	"net/http"
	"slices"
	"strings"
)

// headerTrials: headers that say that a request is another one than it is, or
// that the connection is for something else.
func (p *probe) headerTrials() []*trial {
	const class = "header"
	unshown := p.refusedWith("", http.StatusUnauthorized)
	upgrade := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"}
	trials := []*trial{
		p.fieldsTrial(class, "another URL", unshown, fieldsWith("/"+p.word,
			"X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix")...),
		p.fieldsTrial(class, "another method", unshown, fieldsWith("OPTIONS", overrides...)...),
		p.fieldsTrial(class, "another client", unshown, fieldsWith("127.0.0.1",
			"X-Forwarded-For", "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "Forwarded", "Via")...),
		p.fieldsTrial(class, "another host", unshown, "X-Forwarded-Host: localhost", "X-Host: localhost", "X-Forwarded-Server: localhost", "X-Forwarded-Proto: https"),
		one(class, "upgrade to h2c without a token", unshown, p.get(upgrade...)),
		one(class, "upgrade to a websocket without a token", unshown,
			p.get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: cHJvYmVwcm9iZXByb2JlIQ==")),
		one(class, "Expect without a token", p.unasked, p.get("Expect: 100-continue", "Content-Length: 1")),
		one(class, "preflight of a foreign page", p.preflight, p.shot(http.MethodOptions, p.Target.url.RequestURI(),
			"Origin: https://probe.invalid", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization")),
		p.pipelineTrial(class),
	}
	settings := []string{p.good(), "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"}
	h2c := &trial{class: class, name: "upgrade to h2c with a good token", judge: p.withoutFields("Upgrade", "HTTP2-Settings")}
	for _, protocol := range []string{"h2c", "H2C", "websocket, h2c", "h2c, websocket"} {
		h2c.shots = append(h2c.shots, p.get(append(settings, "Upgrade: "+protocol)...).named(protocol))
	}
	return append(trials, p.onBackend(
		h2c,
		one(class, "another method with a good token", p.withoutFields(overrides...), p.get(append([]string{p.good()}, fieldsWith("DELETE", overrides...)...)...)),
		one(class, "another URL with a good token", p.withoutFields("X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri"),
			p.get(append([]string{p.good()}, fieldsWith("/"+p.word, "X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri")...)...)),
	)...)
}

var overrides = []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}

// withoutFields: if the request reached the API, the fields have not, in no
// spelling.
func (p *probe) withoutFields(names ...string) func(*result) Finding {
	return func(r *result) Finding {
		if answer := r.final(); answer != nil && answer.status == http.StatusSwitchingProtocols {
			return fail("101: the connection goes on past the gate")
		}
		f := p.harmless(r)
		if f.Outcome != Passed {
			return f
		}
		for _, a := range p.arrivals(r) {
			for name := range a.Header {
				if slices.ContainsFunc(names, func(denied string) bool { return folded(denied) == folded(name) }) {
					return fail("%s reached the API", name)
				}
			}
		}
		return f
	}
}

// folded are the letters and digits of a name in lower case: names that differ in
// nothing else are one variable to CGI and what came of it.
func folded(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		}
		return -1
	}, name)
}

// unasked: a request that will be refused is not asked for its body (RFC 9110
// §10.1.1).
func (p *probe) unasked(r *result) Finding {
	for _, answer := range r.answers {
		if answer.status == http.StatusContinue {
			return fail("100: the body of a request without a token was asked for")
		}
	}
	return p.refusedWith("-", http.StatusUnauthorized, http.StatusExpectationFailed)(r)
}

// preflight: a page of any origin is told nothing, or only that it may call
// without what browsers add by themselves; and the API is not asked.
func (p *probe) preflight(r *result) Finding {
	if f, stopped := p.stopped(r); stopped {
		return f
	}
	answer := r.final()
	if answer == nil {
		return fail("no answer")
	}
	origin := answer.header.Get("Access-Control-Allow-Origin")
	if strings.EqualFold(answer.header.Get("Access-Control-Allow-Credentials"), "true") && origin != "" {
		return fail("%d: pages of %s may call with credentials", answer.status, origin)
	}
	if p.Backend == nil && answer.status/100 == 2 && origin != "" && origin != "*" {
		return fail("%d: every origin is allowed by name", answer.status)
	}
	return pass("%d", answer.status)
}

// pipelineTrial: a good token is good for its own request alone, whatever
// connection the next one comes on.
func (p *probe) pipelineTrial(class string) *trial {
	hidden := p.get("Connection: close")
	s := p.get(p.good()).followedBy(hidden.text)
	s.toEnd = true
	return one(class, "a request without a token behind one with", func(r *result) Finding {
		if p.Backend != nil && len(p.Backend.with(hidden.marker)) > 0 {
			return fail("the second request reached the API")
		}
		switch len(r.answers) {
		case 0:
			return fail("no answer")
		case 1:
			return pass("%d, then the end", r.answers[0].status)
		}
		if second := r.answers[1].status; second != http.StatusUnauthorized {
			return fail("%d, then %d; want 401", r.answers[0].status, second)
		}
		return pass("%d, then 401", r.answers[0].status)
	}, s)
}
