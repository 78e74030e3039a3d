package issuer

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// Whatever a stranger sends is one log line of a bounded size; the fixture
// checks every line at the end of the test.
func TestStrangersTextInTheLog(t *testing.T) {
	f := newFixture(t)
	for name, text := range map[string]string{
		"line breaks": "a\r\n{\"level\":\"ERROR\"}", "escape": "\x1b[2J", "NUL": "\x00", "not UTF-8": "\xff\xfe",
		"1 MiB by Basic": strings.Repeat("i", 1<<20), "runes": strings.Repeat("é", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(f.log.event("client_authentication_failed"))
			expect(t, f.post("/token", ccGrant, withBasic(text, "canary")), 401, oauth.InvalidClient)
			events := f.log.event("client_authentication_failed")[before:]
			if len(events) != 1 {
				t.Fatalf("%d events", len(events))
			}
			id := events[0]["client_id"].(string)
			if len(id) > 400 || strings.IndexFunc(id, func(c rune) bool { return c < 0x20 || c == 0x7f }) >= 0 {
				t.Errorf("logged %q", id)
			}
		})
	}
	long := strings.Repeat("x", 50_000)
	for _, path := range []string{"/" + long, "/%0d%0a%1b" + long} {
		expect(t, f.get(path), 404, oauth.InvalidRequest)
	}
	for _, parameter := range []string{"grant_type", "scope", "resource", "client_id", "client_secret", "code", long} {
		w := f.post("/token", parameter+"="+long+canary+"%0a", asSvc)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%.20s: %d", parameter, w.Code)
		}
	}
}

func TestLoggable(t *testing.T) {
	for in, want := range map[string]string{
		"svc": "svc", "": "", "a\r\nb": "a??b", "\x1b[2J": "?[2J", "\x7f": "?", "é": "é", "a\xff": "a?",
		"a\u009b31mb": "a?31mb", "a\u202eb": "a?b", "a\u2028b": "a?b", "a\u200bb": "a?b", // act on terminals and readers, or are not seen
		strings.Repeat("a", 128):       strings.Repeat("a", 128),
		strings.Repeat("a", 129):       strings.Repeat("a", 128) + "...",
		strings.Repeat("a", 127) + "é": strings.Repeat("a", 127) + "?...", // cut inside a rune
	} {
		if got := audit.Loggable(in); got != want || !utf8.ValidString(got) {
			t.Errorf("loggable(%.40q) is %q, want %q", in, got, want)
		}
	}
}

// checkAuditLine holds a line of the log, if it is one of the trail, against the
// list of events: what the list does not have, no operator was told of.
func checkAuditLine(line string) error {
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["msg"] != audit.Message {
		return nil // what is no JSON is reported elsewhere
	}
	name, _ := fields["event"].(string)
	kind, ok := audit.Event(name).Describe()
	if !ok {
		return fmt.Errorf("there is no event %q", name)
	}
	if fields["issuer"] != fixtureURL && !strings.HasPrefix(fmt.Sprint(fields["issuer"]), "http") {
		return fmt.Errorf("%s does not say of which issuer", name)
	}
	for _, known := range slices.Concat(audit.CommonFields(), kind.Fields, []string{"time", "level", "msg"}) {
		delete(fields, known)
	}
	if len(fields) > 0 {
		return fmt.Errorf("%s has fields that it should not have: %v", name, slices.Sorted(maps.Keys(fields)))
	}
	return nil
}

// The trail says who did what, and from where.
func TestAuditTrail(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.ClientIP = func(*http.Request) string { return "192.0.2.7" }
		c.RequestID = func(*http.Request) string { return "request-1" }
	})
	token := f.issue(asSvc, "scope=read")
	id := f.facts(token).ID
	expect(t, f.post("/revoke", "token="+token, asOther), 200, "")
	expect(t, f.post("/revoke", "token="+token, asSvc), 200, "")
	expect(t, f.post("/token", ccGrant, withBasic("svc", "canary")), 401, oauth.InvalidClient)
	for event, attrs := range map[string]map[string]string{
		"token_issued":                 {"client_id": "svc", "subject": "svc", "scope": "read", "grant_type": "client_credentials", "token_id": id},
		"revocation_refused":           {"client_id": "other", "owner": "svc", "token_id": id},
		"token_revoked":                {"client_id": "svc", "subject": "svc", "token_id": id},
		"client_authentication_failed": {"client_id": "svc", "method": "client_secret_basic", "reason": "wrong or missing secret"},
	} {
		events := f.log.event(event)
		if len(events) != 1 {
			t.Errorf("%s: %d lines", event, len(events))
			continue
		}
		attrs["issuer"], attrs["remote_ip"], attrs["level"], attrs["msg"] = fixtureURL, "192.0.2.7", "INFO", "audit"
		attrs["request_id"] = "request-1"
		for name, want := range attrs {
			if events[0][name] != want {
				t.Errorf("%s: %s is %v, want %s", event, name, events[0][name], want)
			}
		}
	}
}
