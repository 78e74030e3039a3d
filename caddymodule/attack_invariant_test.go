package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// invariants are what entries name in their assertion. Each looks at the whole
// attempt: the answers, the backend, the log, or what the code has measured.
var invariants = map[string]func(*attempt){
	"none": func(*attempt) {},

	// Where the answers lead.
	"no_redirect_off_registered": noLocation,
	"location_on_registered":     locationOnRegistered,
	"location_on_as":             locationOnIssuer,
	"single_location":            singleLocation,
	"state_exact":                stateExact,
	"issuer_constant":            issuerConstant,
	"no_evil_in_response":        noEvilInResponse,
	"no_acao":                    noAllowedOrigin,
	"no_acao_for_origin":         noAllowedOrigin,
	"no_script":                  noScript,
	"no_placeholder_expansion":   noPlaceholderExpansion,

	// What others see.
	"evil_hits==0":               func(a *attempt) {}, // after every attack: see judgeAll
	"internal_hits==0":           bounded("internal_hits", 0),
	"no_protected_normal_form":   noProtectedNormalForm,
	"no_ctl_in_upstream_headers": noControlUpstream,
	"identity==sub_member_only":  identityFromSub,
	"no_upgrade_h2c_upstream":    noUpgradeUpstream,
	"second_is_401":              secondIs401,

	// What is written down.
	"log_escaped":         logEscaped,
	"secrets_not_in_logs": secretsPlanted,
	"token_not_in_logs":   secretsPlanted,

	// What the code has measured.
	"cpu<2ms":              bounded("cpu", 2),
	"latency<50ms":         bounded("latency", 50),
	"alloc<1MiB":           bounded("alloc", 1<<20),
	"rss_delta<2MiB":       bounded("rss_delta", 2<<20),
	"rss_delta<8MiB":       bounded("rss_delta", 8<<20),
	"jwks_fetches<=3":      bounded("jwks_fetches", 3),
	"successes==1":         exactly("successes", 1),
	"live_successors<=1":   bounded("live_successors", 1),
	"no_live_after_revoke": bounded("live_after_revoke", 0),
	"not_approved_by_get":  bounded("approved_by_get", 0),
}

// bounded: the code has measured a number, and it is not above limit.
func bounded(name string, limit float64) func(*attempt) {
	return func(a *attempt) {
		a.Helper()
		if got, measured := a.measured[name]; !measured || got > limit {
			a.Errorf("%s is %v (measured: %t), want at most %v", name, got, measured, limit)
		}
	}
}

func exactly(name string, want float64) func(*attempt) {
	return func(a *attempt) {
		a.Helper()
		if got, measured := a.measured[name]; !measured || got != want {
			a.Errorf("%s is %v (measured: %t), want %v", name, got, measured, want)
		}
	}
}

func noLocation(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if at := e.Header.Values("Location"); len(at) > 0 {
			a.Errorf("%s: redirected to %q", e.path, at)
		}
	}
}

// locationOnRegistered: whoever is sent away is sent to a page of the issuer or to
// what the client of the attempt has registered.
func locationOnRegistered(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		for _, at := range e.Header.Values("Location") {
			if !onIssuer(at) && !strings.HasPrefix(at, "https://app.test/") {
				a.Errorf("%s: redirected to %q", e.path, at)
			}
		}
	}
}

func locationOnIssuer(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		for _, at := range e.Header.Values("Location") {
			if !onIssuer(at) {
				a.Errorf("%s: redirected to %q", e.path, at)
			}
		}
	}
}

// onIssuer reads a Location as a lenient browser does: backslashes are slashes,
// control characters are not there.
func onIssuer(location string) bool {
	location = strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case r <= ' ':
			return -1
		}
		return r
	}, location)
	u, err := url.Parse(location)
	if err != nil {
		return false
	}
	if u.Scheme == "" && u.Host == "" {
		return strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") || strings.HasPrefix(location, "?")
	}
	return u.Scheme == "https" && u.Host == "as.test" && u.User == nil
}

func singleLocation(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if at := e.Header.Values("Location"); len(at) > 1 || strings.ContainsAny(strings.Join(at, ""), "\r\n") {
			a.Errorf("%s: Location %q", e.path, at)
		}
	}
}

