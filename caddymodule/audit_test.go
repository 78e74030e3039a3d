package caddymodule

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
)

// auditedCaddyfile sends the audit trail to a file of its own.
var auditedCaddyfile = strings.Replace(usualCaddyfile, "{\n", `{
	log trail {
		include oauth.audit
		output file $DIR/audit.json {
			roll_disabled
		}
		format json
	}
`, 1)

// trail returns the lines of that file.
func (s *server) trail() (all []map[string]any) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "audit.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, fields)
	}
	return all
}

// TestAuditLog: Caddy's option log sends the trail where operators want it, and
// nothing else with it, before a reload and after it; each line says which request
// it was, and from where.
func TestAuditLog(t *testing.T) {
	b := startBackend(t)
	s := start(t, auditedCaddyfile, b.address)
	for range 2 {
		before := len(s.trail())
		token := s.appToken()
		s.tokenRequest("app", canary).want(t, 401)
		s.send("GET", "/api/x", "", bearer("bad")).want(t, 401) // is the gate's to log
		s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(t, 200)
		s.adminCall("DELETE", "/oauth/clients/nobody", nil).want(t, 404)
		s.adminCall("GET", "/oauth/clients", nil).want(t, 200)
		lines := s.trail()[before:]
		want := []audit.Event{
			audit.TokenIssued, audit.ClientAuthenticationFailed, audit.TokenRevoked, audit.AdminRequest, audit.AdminRequest,
		}
		if before == 0 {
			want = append([]audit.Event{audit.KeyMade}, want...)
		}
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d: %v", len(lines), len(want), lines)
		}
		for n, line := range lines {
			if line["event"] != string(want[n]) || line["logger"] != auditLog || line["msg"] != audit.Message || line["level"] != "info" || line["issuer"] != s.url {
				t.Errorf("line %d is %v, want %s", n, line, want[n])
			}
			ofRequest := want[n] == audit.TokenIssued || want[n] == audit.ClientAuthenticationFailed
			if id, _ := line["request_id"].(string); (len(id) == 36) != ofRequest {
				t.Errorf("%s: request_id %q", want[n], id)
			}
			if want[n] != audit.KeyMade && line["remote_ip"] != "127.0.0.1" {
				t.Errorf("%s: remote_ip %v", want[n], line["remote_ip"])
			}
		}
		revoked, done, refused := lines[len(lines)-3], lines[len(lines)-2], lines[len(lines)-1]
		if revoked["via"] != "admin" || revoked["token_id"] == nil || revoked["client_id"] != "app" {
			t.Errorf("revoked: %v", revoked)
		}
		if done["path"] != "/oauth/tokens/revoke" || done["method"] != "POST" || done["error"] != nil {
			t.Errorf("done: %v", done)
		}
		if refused["path"] != "/oauth/clients/nobody" || refused["error"] == nil {
			t.Errorf("refused: %v", refused)
		}
		if err := s.load(auditedCaddyfile + "\n# reloaded\n"); err != nil {
			t.Fatal(err)
		}
	}
}
