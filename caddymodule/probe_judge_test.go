package caddymodule

import (
	"net/http"
	"testing"
)

// TestProbeJudgesAnswers: what an answer to a request without a token means where
// nobody can tell whether the API was reached.
func TestProbeJudgesAnswers(t *testing.T) {
	came := func(status int, body string) *shotResult {
		return &shotResult{shot: new(shot), answers: []probeAnswer{{status: status, body: body}}}
	}
	p := &probe{control: came(200, "orders"), unknown: came(404, "nothing here"), elsewhere: came(200, "")}
	vague := &probe{control: came(200, ""), unknown: came(200, ""), elsewhere: came(200, "")}
	for _, test := range []struct {
		name   string
		probe  *probe
		status int
		body   string
		want   string
	}{
		{"the gate refuses", p, http.StatusUnauthorized, "", trialPassed},
		{"the server refuses", p, http.StatusBadRequest, "", trialPassed},
		{"the path is unknown", p, http.StatusNotFound, "nothing here", trialPassed},
		{"the host is unknown", p, http.StatusOK, "", trialPassed},
		{"the API answers", p, http.StatusOK, "orders", trialFailed},
		{"somebody answers", p, http.StatusOK, "something else", trialFailed},
		{"nothing to read, all the same", p, http.StatusNoContent, "", trialFailed},
		{"the connection is handed over", p, http.StatusSwitchingProtocols, "", trialFailed},
		{"an unknown path, or the API's own", p, http.StatusNotFound, "no such order", trialUnseen},
		{"a redirect, or the API's own", p, http.StatusFound, "", trialUnseen},
		{"the API fails, or the proxy", p, http.StatusBadGateway, "", trialUnseen},
		{"the API answers as the server does", vague, http.StatusOK, "", trialUnseen},
	} {
		if f := test.probe.refused(came(test.status, test.body)); f.Outcome != test.want {
			t.Errorf("%s: %s (%s); want %s", test.name, f.Outcome, f.Detail, test.want)
		}
	}
	if f := p.refused(&shotResult{shot: new(shot)}); f.Outcome != trialPassed {
		t.Errorf("a connection that was ended: %s", f.Outcome)
	}
	several := &shotResult{shot: new(shot), answers: []probeAnswer{{status: 401}, {status: 200, body: "orders"}, {status: 400}}}
	if f := p.refused(several); f.Outcome != trialFailed {
		t.Errorf("a success among refusals: %s", f.Outcome)
	}
}

// TestProbeFindsTheWorst: one shot that fails is enough, and what was not seen is
// not said to have passed.
func TestProbeFindsTheWorst(t *testing.T) {
	for _, test := range []struct {
		outcomes []string
		want     string
	}{
		{[]string{trialPassed, trialPassed}, trialPassed},
		{[]string{trialPassed, trialUnseen, trialPassed}, trialUnseen},
		{[]string{trialUnseen, trialFailed, trialPassed}, trialFailed},
		{[]string{trialFailed, trialUnseen}, trialFailed},
		{nil, trialUnseen},
	} {
		tried := &trial{class: "c", name: "n"}
		for _, outcome := range test.outcomes {
			tried.results = append(tried.results, &shotResult{shot: &shot{name: outcome}})
		}
		tried.judge = func(r *shotResult) finding { return finding{Outcome: r.name} }
		if f := tried.find(); f.Outcome != test.want || f.Class != "c" || f.Check != "n" {
			t.Errorf("%v: %+v; want %s", test.outcomes, f, test.want)
		}
	}
}

// TestProbeTarget: where a probe connects.
func TestProbeTarget(t *testing.T) {
	for _, test := range []struct{ url, resolve, address string }{
		{"https://api.example.com/x", "", "api.example.com:443"},
		{"http://api.example.com", "", "api.example.com:80"},
		{"https://api.example.com:8443/x", "api.example.com:10.0.0.7", "10.0.0.7:8443"},
		{"https://api.example.com/x", "api.example.com:10.0.0.7:9443", "10.0.0.7:9443"},
		{"https://api.example.com/x", "api.example.com:::1", "[::1]:443"},
		{"https://api.example.com/x", "api.example.com:[::1]:9443", "[::1]:9443"},
	} {
		target, err := newProbeTarget(test.url, test.resolve, false)
		if err != nil || target.address != test.address || target.url.RequestURI() == "" {
			t.Errorf("%s, %s: %+v, %v; want %s", test.url, test.resolve, target, err, test.address)
		}
	}
	for _, bad := range []struct{ url, resolve string }{
		{"api.example.com/x", ""}, {"ftp://api.example.com/x", ""}, {"https://me@api.example.com/x", ""}, {"https:///x", ""},
		{"https://api.example.com/x", "example.com:10.0.0.7"}, {"https://api.example.com/x", "api.example.com:"}, {"https://api.example.com/x", "10.0.0.7"},
	} {
		if target, err := newProbeTarget(bad.url, bad.resolve, false); err == nil {
			t.Errorf("%s, %s: %+v", bad.url, bad.resolve, target)
		}
	}
}