// stateExact: the state that was sent, in hostile, comes back after one decoding.
func stateExact(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		u, err := url.Parse(e.Header.Get("Location"))
		if err != nil || u.Query().Get("state") != a.hostile {
			a.Errorf("%s: Location %q, want the state %q", e.path, e.Header.Get("Location"), a.hostile)
		}
	}
}

// issuerConstant: metadata that is served names the issuer of the configuration,
// whatever the request says of the host.
func issuerConstant(a *attempt) {
	a.Helper()
	looked := false
	for _, e := range a.all() {
		if !e.toIssuer || e.StatusCode != http.StatusOK {
			continue
		}
		looked = true
		var document map[string]any
		if err := json.Unmarshal([]byte(e.body), &document); err != nil {
			a.Errorf("%s: %v", e.path, err)
		}
		for name, value := range document {
			text, isText := value.(string)
			if isText && strings.Contains(text, "://") && text != "https://as.test" && !strings.HasPrefix(text, "https://as.test/") {
				a.Errorf("%s: %s is %q", e.path, name, text)
			}
		}
	}
	if a.Area == "gateway-path" && !looked {
		a.Log("no metadata was served")
	}
}

func noEvilInResponse(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		var all bytes.Buffer
		_ = e.Header.Write(&all)
		if strings.Contains(all.String()+e.body, "evil") {
			a.Errorf("%s: the answer repeats what the request says of the host: %s%s", e.path, all.String(), e.body)
		}
	}
}

func noAllowedOrigin(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if got := e.Header.Values("Access-Control-Allow-Origin"); len(got) > 0 {
			a.Errorf("%s: Access-Control-Allow-Origin %q", e.path, got)
		}
	}
}

// noScript: what was sent stands in no page as mark-up, and no page lets inline
// scripts run.
func noScript(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if !isHTML(e.answer) {
			continue
		}
		for _, part := range []string{"<img src=x", "<script>alert", `"><img src=x`, "onerror=alert(1)>"} {
			if strings.Contains(e.body, part) {
				a.Errorf("%s: the page has %q: %s", e.path, part, e.body)
			}
		}
		if found := liveURL.FindString(e.body); found != "" {
			a.Errorf("%s: the page has %q: %s", e.path, found, e.body)
		}
		policy := e.Header.Get("Content-Security-Policy")
		if policy == "" || strings.Contains(policy, "unsafe-inline") {
			a.Errorf("%s: Content-Security-Policy %q", e.path, policy)
		}
	}
}

// noPlaceholderExpansion: nothing of a request is handed to Caddy's replacer. The
// host's name and the process's environment are what placeholders would show.
func noPlaceholderExpansion(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if strings.Contains(e.body, "root:x:0") || strings.Contains(e.body, canary) {
			a.Errorf("%s: a placeholder was expanded: %s", e.path, e.body)
		}
	}
}

// noControlUpstream: each line of a head is one header field of printable text.
func noControlUpstream(a *attempt) {
	a.Helper()
	for _, request := range a.backend.seen() {
		head, _, _ := strings.Cut(request, "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
				a.Errorf("the backend got %q", line)
			}
		}
		if got := fields(request, "X-Admin"); len(got) > 0 || strings.Contains(head, "root:x:0") {
			a.Errorf("a claim became a header: %q", head)
		}
	}
}

// identityFromSub: only the member sub is the subject, whatever is like it.
func identityFromSub(a *attempt) {
	a.Helper()
	for _, request := range a.backend.seen() {
		if got := fields(request, "X-User"); len(got) != 1 || got[0] != "alice" {
			a.Errorf("the backend is told X-User %q, want alice", got)
		}
	}
}

func noUpgradeUpstream(a *attempt) {
	a.Helper()
	for _, e := range a.all() {
		if e.StatusCode == http.StatusSwitchingProtocols {
			a.Error("the protocol was switched")
		}
	}
	for _, request := range a.backend.seen() {
		for _, name := range []string{"Upgrade", "HTTP2-Settings"} {
			if got := fields(request, name); len(got) > 0 {
				a.Errorf("the backend got %s %q", name, got)
			}
		}
	}
}

