package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// trail is a Trail whose lines can be read.
func newTestTrail() (*Trail, *bytes.Buffer) {
	log := new(bytes.Buffer)
	logger := slog.New(slog.NewJSONHandler(log, nil))
	return NewTrail(logger, "https://auth.test", func(*http.Request) string { return "192.0.2.7" }, func(*http.Request) string { return "request-1" }), log
}

// lines returns what was written since it was called last.
func lines(t *testing.T, log *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	defer log.Reset()
	for line := range bytes.Lines(log.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		all = append(all, fields)
	}
	return all
}

// TestRecord: a line says what, whose, which request and from where, and has no
// empty fields.
func TestRecord(t *testing.T) {
	trail, log := newTestTrail()
	trail.Record(httptest.NewRequest("POST", "/token", nil), TokenIssued,
		slog.String("client_id", "svc"), slog.String("actor", ""), slog.Any("resource", []string(nil)))
	got := lines(t, log)[0]
	for field, want := range map[string]any{
		"msg": Message, "level": "INFO", "event": "token_issued", "issuer": "https://auth.test", "client_id": "svc",
		"request_id": "request-1", "remote_ip": "192.0.2.7", "actor": nil, "resource": nil, "via": nil, "not_logged_before": nil,
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
}

// TestRecordOperation: of what no request to the issuer caused, it says which
// operator did it, or nothing where time did.
func TestRecordOperation(t *testing.T) {
	trail, log := newTestTrail()
	trail.RecordOperation(t.Context(), KeyMade)
	trail.RecordOperation(ByOperator(t.Context(), Operator{Via: "admin", RemoteIP: "127.0.0.1"}), ClientRemoved)
	got := lines(t, log)
	if by := got[0]; by["via"] != nil || by["remote_ip"] != nil || by["request_id"] != nil {
		t.Errorf("time at work: %v", by)
	}
	if by := got[1]; by["via"] != "admin" || by["remote_ip"] != "127.0.0.1" || by["event"] != "client_removed" {
		t.Errorf("an operator: %v", by)
	}
}

// TestFlood: what anybody can cause is bounded, event by event, so that a flood of
// one hides no other; what somebody known does is written every time.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail, log := newTestTrail()
		r := httptest.NewRequest("POST", "/token", nil)
		flood := func(event Event, times int) int {
			for range times {
				trail.Record(r, event)
			}
			return len(lines(t, log))
		}
		const share = linesAtOnce / sharesOfBudget // all requests come from one address
		if n := flood(TokenRefused, share+50); n != share {
			t.Errorf("%d lines at once, want %d", n, share)
		}
		if n := flood(LoginFailed, 3); n != 3 {
			t.Errorf("a flood of one event hides another: %d lines", n)
		}
		if n := flood(TokenIssued, 3*linesAtOnce); n != 3*linesAtOnce {
			t.Errorf("%d lines about what is known, want all", n)
		}
		time.Sleep(time.Second)
		trail.Record(r, TokenRefused)
		if got := lines(t, log); len(got) != 1 || got[0]["not_logged_before"] != 50.0 {
			t.Errorf("the next line does not tell of those that were left out: %v", got)
		}
	})
}

// TestFloodOfOneSite: one customer's 65,536 networks leave room for the lines about
// others.
func TestFloodOfOneSite(t *testing.T) {
	log, from := new(bytes.Buffer), ""
	trail := NewTrail(slog.New(slog.NewJSONHandler(log, nil)), "https://auth.test",
		func(*http.Request) string { return from }, func(*http.Request) string { return "" })
	r := httptest.NewRequest("POST", "/token", nil)
	for n := range 3 * linesAtOnce {
		from = fmt.Sprintf("2001:db8:1:%x::1", n)
		trail.Record(r, LoginFailed)
	}
	if n := len(lines(t, log)); n != linesAtOnce/sharesOfBudget {
		t.Errorf("%d lines about one customer, want %d", n, linesAtOnce/sharesOfBudget)
	}
	from = "192.0.2.1"
	if trail.Record(r, LoginFailed); len(lines(t, log)) != 1 {
		t.Error("no line about another")
	}
}

// What acts on whoever reads the log is in no line, whoever has made the text up:
// another issuer names the subjects of its tokens.
func TestTextsAreTame(t *testing.T) {
	trail, log := newTestTrail()
	trail.Record(httptest.NewRequest("POST", "/token", nil), TokenIssued,
		slog.String("subject", "https://idp.test|alice\u202etxt\u200b\u2028\u009b31m"), slog.String("client_id", "svc"))
	for _, line := range lines(t, log) {
		if got := line["subject"]; got != "https://idp.test|alice?txt???31m" {
			t.Errorf("subject %q", got)
		}
	}
}
