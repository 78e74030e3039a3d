package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// attempt is one attack under way: the server, and what the judgement needs to
// know besides the entry's assertion.
type attempt struct {
	*testing.T
	*attackSite
	attack

	exchanges []exchange
	others    []exchange // that only invariants look at
	logStart  [2]int64

	// identity is what the backend must be told of the caller, by header; nothing
	// where the backend is to be told nothing. An attempt that shows a good token
	// sets it (see shows).
	identity map[string]string

	// forbidden may stand nowhere in what reaches the backend.
	forbidden []string

	// planted are secrets that may stand nowhere in the log.
	planted []string

	// hostile is a value that a log may quote, escaped and cut to 256 bytes.
	hostile string

	// measured are numbers that invariants look at, by the invariant's name
	// without its bound: "cpu" in milliseconds, "jwks_fetches".
	measured map[string]float64

	// fault: the backend or another server was made to fail, so that a 5xx is an
	// answer.
	fault bool
}

// exchange is an answer that the entry's assertion is about, and what it answers.
type exchange struct {
	answer
	toIssuer bool
	path     string
	took     time.Duration
}

// attempt begins an attack. What the backend, the log and the outside have seen
// before is not its own.
func (s *attackSite) attempt(t *testing.T, a attack) *attempt {
	cannotTell := false
	if earlier, known := refusedEarlier[a.ID]; known {
		a.Assert.Status, a.Assert.Backend = []int{earlier.status}, "none"
		if cannotTell = earlier.status == 503; cannotTell {
			a.Assert.Error = nil
		}
	}
	site, own := *s, *s.server
	own.t, site.server = t, &own
	s.backend.take()
	s.outside.take()
	return &attempt{T: t, attackSite: &site, attack: a, logStart: s.logLength(), measured: make(map[string]float64), fault: cannotTell}
}

// judge hands over what came back. An attempt may do more than it is judged by,
// such as getting a token first.
func (a *attempt) judge(exchanges ...exchange) { a.exchanges = append(a.exchanges, exchanges...) }

// seen hands over what invariants are to look at besides the judged answers.
func (a *attempt) seen(exchanges ...exchange) { a.others = append(a.others, exchanges...) }

// all are the judged answers and the others.
func (a *attempt) all() []exchange { return slices.Concat(a.exchanges, a.others) }

// plant names a secret that the log must not show. One that is so short that it
// could stand there for another reason is none.
func (a *attempt) plant(secret string) {
	if len(secret) >= 20 {
		a.planted = append(a.planted, secret)
	}
}

// judgeAll holds what came of the attack against the assertion, and against what
// must be true after every attack.
func (a *attempt) judgeAll() {
	a.Helper()
	if len(a.exchanges) == 0 && len(a.Assert.Status) > 0 {
		a.Fatal("nothing came back that could be judged")
	}
	for _, e := range a.exchanges {
		a.judgeExchange(e)
	}
	for _, e := range a.all() {
		a.judgeForm(e)
	}
	a.judgeBackend()
	for _, name := range a.Assert.Invariants {
		invariants[name](a)
	}
	a.judgeLog()
	if hits := a.outside.take(); len(hits) > 0 {
		a.Errorf("the server went to see a stranger: %q", hits)
	}
}

