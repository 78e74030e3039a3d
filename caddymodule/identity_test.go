package caddymodule

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// evil is a value that no API may ever see in a header about the caller.
const evil = "administrator-by-own-decree"

// TestIdentityHeadersOfStrangers: nobody but the gate tells the API who calls.
// The names are sent as bytes, and looked for as bytes, because servers behind a
// gate take X_Auth_Subject, X.Auth.Subject and X-Auth-Subject for one variable.
func TestIdentityHeadersOfStrangers(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()

	spellings := []string{
		"X-Auth-Subject", "x-auth-subject", "X-AUTH-SUBJECT", "X_Auth_Subject", "X_AUTH_SUBJECT", "X.Auth.Subject", "X--Auth-Subject",
		"x--auth-subject", "X_-Auth-_Subject", "X-Auth_Subject", "XAuthSubject", "X-Auth-Subject-", "-X-Auth-Subject", "X~Auth~Subject",
		"X-Auth!Subject", "X|Auth|Subject", "X-Auth-Client", "X_Auth_Client", "X-Auth-Scope", "X.auth.scope",
	}
	for _, name := range slices.Concat(spellings, neverFromOutside) {
		answers := s.raw(t, s.rawRequest("GET", "/api/x", bearer(token), name+": "+evil, name+": "+evil), 1)
		answers[0].want(t, 200)
		got := b.one(t)
		if strings.Contains(got, evil) {
			t.Errorf("%s reaches the backend: %q", name, got)
		}
		for header, want := range map[string]string{"X-Auth-Subject": "app", "X-Auth-Client": "app", "X-Auth-Scope": "api:read api:write"} {
			if values := fields(got, header); !slices.Equal(values, []string{want}) {
				t.Errorf("%s sent: the backend gets %s %q", name, header, values)
			}
		}
	}

	// Names that are no tokens (RFC 9110 §5.1) are refused, not repaired.
	for _, name := range []string{"X-Auth-Subject ", "X-Auth-Subject\x0b", "X\xe2\x80\x90Auth\xe2\x80\x90Subject", "X-Auth-Subject\x00"} {
		answers := s.raw(t, s.rawRequest("GET", "/api/x", bearer(token), name+": "+evil), 1)
		if got := statuses(answers); !slices.Equal(got, []int{400}) {
			t.Errorf("%q: %v, want 400", name, got)
		}
		b.none(t)
	}
	for name, line := range map[string]string{
		"a bare CR":          "X-A: b\rX-Auth-Subject: " + evil,
		"a NUL":              "X-A: b\x00",
		"a name that folds":  " X-Auth-Subject: " + evil,
		"a folded line":      "X-A: b\r\n X-Auth-Subject: " + evil,
		"no name":            ": " + evil,
		"a name and nothing": "X-Auth-Subject",
	} {
		for _, a := range s.raw(t, s.rawRequest("GET", "/api/x", bearer(token), line), 1) {
			for _, request := range b.take() {
				if len(fields(request, "X-Auth-Subject")) != 1 || fields(request, "X-Auth-Subject")[0] != "app" {
					t.Errorf("%s: %d, and the backend gets %q", name, a.StatusCode, request)
				}
			}
		}
	}
}

// TestConnectionFields: Connection names the fields that a proxy must remove
// (RFC 9110 §7.6.1). Those of the gate are not among them.
func TestConnectionFields(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	for _, connection := range []string{
		"X-Auth-Subject", "close, X-Auth-Subject", "keep-alive, X-Auth-Subject, X-Auth-Client, X-Auth-Scope", "x-auth-subject",
		"X-Auth-Subject, close\r\nConnection: X-Auth-Client", ",,X-Auth-Subject,,", "X_Auth_Subject", "X-Forwarded-For, X-Auth-Subject",
		"upgrade, X-Auth-Subject\r\nUpgrade: h2c", "\tX-Auth-Subject\t",
	} {
		answers := s.raw(t, s.rawRequest("GET", "/api/x", bearer(token), "Connection: "+connection), 1)
		answers[0].want(t, 200)
		got := b.one(t)
		for _, header := range []string{"X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope"} {
			if len(fields(got, header)) != 1 {
				t.Errorf("Connection: %s removes %s: %q", connection, header, got)
			}
		}
	}
	// Connection: Authorization must not hide a token from the gate, or show it
	// to the backend.
	s.raw(t, s.rawRequest("GET", "/api/x", bearer(token), "Connection: Authorization"), 1)[0].want(t, 200)
	if got := fields(b.one(t), "Authorization"); got != nil {
		t.Errorf("Authorization %q reaches the backend", got)
	}
}

// TestUpgrades: only a websocket may leave HTTP; h2c would carry requests past
// the gate.
func TestUpgrades(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	for _, lines := range [][]string{
		{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"},
		{"Connection: Upgrade", "Upgrade: h2c"},
		{"Connection: Upgrade", "Upgrade: H2C, websocket"},
		{"Connection: Upgrade", "Upgrade: websocket, h2c"},
		{"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"},
		{"Connection: Upgrade", "Upgrade: TLS/1.0"},
		{"Upgrade: h2c"},
	} {
		for _, a := range s.raw(t, s.rawRequest("GET", "/api/x", append(lines, bearer(token))...), 1) {
			a.want(t, 200)
		}
		got := b.one(t)
		for _, header := range []string{"Upgrade", "HTTP2-Settings"} {
			if values := fields(got, header); values != nil {
				t.Errorf("%q: %s %q reaches the backend", lines, header, values)
			}
		}
	}
	a := s.raw(t, s.rawRequest("GET", "/api/x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 1)
	a[0].want(t, 401)
	b.none(t)
}

// TestHeaderText: whatever a claim holds, it is one line and can be decoded.
func TestHeaderText(t *testing.T) {
	for value, want := range map[string]string{
		"alice":                "alice",
		"a b":                  "a b",
		"100%":                 "100%25",
		"Zoé":                  "Zo%C3%A9",
		"a\r\nX-Auth-Scope: *": "a%0D%0AX-Auth-Scope: *",
		"\x00\x7f\t":           "%00%7F%09",
	} {
		got := headerText(value)
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != value {
			t.Errorf("%q does not decode to %q: %q, %v", got, value, back, err)
		}
	}
}
