package caddymodule

import (
	"net/http"
	"sync"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// gate decides about requests. It is a list of questions, asked in order until
// one is answered with a refusal or opens the way; oauth_protect, the
// authentication provider and "caddy oauth explain" ask the same list, so that
// none of them can forget one.
type gate []check

// check is one question.
type check struct {
	name   string // as "caddy oauth explain" calls it
	option string // where the configuration asks it: a path in the handler's JSON
	ask    func(*visit) *refusal
}

// visit is a request on its way through a gate, and what was found out about it.
type visit struct {
	request *http.Request

	text   string            // the token that the request shows
	source *source           // whose token it is
	token  *introspect.Token // what it grants; nil where none is needed
	caller *caller           // who is known by it to what comes after

	// open says why the request passes without a token: "public" or "anonymous".
	// What comes after is not asked.
	open string

	// noted is told about every question, when somebody wants to know.
	noted func(asked *check, refused *refusal)

	live liveRequest
}

// visits are reused: a visit lives as long as its request and is needed for each.
var visits = sync.Pool{New: func() any { return new(visit) }}

func newVisit(r *http.Request) *visit {
	v := visits.Get().(*visit)
	v.request = r
	return v
}

// end gives the visit back. Nothing may refer to it then.
func (v *visit) end() {
	*v = visit{}
	visits.Put(v)
}

// decide returns why the request may not pass, or nil.
func (g gate) decide(v *visit) *refusal {
	for n := range g {
		refused := g[n].ask(v)
		if refused != nil {
			refused.check = &g[n]
			v.caller.unknown()
		}
		if v.noted != nil {
			v.noted(&g[n], refused)
		}
		if refused != nil || v.open != "" {
			return refused
		}
	}
	return nil
}
