package probe

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func pass(format string, args ...any) Finding {
	return Finding{Outcome: Passed, Detail: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) Finding {
	return Finding{Outcome: Failed, Detail: fmt.Sprintf(format, args...)}
}

func unseen(format string, args ...any) Finding {
	return Finding{Outcome: NotSeen, Detail: fmt.Sprintf(format, args...)}
}

// passes: the API answers as it did when the probe began.
func (p *probe) passes(r *result) Finding {
	answer := r.final()
	switch {
	case r.err != nil:
		return fail("%v", r.err)
	case answer == nil:
		return fail("no answer")
	case answer.status >= http.StatusBadRequest:
		return fail("%d", answer.status)
	case p.Backend != nil && len(p.arrivals(r)) != 1:
		return fail("%d, and %d requests at the API", answer.status, len(p.arrivals(r)))
	}
	return pass("%d", answer.status)
}

// refusedWith: one of the statuses, and nothing reached the API. Where code is
// not "-", the challenge has that error code, or none if it is empty (RFC 6750
// §3.1).
func (p *probe) refusedWith(code string, statuses ...int) func(*result) Finding {
	return func(r *result) Finding {
		if f, stopped := p.stopped(r); stopped {
			return f
		}
		answer := r.final()
		switch {
		case answer == nil:
			return fail("no answer; want %s", either(statuses))
		case !slices.Contains(statuses, answer.status):
			return fail("%d; want %s", answer.status, either(statuses))
		case code == "-":
			return pass("%d", answer.status)
		}
		return judgeChallenge(answer, code)
	}
}

// stopped: what no answer can make good.
func (p *probe) stopped(r *result) (Finding, bool) {
	if r.err != nil {
		return fail("%v", r.err), true
	}
	if all := p.arrivals(r); len(all) > 0 {
		return fail("reached the API as %s %s", all[0].Method, all[0].URL.EscapedPath()), true // the query may hold a token
	}
	return Finding{}, false
}

func judgeChallenge(a *answer, code string) Finding {
	for _, challenge := range a.header.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		_, rest, coded := strings.Cut(challenge, ` error="`)
		given, _, _ := strings.Cut(rest, `"`)
		switch {
		case code == "" && coded:
			return fail("%d, but the challenge has the error %s though no token was shown (RFC 6750 section 3.1)", a.status, given)
		case given != code:
			return fail("%d, but the challenge has the error %q, not %s (RFC 6750 section 3.1)", a.status, given, code)
		}
		return pass("%s", strings.TrimSpace(fmt.Sprint(a.status, " ", code)))
	}
	return fail("%d without a challenge (RFC 6750 section 3)", a.status)
}

// gateStatuses are those with which a server or a gate refuses. Others can be the
// API's own.
var gateStatuses = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusRequestTimeout,
	http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusExpectationFailed,
	http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusRequestHeaderFieldsTooLarge,
	http.StatusNotImplemented, http.StatusHTTPVersionNotSupported,
}

// refused: whatever the answers are, no part of what was sent reached the API.
// Without a backend a success is a failure, unless it is what the server has for
// any path that it does not know.
func (p *probe) refused(r *result) Finding {
	if f, stopped := p.stopped(r); stopped {
		return f
	}
	if len(r.answers) == 0 {
		return pass("the connection was ended")
	}
	worst := p.judgeRefusal(&r.answers[0])
	for n := range r.answers[1:] {
		if f := p.judgeRefusal(&r.answers[n+1]); f.worse(&worst) {
			worst = f
		}
	}
	return worst
}

func (p *probe) judgeRefusal(a *answer) Finding {
	switch {
	case slices.Contains(gateStatuses, a.status):
		return pass("%d", a.status)
	case a.status == http.StatusSwitchingProtocols:
		return fail("101: the connection goes on past the gate")
	case a.status < http.StatusOK:
		return pass("%d", a.status) // and another answer follows
	case p.Backend != nil:
		return pass("%d, not from the API", a.status)
	case p.isUnknown(a) && p.control.final().like(a):
		return unseen("%d, as for any path, and as the API answers; --backend can tell", a.status)
	case p.isUnknown(a):
		return pass("%d, as for any path that the server does not know", a.status)
	case a.status/100 == 2:
		return fail("%d, without a token", a.status)
	}
	return unseen("%d, which may be the API's answer; --backend can tell", a.status)
}

// isUnknown: it is the server's answer to a path or a host that nobody knows.
func (p *probe) isUnknown(a *answer) bool {
	for _, r := range []*result{p.unknown, p.elsewhere} {
		if known := r.final(); known != nil && known.like(a) {
			return true
		}
	}
	return false
}

func (a *answer) like(other *answer) bool {
	return a.status == other.status && a.body == other.body
}

func either(statuses []int) string {
	var all []string
	for _, status := range statuses {
		all = append(all, fmt.Sprint(status))
	}
	return strings.Join(all, " or ")
}
