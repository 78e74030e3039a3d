package caddymodule

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startPHP runs PHP's own web server, which answers every request with what a
// script sees of it in $_SERVER.
func startPHP(t *testing.T) (address string) {
	t.Helper()
	address = freeAddress(t)
	script := filepath.Join(t.TempDir(), "index.php")
	if err := os.WriteFile(script, []byte("<?php header('Content-Type: application/json'); echo json_encode($_SERVER);"), 0o600); err != nil {
		t.Fatal(err)
	}
	php := exec.Command("php", "-n", "-S", address, script)
	php.Stderr = t.Output()
	if err := php.Start(); err != nil {
		t.Fatal("this test needs php: ", err)
	}
	t.Cleanup(func() {
		_ = php.Process.Kill()
		_ = php.Wait()
	})
	eventually(t, "PHP listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// TestPHP: PHP folds the names of headers into those of variables. None of the
// spellings that end up in the gate's variables holds what a client says, with a
// token or where none is needed.
func TestPHP(t *testing.T) {
	s := start(t, gateWith("public /api/open/*", "identity_token X-Identity", "scope * api:read"), startPHP(t))
	token := s.forge("at+jwt", nil)
	variables := map[string]string{
		"HTTP_X_AUTH_SUBJECT": "app", "HTTP_X_AUTH_CLIENT": "app", "HTTP_X_AUTH_SCOPE": "api:read api:write", "HTTP_X_AUTH_ACTOR": "", "HTTP_X_IDENTITY": "eyJ",
	}
	see := func(head string) map[string]any {
		t.Helper()
		a := s.raw(t, head, 1)[0]
		a.want(t, 200)
		var seen map[string]any
		if err := json.Unmarshal([]byte(a.body), &seen); err != nil {
			t.Fatalf("%v: %s", err, a.body)
		}
		return seen
	}
	for _, name := range []string{
		"X-Auth-Subject", "X_Auth_Subject", "X.Auth.Subject", "X.Auth-Subject", "X_Auth.Subject", "x-auth_subject", "X-AUTH-SUBJECT", "X~Auth~Subject", "X!Auth!Subject",
		"X-Auth-Client", "X_Auth_Client", "X.Auth.Client", "X-Auth-Scope", "X_Auth_Scope", "X.Auth.Scope", "X-Auth-Actor", "X_Auth.Actor",
		"X-Identity", "X_Identity", "X.Identity",
		"Remote-User", "Remote_User", "Remote.User", "X-Forwarded-User", "X_Forwarded_User",
	} {
		for _, lines := range [][]string{{name + ": " + evil}, {name + ": " + evil, name + ": " + evil}} {
			seen := see(s.rawRequest("GET", "/api/x", append(lines, bearer(token), "Connection: close")...))
			for variable, value := range seen {
				if text, _ := value.(string); strings.Contains(text, evil) {
					t.Errorf("%s: a client sets %s", name, variable)
				}
			}
			for variable, want := range variables {
				got, _ := seen[variable].(string)
				if got != want && !(want == "eyJ" && strings.HasPrefix(got, want)) {
					t.Errorf("%s: %s is %q, want %q", name, variable, got, want)
				}
			}
			if seen["HTTP_AUTHORIZATION"] != nil {
				t.Errorf("%s: the token reaches PHP", name)
			}
			open := see(s.rawRequest("GET", "/api/open/x", append(lines, "Connection: close")...))
			for variable, value := range open {
				if text, _ := value.(string); strings.Contains(text, evil) {
					t.Errorf("%s: where no token is needed a client sets %s", name, variable)
				}
				if _, identity := variables[variable]; identity {
					t.Errorf("%s: somebody calls where nobody does: %s=%v", name, variable, value)
				}
			}
		}
	}
}
