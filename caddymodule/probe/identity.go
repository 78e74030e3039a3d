package probe

import (
	"net/http"
	"slices"
	"strings"
)

// identityTrials: what the API is told about the caller comes from the gate, and
// from nobody else.
func (p *probe) identityTrials() []*trial {
	const class = "identity"
	unshown := p.refusedWith("", http.StatusUnauthorized)
	names := p.identityNames()
	trials := []*trial{one(class, "said without a token", unshown, p.get(p.spoofed(names, asItIs)...))}
	only := []*trial{
		one(class, "the API is told who calls", p.tellsWhoCalls, p.get(p.good())),
		one(class, "the token stays at the gate", p.keepsToken, p.get(p.good())),
		one(class, "said twice", p.harmless, p.get(append(append([]string{p.good()}, p.spoofed(names, asItIs)...), p.spoofed(names, asItIs)...)...)),
		one(class, "removed by Connection", p.harmless, p.get(p.good(), "Connection: close, "+strings.Join(slices.Concat(names, []string{"Authorization"}), ", "))),
		{class: class, name: "said in a trailer", judge: p.harmless, shots: []*shot{
			p.trailerShot(http.MethodPost, "X-Auth-Subject: "+p.spoof, p.good()),
			p.trailerShot(http.MethodPost, "X_Auth_Subject: "+p.spoof, p.good()),
		}},
	}
	for _, spelling := range identitySpellings {
		only = append(only, p.spellingTrial(class, spelling.name, names, spelling.of))
	}
	return append(trials, p.onBackend(append(only, p.brokenFieldTrial(class))...)...)
}

// identitySpellings are names that some servers take for one: CGI and what came of it
// turn "-" into "_", others drop what is no letter.
var identitySpellings = []struct {
	name string
	of   func(string) string
}{
	{"said as it is", asItIs},
	{"said in lower case", strings.ToLower},
	{"said in upper case", strings.ToUpper},
	{"said as X_Auth_Subject", func(name string) string { return strings.ReplaceAll(name, "-", "_") }},
	{"said as x_auth_subject", func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) }},
	{"said as X.Auth.Subject", func(name string) string { return strings.ReplaceAll(name, "-", ".") }},
	{"said as X-Auth_Subject", func(name string) string { return replaceLast(name, "-", "_") }},
	{"said as X--Auth--Subject", func(name string) string { return strings.ReplaceAll(name, "-", "--") }},
	{"said as X_-Auth_-Subject", func(name string) string { return strings.ReplaceAll(name, "-", "_-") }},
	{"said as XAuthSubject", func(name string) string { return strings.ReplaceAll(name, "-", "") }},
	{"said as X-Auth-Subject_", func(name string) string { return name + "_" }},
	{"said as X~Auth~Subject", func(name string) string { return strings.ReplaceAll(name, "-", "~") }},
}

func asItIs(name string) string { return name }

func replaceLast(text, old, new string) string {
	at := strings.LastIndex(text, old)
	if at < 0 {
		return text
	}
	return text[:at] + new + text[at+len(old):]
}

