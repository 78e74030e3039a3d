package signin

import "testing"

// TestCookieNames: issuers with a path share a host, and no cookie (RFC 6265bis
// §4.1.3.2).
func TestCookieNames(t *testing.T) {
	a := New(Config{URL: "https://auth.test/a", BasePath: "/a"}, nil)
	b := New(Config{URL: "https://auth.test/b", BasePath: "/b"}, nil)
	if a.cookieName("session") == b.cookieName("session") {
		t.Error("two issuers on one host share a cookie")
	}
}
