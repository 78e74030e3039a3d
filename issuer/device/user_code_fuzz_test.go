package device

import (
	"strings"
	"testing"
)

// FuzzUserCode: what is read as a user code is eight letters of the alphabet of
// RFC 8628 §6.1, those that were typed and in their order; what is shown of it is
// read as the same.
func FuzzUserCode(f *testing.F) {
	for _, typed := range []string{
		"WDJB-MJHT", "wdjbmjht", " wd jb mj-ht ", "WDJB-MJH0", "ＷDJBMJHT", "WDJBМJHT", "", "--------", "WDJB\tMJHT", "ſWDJBMJHT", "ßßßß", "wdjb\x00mjht", "ﬀ",
		"WDJB–MJHT", strings.Repeat("W", 33), "\xff\xfe",
	} {
		f.Add(typed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := NormalizeUserCode(typed)
		if !ok {
			return
		}
		if len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		letters := strings.NewReplacer("-", "", " ", "").Replace(typed)
		if !strings.EqualFold(letters, code) {
			t.Errorf("%q is read as %q: other letters", typed, code)
		}
		for _, shown := range []string{DisplayUserCode(code), strings.ToLower(code), code} {
			if again, ok := NormalizeUserCode(shown); !ok || again != code {
				t.Errorf("%q is read as %q, and %q as %q", typed, code, shown, again)
			}
		}
	})
}
