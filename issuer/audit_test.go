package issuer

import (
	"net/http"
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
		strings.Repeat("a", 128):       strings.Repeat("a", 128),
		strings.Repeat("a", 129):       strings.Repeat("a", 128) + "...",
		strings.Repeat("a", 127) + "é": strings.Repeat("a", 127) + "?...", // cut inside a rune
	} {
		if got := audit.Loggable(in); got != want || !utf8.ValidString(got) {
			t.Errorf("loggable(%.40q) is %q, want %q", in, got, want)
		}
	}
}

// The trail says who did what, and from where.
func TestAuditTrail(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.ClientIP = func(*http.Request) string { return "192.0.2.7" } })
	token := f.issue(asSvc, "scope=read")
	expect(t, f.post("/revoke", "token="+token, asOther), 200, "")
	expect(t, f.post("/revoke", "token="+token, asSvc), 200, "")
	expect(t, f.post("/token", ccGrant, withBasic("svc", "canary")), 401, oauth.InvalidClient)
	for event, attrs := range map[string]map[string]string{
		"token_issued":                 {"client_id": "svc", "subject": "svc", "scope": "read", "grant_type": "client_credentials"},
		"revocation_refused":           {"client_id": "other", "owner": "svc"},
		"token_revoked":                {"client_id": "svc", "subject": "svc"},
		"client_authentication_failed": {"client_id": "svc", "method": "client_secret_basic", "reason": "wrong or missing secret"},
	} {
		events := f.log.event(event)
		if len(events) != 1 {
			t.Errorf("%s: %d lines", event, len(events))
			continue
		}
		attrs["issuer"], attrs["remote_ip"], attrs["level"], attrs["msg"] = fixtureURL, "192.0.2.7", "INFO", "audit"
		for name, want := range attrs {
			if events[0][name] != want {
				t.Errorf("%s: %s is %v, want %s", event, name, events[0][name], want)
			}
		}
	}
}
