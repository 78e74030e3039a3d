package probe

import "testing"

// TestTarget: where a probe connects.
func TestTarget(t *testing.T) {
	for _, test := range []struct{ url, resolve, address string }{
		{"https://api.example.com/x", "", "api.example.com:443"},
		{"http://api.example.com", "", "api.example.com:80"},
		{"https://api.example.com:8443/x", "api.example.com:10.0.0.7", "10.0.0.7:8443"},
		{"https://api.example.com/x", "api.example.com:10.0.0.7:9443", "10.0.0.7:9443"},
		{"https://api.example.com/x", "api.example.com:::1", "[::1]:443"},
		{"https://api.example.com/x", "api.example.com:[::1]:9443", "[::1]:9443"},
	} {
		target, err := NewTarget(test.url, test.resolve, false)
		if err != nil || target.address != test.address || target.url.RequestURI() == "" {
			t.Errorf("%s, %s: %+v, %v; want %s", test.url, test.resolve, target, err, test.address)
		}
	}
	for _, bad := range []struct{ url, resolve string }{
		{"api.example.com/x", ""}, {"ftp://api.example.com/x", ""}, {"https://me@api.example.com/x", ""}, {"https:///x", ""},
		{"https://api.example.com/x", "example.com:10.0.0.7"}, {"https://api.example.com/x", "api.example.com:"}, {"https://api.example.com/x", "10.0.0.7"},
	} {
		if target, err := NewTarget(bad.url, bad.resolve, false); err == nil {
			t.Errorf("%s, %s: %+v", bad.url, bad.resolve, target)
		}
	}
}
