package caddymodule

import (
	"strings"
	"testing"
)

// TestProtectMistakes: each mistake in an option of the gate is refused when the
// configuration is loaded, and the message says what is wrong.
func TestProtectMistakes(t *testing.T) {
	s := newServer(t, "127.0.0.1:9")
	t.Setenv("XDG_DATA_HOME", s.dir)
	validate := func(option string) error { return s.validate(gateWith(option)) }
	for _, good := range []string{
		"", "any_scope GET,M-SEARCH /a /b/* x y", "scope * /a x\nscope * y", "claim a b c", "expression true", "cors *", "cors https://a.example http://localhost:8080",
		"stream_grace 5s", "allow_target double_slash path_parameter", "metadata off", "optional\npublic /open/*", "identity_token X-Identity\nidentity_header X-A sub",
		"client a b\nsubject c\nactor d\nsubject_issuer https://e.example",
	} {
		if err := validate(good); err != nil {
			t.Fatalf("the control %q: %v", good, err)
		}
	}
	for _, test := range []struct{ option, says string }{
		{"any_scope GET", "any_scope wants a method"},
		{"any_scope GET /only/a/path", "any_scope wants a method"},
		{"scope GET /a x\nscope * /a y\nscope * z\nscope GET /b x", "would never be used, since the first rule for a request decides"},
		{"scope GET,* x", `method "*"`},
		{"scope GET,,PUT x", "write methods in upper case"},
		{`any_scope * "a\"b"`, "RFC 6749 section 3.3"},
		{"client", "wrong argument count"},
		{"subject", "wrong argument count"},
		{"actor", "wrong argument count"},
		{"subject_issuer", "wrong argument count"},
		{"claim", "claim wants the name of a claim"},
		{"claim role", "claim wants the name of a claim"},
		{`claim "" x`, "want the name of a claim"},
		{"expression", "wrong argument count"},
		{"expression `1 +`", "expression: "},
		{"expression `1 + 1`", "expression: "},
		{"expression true\nexpression false", "expression stands twice; combine them with &&"},
		{"optional yes", "wrong argument count"},
		{"report_only yes", "wrong argument count"},
		{"public", "wrong argument count"},
		{"allow_target", "wrong argument count"},
		{"allow_target everything", `there is no kind of target "everything"`},
		{"cors", "wrong argument count"},
		{"cors app.example.com", "want a scheme and a host and nothing else"},
		{"cors https://app.example.com/", "want a scheme and a host and nothing else"},
		{"cors https://app.example.com/path", "want a scheme and a host and nothing else"},
		{"cors null", "want a scheme and a host and nothing else"},
		{"cors https://user@app.example.com", "want a scheme and a host and nothing else"},
		{"identity_token", "wrong argument count"},
		{"identity_token X-A\nidentity_token X-B", "identity_token stands twice"},
		{`identity_token "X A"`, "want the name of a header"},
		{"identity_token Authorization", "header Authorization has a meaning of its own"},
		{"identity_token authorization", "has a meaning of its own"},
		{"identity_header Authorization sub", "header Authorization has a meaning of its own"},
		{"identity_header Connection sub", "has a meaning of its own"},
		{"identity_header X-A sub\nidentity_header x_a email", "header x_a stands twice"},
		{"identity_token X-Auth-Subject", "header X-Auth-Subject stands twice"},
		{"trusted_issuer https://idp.example\nidentity_token X-Identity", "identity_token is signed by an issuer of this server"},
		{"stream_grace", "stream_grace"},
		{"stream_grace soon", "stream_grace"},
		{"stream_grace -1s", "stream_grace"},
		{"metadata", "metadata wants on or off"},
		{"metadata maybe", "metadata wants on or off"},
	} {
		t.Run(strings.ReplaceAll(test.option, "\n", " "), func(t *testing.T) {
			err := validate(test.option)
			if err == nil {
				t.Fatal("it is accepted")
			}
			contains(t, err.Error(), test.says)
		})
	}
	for _, test := range []struct{ directive, says string }{
		{"oauth_resource_metadata", "wrong argument count"},
		{"oauth_resource_metadata /api", "want the URL that a gate has for it"},
		{"oauth_resource_metadata https://a.example https://b.example", "wrong argument count"},
	} {
		_, err := adapt(s.caddyfile(strings.Replace(usualCaddyfile, "\toauth_issuer\n", "\t"+test.directive+"\n", 1)))
		if err == nil {
			t.Errorf("%s is accepted", test.directive)
			continue
		}
		contains(t, err.Error(), test.says)
	}
}
