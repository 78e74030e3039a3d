package caddymodule

import "testing"

// TestPatternCovers: where it says so, a rule that stands behind another one could
// never be used. In doubt it does not.
func TestPatternCovers(t *testing.T) {
	for _, test := range []struct {
		pattern, other string
		covers         bool
	}{
		{"*", "/a", true},
		{"/*", "/a/*", true},
		{"/a", "/A", true},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a/b/*", true},
		{"/a/*", "/a/*/c", true},
		{"/a/*", "/a", true},
		{"/a*", "/ab/*", true},
		{"/a/*/c", "/a/*/c", true},
		{"/a", "/a/", false},
		{"/a", "/a/*", false},
		{"/a/*", "/ab", false},
		{"/a/*", "/*", false},
		{"/a/*", "*", false},
		{"/a/*", "*.css", false},
		{"*.css", "/a.css", false},      // it does, but who would write that
		{"/a/*/c/*", "/a/b/c/d", false}, // a star in the middle is not for slashes
		{"/a/*", "/a/%2f", false},       // compared with the path as it was sent
		{"/a%20/*", "/a%20/b", false},
		{"/a//*", "/a//b", false}, // compared with slashes that are not merged
		{"/a/*", "/a//b", false},
	} {
		if got := patternCovers(test.pattern, test.other); got != test.covers {
			t.Errorf("%s covers %s: %t", test.pattern, test.other, got)
		}
	}
}