func secondIs401(a *attempt) {
	a.Helper()
	if len(a.exchanges) != 2 || a.exchanges[0].StatusCode != 200 || a.exchanges[1].StatusCode != 401 {
		a.Errorf("%d answers, want 200 and then 401", len(a.exchanges))
	}
}

// logEscaped: each line of the log is JSON, and quotes no more than 256 bytes of
// what was sent.
func logEscaped(a *attempt) {
	a.Helper()
	for line := range bytes.Lines(a.logSince(a.logStart)) {
		if !json.Valid(line) {
			a.Errorf("a log line is no JSON: %.300q", line)
		}
		if len(a.hostile) > 256 && bytes.Contains(line, []byte(a.hostile[:257])) {
			a.Errorf("a log line quotes more than 256 bytes: %.100q", line)
		}
	}
}

// secretsPlanted: the log is searched after every attack; here something must
// have been planted.
func secretsPlanted(a *attempt) {
	a.Helper()
	if len(a.planted) == 0 {
		a.Error("nothing was planted that the log could show")
	}
}

// noProtectedNormalForm: however a server might read the target that reached the
// backend, it is none that the caller may not ask for. A caller without a token
// may not ask for anything under /api; one whose token has not the scope admin,
// for nothing under /api/admin.
func noProtectedNormalForm(a *attempt) {
	a.Helper()
	protected := "/api"
	if a.identity != nil {
		protected = "/api/admin"
	}
	for _, request := range a.backend.seen() {
		line, _, _ := strings.Cut(request, "\r\n")
		_, rest, _ := strings.Cut(line, " ")
		target := rest[:max(0, strings.LastIndexByte(rest, ' '))]
		for reading, form := range normalForms(target) {
			if form == protected || strings.HasPrefix(form, protected+"/") {
				a.Errorf("%q reached the backend, which is %s to one that %s", target, form, reading)
			}
		}
	}
}

var pathParameters = regexp.MustCompile(`;[^/]*`)

// normalForms are the ways in which servers read a target, and what they make of
// it. Each decodes and cleans the path after its own habit.
func normalForms(target string) map[string]string {
	if at := strings.Index(target, "://"); at >= 0 {
		if slash := strings.IndexByte(target[at+3:], '/'); slash >= 0 {
			target = target[at+3+slash:]
		}
	}
	cut := func(text, ends string) string {
		if at := strings.IndexAny(text, ends); at >= 0 {
			return text[:at]
		}
		return text
	}
	target = cut(target, "?")
	once := decoded(target)
	clean := func(text string) string { return path.Clean("/" + text) }
	slashes := strings.ReplaceAll(once, `\`, "/")
	return map[string]string{
		"decodes once and cleans":            clean(once),
		"decodes twice":                      clean(decoded(once)),
		"takes backslashes for slashes":      clean(slashes),
		"does both":                          clean(strings.ReplaceAll(decoded(once), `\`, "/")),
		"strips parameters":                  clean(pathParameters.ReplaceAllString(once, "")),
		"strips parameters and then decodes": clean(decoded(pathParameters.ReplaceAllString(target, ""))),
		"merges slashes":                     clean(regexp.MustCompile(`/+`).ReplaceAllString(once, "/")),
		"folds case":                         strings.ToLower(clean(once)),
		"stops at NUL, # or ?":               clean(cut(once, "\x00#?")),
		"drops white space":                  clean(strings.Join(strings.Fields(once), "")),
		"reads overlong UTF-8":               clean(strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/").Replace(once)),
		"reads %u":                           clean(decoded(strings.NewReplacer("%u002e", ".", "%u002f", "/").Replace(strings.ToLower(target)))),
	}
}

// decoded decodes what can be decoded and leaves the rest.
func decoded(text string) string {
	var b strings.Builder
	for n := 0; n < len(text); n++ {
		if text[n] == '%' && n+2 < len(text) {
			if code, err := strconv.ParseUint(text[n+1:n+3], 16, 8); err == nil {
				b.WriteByte(byte(code))
				n += 2
				continue
			}
		}
		b.WriteByte(text[n])
	}
	return b.String()
}