// outcome is what came back, for people.
func (a *attempt) outcome() string {
	var all []string
	for _, e := range a.exchanges {
		all = append(all, strings.TrimSpace(strconv.Itoa(e.StatusCode)+" "+e.errorCode()))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// judgeExchange: the status, and the code of the error.
func (a *attempt) judgeExchange(e exchange) {
	a.Helper()
	if wanted := a.Assert.Status; len(wanted) > 0 && !slices.Contains(wanted, e.StatusCode) {
		a.Errorf("%s: status %d, want one of %v: %s", e.path, e.StatusCode, wanted, e.body)
	}
	if e.StatusCode >= 500 && !a.fault && !slices.Contains(a.Assert.Status, e.StatusCode) {
		a.Errorf("%s: status %d though no fault was injected", e.path, e.StatusCode)
	}
	if len(a.Assert.Error) == 0 || e.StatusCode < 300 || isHTML(e.answer) {
		return
	}
	if code := e.errorCode(); !slices.Contains(a.Assert.Error, code) {
		a.Errorf("%s: error %q, want one of %q", e.path, code, a.Assert.Error)
	}
}

var challengeError = regexp.MustCompile(`[ ,]error="([^"]*)"`)

// errorCode is the code of a refusal, wherever it stands: in the challenge (RFC
// 6750 §3), in the body (RFC 6749 §5.2) or in a redirect (RFC 6749 §4.1.2.1).
func (e exchange) errorCode() string {
	if found := challengeError.FindStringSubmatch(e.Header.Get("WWW-Authenticate")); found != nil {
		return found[1]
	}
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(e.body), &body) == nil && body.Error != "" {
		return body.Error
	}
	if location, err := url.Parse(e.Header.Get("Location")); err == nil {
		return location.Query().Get("error")
	}
	return ""
}

func isHTML(a answer) bool { return strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") }

// judgeForm: an answer of the issuer that concerns tokens is JSON and is not kept
// by caches (RFC 6749 §5.1, §5.2); a challenge of the gate is not kept either.
func (a *attempt) judgeForm(e exchange) {
	a.Helper()
	stored := e.Header.Get("Cache-Control")
	if e.Header.Get("WWW-Authenticate") != "" && !strings.Contains(stored, "no-store") {
		a.Errorf("%s: a challenge under Cache-Control %q, want no-store", e.path, stored)
	}
	unserved := e.Header.Get("Server") == "" || e.StatusCode == http.StatusNotFound // never came to the issuer
	if !e.toIssuer || unserved || isMetadata(e.path) {
		return
	}
	if !strings.Contains(stored, "no-store") {
		a.Errorf("%s: Cache-Control %q, want no-store", e.path, stored)
	}
	if e.StatusCode >= 400 && !isPage(e.path) && !json.Valid([]byte(e.body)) {
		a.Errorf("%s: a refusal that is not JSON: %s", e.path, e.body)
	}
}

func isMetadata(path string) bool { return strings.Contains(path, "/.well-known/") }

// isPage tells whether people look at what a path answers.
func isPage(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	switch strings.Trim(path, "/") {
	case "token", "introspect", "revoke", "userinfo", "par", "register", "device-authorization", "device_authorization":
		return false
	}
	return !strings.HasPrefix(path, "/register/")
}

// judgeBackend looks at the bytes that reached the API.
func (a *attempt) judgeBackend() {
	a.Helper()
	requests := a.backend.seen()
	switch want := a.Assert.Backend; want {
	case "none":
		if len(requests) > 0 {
			a.Errorf("the backend got what was refused: %q", requests)
		}
	case "reached":
		if len(requests) == 0 {
			a.Error("nothing reached the backend")
		}
	case "clean", "own_identity":
		for _, request := range requests {
			a.judgeIdentity(request)
		}
	case "", "any", "oracle": // judged by an invariant, if at all
	default:
		a.Errorf("there is no judgement of the backend called %q", want)
	}
	for _, request := range requests {
		for _, part := range a.forbidden {
			if strings.Contains(request, part) {
				a.Errorf("%q reached the backend: %q", part, request)
			}
		}
	}
}

// judgeIdentity: each identity header is there once and says who calls, or is not
// there at all, however its name is written.
func (a *attempt) judgeIdentity(request string) {
	a.Helper()
	for name := range identityOfSite {
		want := []string(nil)
		if value, told := a.identity[name]; told {
			want = []string{value}
		}
		if got := fields(request, name); !slices.Equal(got, want) {
			a.Errorf("the backend is told %s %q, want %q", name, got, want)
		}
	}
}

// judgeLog: nothing panicked and no secret was written down.
func (a *attempt) judgeLog() {
	a.Helper()
	log := a.logSince(a.logStart)
	for _, sign := range []string{"panic", "goroutine "} {
		if at := bytes.Index(log, []byte(sign)); at >= 0 {
			a.Errorf("the log has %q: %s", sign, lineAround(log, at))
		}
	}
	for _, secret := range append(a.planted, canary) {
		if at := bytes.Index(log, []byte(secret)); at >= 0 {
			a.Errorf("a secret stands in the log: %s", lineAround(log, at))
		}
	}
}

func lineAround(text []byte, at int) []byte {
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	end := bytes.IndexByte(text[at:], '\n')
	if end < 0 {
		end = len(text) - at
	}
	return text[start : at+end]
}
