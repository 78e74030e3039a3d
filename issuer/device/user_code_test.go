package device

import (
	"strings"
	"testing"
)

// TestUserCode: RFC 8628 §6.1, in any case, with dashes and spaces or without;
// look-alikes are wrong codes like any other.
func TestUserCode(t *testing.T) {
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJBMJHT", "wdjbmjht": "WDJBMJHT", " wd jb mj-ht ": "WDJBMJHT",
		"WDJB-MJH": "", "WDJB-MJHTT": "", "WDJB-MJH0": "", "WDJB-MJHA": "", "ＷDJBMJHT": "", "WDJBМJHT": "", "": "",
		strings.Repeat("-", 64): "",
	} {
		if code, ok := NormalizeUserCode(typed); ok != (want != "") || (ok && code != want) {
			t.Errorf("normalizeUserCode(%q) = %q, %v; want %q", typed, code, ok, want)
		}
	}
	seen := make(map[string]bool)
	for range 1000 {
		code := NewUserCode()
		if seen[code] || len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
			t.Fatalf("user code %q", code)
		}
		seen[code] = true
	}
}