// identityNames are the headers that nobody may send: those that the gate set on
// the control request, and those by which other proxies tell an API who calls.
func (p *probe) identityNames() []string {
	names := slices.DeleteFunc(slices.Clone(p.Guarded), func(name string) bool {
		return name == "Proxy-Authorization" // credentials; see placeTrials
	})
	for name := range p.told() {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// carriedFields are those of a request that do not tell who calls: the probe's
// own, and what proxies add.
var carriedFields = []string{
	"Host", markerField, "User-Agent", "Accept-Encoding", "Connection", "Content-Length", "Transfer-Encoding", "Via", "Forwarded",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip", "Authorization", "Traceparent", "Tracestate",
	"X-Request-Id",
}

// told is what the API was told with the control request.
func (p *probe) told() http.Header {
	told := make(http.Header)
	for _, a := range p.arrivals(p.control) {
		for name, values := range a.Header {
			if !slices.Contains(carriedFields, name) {
				told[name] = values
			}
		}
	}
	return told
}

// spoofed are header fields by which a stranger says to be somebody.
func (p *probe) spoofed(names []string, spelling func(string) string) (fields []string) {
	for _, name := range names {
		fields = append(fields, spelling(name)+": "+p.spoof)
	}
	return fields
}

func (p *probe) spellingTrial(class, name string, names []string, spelling func(string) string) *trial {
	return one(class, name, p.harmless, p.get(append([]string{p.good()}, p.spoofed(names, spelling)...)...))
}

// brokenFieldTrial: names that are no field names, of which a lenient server may
// make one.
func (p *probe) brokenFieldTrial(class string) *trial {
	t := &trial{class: class, name: "said in a broken field", judge: p.harmless}
	for name, field := range map[string]string{
		"space before the colon": "X-Auth-Subject : " + p.spoof,
		"vertical tab":           "X-Auth-Subject\x0b: " + p.spoof,
		"NUL":                    "X-Auth-Subject\x00: " + p.spoof,
		"another hyphen":         "X\u2010Auth\u2010Subject: " + p.spoof,
		"behind a bare CR":       "X-Probe: a\rX-Auth-Subject: " + p.spoof,
		"behind a bare LF":       "X-Probe: a\nX-Auth-Subject: " + p.spoof,
		"leading space":          "X-Probe: a\r\n\tX-Auth-Subject: " + p.spoof,
	} {
		t.shots = append(t.shots, p.get(p.good(), field).named(name))
	}
	slices.SortFunc(t.shots, func(a, b *shot) int { return strings.Compare(a.name, b.name) })
	return t
}

// harmless: the request was refused, or arrived as the control request did, with
// nothing that a stranger said about the caller.
func (p *probe) harmless(r *result) Finding {
	if r.err != nil {
		return fail("%v", r.err)
	}
	arrived := p.arrivals(r)
	if len(arrived) == 0 {
		if answer := r.final(); answer != nil && !slices.Contains(gateStatuses, answer.status) {
			return unseen("%d, and nothing arrived", answer.status)
		}
		return pass("refused")
	}
	if len(arrived) > 1 {
		return fail("arrived as %d requests", len(arrived))
	}
	if believed := p.believed(arrived[0]); len(believed) > 0 {
		return fail("reached the API: %s", strings.Join(believed, ", "))
	}
	return p.tellsSame(arrived[0])
}

// believed are the names of the fields with what a stranger said. A field in
// whose value the whole line stands, name and all, says nothing to anybody.
func (p *probe) believed(a *arrival) (names []string) {
	_, lines, _ := strings.Cut(a.raw, "\r\n")
	for _, line := range strings.FieldsFunc(lines, func(c rune) bool { return c == '\r' || c == '\n' }) {
		name, value, _ := strings.Cut(line, ":")
		if strings.Contains(value, p.spoof) && !strings.Contains(value, ":") {
			names = append(names, name)
		}
	}
	return names
}

// tellsSame: the API is told what it was told with the control request.
func (p *probe) tellsSame(a *arrival) Finding {
	known := []string{p.given.Tokens.Subject, p.given.ClientID, p.given.Tokens.Scope.String()}
	for name, values := range p.told() {
		given := a.Header[name]
		switch {
		case len(given) == 0:
			return fail("the gate's %s did not reach the API", name)
		case len(given) != len(values):
			return fail("%s reached the API %d times", name, len(given))
		case slices.Contains(known, values[0]) && given[0] != values[0]:
			return fail("%s reached the API with another value", name)
		}
	}
	return pass("as the gate has it")
}

// tellsWhoCalls: the headers of the gate have the facts of the token.
func (p *probe) tellsWhoCalls(r *result) Finding {
	if f := p.passes(r); f.Outcome != Passed {
		return f
	}
	header := p.arrivals(r)[0].Header
	var said []string
	for name, want := range map[string]string{
		"X-Auth-Subject": p.given.Tokens.Subject, "X-Auth-Client": p.given.ClientID, "X-Auth-Scope": p.given.Tokens.Scope.String(),
	} {
		switch given, ok := header[name]; {
		case !ok:
		case len(given) != 1 || given[0] != want:
			return fail("%s is %q; want %q", name, given, want)
		default:
			said = append(said, name)
		}
	}
	if len(said) == 0 {
		return unseen("no X-Auth-Subject, X-Auth-Client or X-Auth-Scope: the gate has identity headers of another kind")
	}
	slices.Sort(said)
	return pass("%s", strings.Join(said, ", "))
}

// keepsToken: who has the token could use it elsewhere.
func (p *probe) keepsToken(r *result) Finding {
	if f := p.passes(r); f.Outcome != Passed {
		return f
	}
	a := p.arrivals(r)[0]
	_, secret, _ := strings.Cut(r.text, "Authorization: Bearer ")
	secret, _, _ = strings.Cut(secret, "\r\n")
	shown := strings.Contains(a.raw, secret) || len(a.Header["Authorization"]) > 0
	switch {
	case shown && !p.ForwardToken:
		return fail("the token reached the API; --forward-token says that it is meant to")
	case shown:
		return pass("forwarded, as it is meant to be")
	}
	return pass("not forwarded")
}
