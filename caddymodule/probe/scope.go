package probe

import (
	"net/http"
	"strings"
)

// scopeTrials: a token that is good but for its scope (RFC 6750 §3.1).
func (p *probe) scopeTrials() []*trial {
	const class = "scope"
	token := bearerField(p.given.Tokens.WithoutScope)
	uri := p.Target.url.RequestURI()
	lenient := p.refusedWith("-", http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented)
	trials := []*trial{
		one(class, "a token without scope", p.lacksScope, p.get(token)),
		{class: class, name: "a token without scope, another method", judge: lenient, shots: []*shot{
			p.shot(http.MethodHead, uri, token).named("HEAD"), p.shot("get", uri, token).named("get"), p.shot("Head", uri, token).named("Head"),
		}},
		one(class, "a token without scope, a scope in the request", p.lacksScope,
			p.shot(http.MethodGet, withQuery(uri, "scope="+strings.ReplaceAll(p.given.NeededScope, " ", "+")), token, "X-Auth-Scope: "+p.given.NeededScope)),
	}
	if p.given.NeededScope == "" {
		for _, t := range trials {
			t.shots, t.unseen = nil, "the gate asks for no scope here"
		}
	}
	return trials
}

// lacksScope: 403 insufficient_scope, naming what would do.
func (p *probe) lacksScope(r *result) Finding {
	f := p.refusedWith("insufficient_scope", http.StatusForbidden)(r)
	if f.Outcome != Passed {
		return f
	}
	named := strings.Join(r.final().header.Values("WWW-Authenticate"), ", ")
	if !strings.Contains(named, `scope="`+p.given.NeededScope+`"`) {
		return fail("403, but the challenge does not name the scope %s", p.given.NeededScope)
	}
	return f
}
