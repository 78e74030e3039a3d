package probe

import (
	"net/http"
	"testing"
)

// TestJudgesAnswers: what an answer to a request without a token means where
// nobody can tell whether the API was reached.
func TestJudgesAnswers(t *testing.T) {
	came := func(status int, body string) *result {
		return &result{shot: new(shot), answers: []answer{{status: status, body: body}}}
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
		{"the gate refuses", p, http.StatusUnauthorized, "", Passed},
		{"the server refuses", p, http.StatusBadRequest, "", Passed},
		{"the path is unknown", p, http.StatusNotFound, "nothing here", Passed},
		{"the host is unknown", p, http.StatusOK, "", Passed},
		{"the API answers", p, http.StatusOK, "orders", Failed},
		{"somebody answers", p, http.StatusOK, "something else", Failed},
		{"nothing to read, all the same", p, http.StatusNoContent, "", Failed},
		{"the connection is handed over", p, http.StatusSwitchingProtocols, "", Failed},
		{"an unknown path, or the API's own", p, http.StatusNotFound, "no such order", NotSeen},
		{"a redirect, or the API's own", p, http.StatusFound, "", NotSeen},
		{"the API fails, or the proxy", p, http.StatusBadGateway, "", NotSeen},
		{"the API answers as the server does", vague, http.StatusOK, "", NotSeen},
	} {
		if f := test.probe.refused(came(test.status, test.body)); f.Outcome != test.want {
			t.Errorf("%s: %s (%s); want %s", test.name, f.Outcome, f.Detail, test.want)
		}
	}
	if f := p.refused(&result{shot: new(shot)}); f.Outcome != Passed {
		t.Errorf("a connection that was ended: %s", f.Outcome)
	}
	several := &result{shot: new(shot), answers: []answer{{status: 401}, {status: 200, body: "orders"}, {status: 400}}}
	if f := p.refused(several); f.Outcome != Failed {
		t.Errorf("a success among refusals: %s", f.Outcome)
	}
}
