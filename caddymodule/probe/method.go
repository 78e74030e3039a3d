package probe

import (
	"net/http"
)

// methodTrials: no method makes a request one that needs no token.
func (p *probe) methodTrials() []*trial {
	const class = "method"
	unshown := p.refusedWith("", http.StatusUnauthorized)
	never := p.refusedWith("-", http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented)
	trials := []*trial{
		p.methodsTrial(class, "HEAD and OPTIONS without a token", unshown, nil, http.MethodHead, http.MethodOptions),
		p.methodsTrial(class, "lower case without a token", never, nil, "get", "Get", "gET", "head", "options"),
		p.methodsTrial(class, "TRACE and TRACK", never, nil, http.MethodTrace, "TRACK", "trace"),
		p.methodsTrial(class, "TRACE and TRACK with a good token", never, []string{p.good()}, http.MethodTrace, "TRACK"),
		p.connectTrial(class),
		one(class, "OPTIONS *", p.noTunnel, p.shot(http.MethodOptions, "*", p.good())),
	}
	return append(trials, p.onBackend(
		p.methodsTrial(class, "others without a token", unshown, nil,
			http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PROPFIND", "PROBE"),
		p.methodsTrial(class, "others in lower case without a token", never, nil, "post", "Post", "delete", "pUT"),
	)...)
}

func (p *probe) methodsTrial(class, name string, judge func(*result) Finding, lines []string, methods ...string) *trial {
	t := &trial{class: class, name: name, judge: judge}
	for _, method := range methods {
		t.shots = append(t.shots, p.shot(method, p.Target.url.RequestURI(), lines...).named(method))
	}
	return t
}

// connectTrial asks for tunnels, and through each of them for the API.
func (p *probe) connectTrial(class string) *trial {
	t := &trial{class: class, name: "CONNECT", judge: p.noTunnel}
	for _, target := range []string{p.Target.url.Host, "127.0.0.1:22", p.Target.url.RequestURI()} {
		for _, token := range [][]string{nil, {p.good()}} {
			hidden := p.get("Connection: close")
			s := p.shot(http.MethodConnect, target, token...).named(target).followedBy(hidden.text)
			s.inner, s.toEnd = hidden.marker, true
			t.shots = append(t.shots, s)
		}
	}
	return t
}

// noTunnel: nothing reached the API, and nothing came from it. A server without a
// route for such a request may say 200 with nothing behind it.
func (p *probe) noTunnel(r *result) Finding {
	if f, stopped := p.stopped(r); stopped {
		return f
	}
	for _, answer := range r.answers {
		if answer.status/100 == 2 && answer.body != "" && !p.isUnknown(&answer) {
			return fail("%d, with a body", answer.status)
		}
	}
	return pass("refused")
}
