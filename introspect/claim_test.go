package introspect

import (
	"encoding/json"
	"testing"
)

// TestClaim: what Claim finds is what encoding/json would find (RFC 6901 for
// paths).
func TestClaim(t *testing.T) {
	token := &Token{Claims: json.RawMessage(`{ "sub" : "alice", "n":-1.5e3 , "t":true,"nil":null,
		"quoted\"name":"a\\\"}","esc":1,"https://example.com/roles":["a","b"],
		"realm":{"x":{"roles":["}","]"]},"a/b":2,"m~n":3}, "empty":{}, "last":[] }`)}
	for _, c := range []struct{ name, want string }{
		{"sub", `"alice"`},
		{"n", `-1.5e3`},
		{"t", `true`},
		{"nil", `null`},
		{`quoted"name`, `"a\\\"}"`},
		{"esc", `1`},
		{"https://example.com/roles", `["a","b"]`},
		{"/realm/x/roles", `["}","]"]`},
		{"/realm/a~1b", `2`},
		{"/realm/m~0n", `3`},
		{"empty", `{}`},
		{"last", `[]`},
		{"missing", ""},
		{"roles", ""},            // of an inner object
		{"/realm/missing", ""},   //
		{"/sub/x", ""},           // no object
		{"/empty/x", ""},         //
		{"/realm/x/roles/0", ""}, // elements of arrays are not claims
		{"", ""},
	} {
		got, ok := token.Claim(c.name)
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("claim %q: %q, %v; want %q", c.name, got, ok, c.want)
		}
	}
	if _, ok := new(Token).Claim("sub"); ok {
		t.Error("a token without claims has one")
	}
	usual := &Token{Claims: json.RawMessage(`{"iss":"https://as","aud":["a"],"act":{"sub":"x"},"role":"admin"}`)}
	if allocs := testing.AllocsPerRun(100, func() { usual.Claim("role") }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
