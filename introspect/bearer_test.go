package introspect

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// RFC 6750 §2.1, §3.1.
func TestFromHeader(t *testing.T) {
	for _, test := range []struct {
		must   string
		values []string
		token  string // "" for an error
		err    error
		bare   string // the token where the bare form is accepted; "" for the same error
	}{
		{"the form of RFC 6750", []string{"Bearer a.b.c"}, "a.b.c", nil, "a.b.c"},
		{"the scheme has no case (RFC 9110 §11.1)", []string{"bEARER a"}, "a", nil, "a"},
		{"all of b64token", []string{"Bearer aZ09-._~+/=="}, "aZ09-._~+/==", nil, "aZ09-._~+/=="},
		{"the bare form", []string{"a.b.c"}, "", ErrNoToken, "a.b.c"},

		{"no header", nil, "", ErrNoToken, ""},
		{"an empty header", []string{""}, "", ErrNoToken, ""},
		{"Basic", []string{"Basic QQ=="}, "", ErrNoToken, ""},
		{"Digest", []string{`Digest username="a"`}, "", ErrNoToken, ""},
		{"DPoP (RFC 9449)", []string{"DPoP a"}, "", ErrNoToken, ""},
		{"Token", []string{"Token a"}, "", ErrNoToken, ""},
		{"JWT", []string{"JWT a"}, "", ErrNoToken, ""},
		{"Bearer with a colon", []string{"Bearer: a"}, "", ErrNoToken, ""},
		{"a tab for the space", []string{"Bearer\ta"}, "", ErrNoToken, ""},
		{"a leading space", []string{" Bearer a"}, "", ErrNoToken, ""},
		{"another scheme and ours", []string{"Basic QQ==, Bearer a"}, "", ErrNoToken, ""},
		{"a letter like ours", []string{"Beare\u0280 a"}, "", ErrNoToken, ""},
		{"a bare list", []string{"a,b"}, "", ErrNoToken, ""},
		{"a bare quoted token", []string{`"a"`}, "", ErrNoToken, ""},
		{"bare JSON", []string{`{"a":1}`}, "", ErrNoToken, ""},
		{"bare with a NUL", []string{"a\x00"}, "", ErrNoToken, ""},
		{"bare padding alone", []string{"=="}, "", ErrNoToken, ""},

		{"two headers", []string{"Bearer a", "Bearer b"}, "", ErrMalformedRequest, ""},
		{"two equal headers", []string{"Bearer a", "Bearer a"}, "", ErrMalformedRequest, ""},
		{"two schemes", []string{"Basic QQ==", "Bearer a"}, "", ErrMalformedRequest, ""},
		{"an empty one beside", []string{"", "Bearer a"}, "", ErrMalformedRequest, ""},

		{"no token", []string{"Bearer"}, "", ErrInactive, ""},
		{"no token after the space", []string{"Bearer "}, "", ErrInactive, ""},
		{"two spaces", []string{"Bearer  a"}, "", ErrInactive, ""},
		{"a space after", []string{"Bearer a "}, "", ErrInactive, ""},
		{"two tokens", []string{"Bearer a b"}, "", ErrInactive, ""},
		{"a list", []string{"Bearer a, Bearer b"}, "", ErrInactive, ""},
		{"a list without space", []string{"Bearer a,b"}, "", ErrInactive, ""},
		{"a quoted token", []string{`Bearer "a"`}, "", ErrInactive, ""},
		{"a parameter", []string{"Bearer token=a"}, "", ErrInactive, ""},
		{"JSON", []string{`Bearer {"a":1}`}, "", ErrInactive, ""},
		{"NUL", []string{"Bearer a\x00x"}, "", ErrInactive, ""},
		{"a byte above ASCII", []string{"Bearer a\x80"}, "", ErrInactive, ""},
		{"percent-encoding", []string{"Bearer a%2eb"}, "", ErrInactive, ""},
		{"padding inside", []string{"Bearer a=b"}, "", ErrInactive, ""},
		{"padding alone", []string{"Bearer =="}, "", ErrInactive, ""},
	} {
		t.Run(test.must, func(t *testing.T) {
			h := http.Header{"Proxy-Authorization": {"Bearer x"}, "X-Authorization": {"Bearer x"}, "Cookie": {"access_token=x"}}
			if test.values != nil {
				h["Authorization"] = test.values
			}
			token, err := FromHeader(h, false)
			if token != test.token || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v; want %q, %v", token, err, test.token, test.err)
			}
			token, err = FromHeader(h, true)
			if token != test.bare || (token == "") != (err != nil) {
				t.Errorf("bare: got %q, %v; want %q", token, err, test.bare)
			}
			if token == "" && !errors.Is(err, test.err) {
				t.Errorf("bare: error = %v, want %v", err, test.err)
			}
		})
	}
}

// RFC 6750 §3.
func TestChallenge(t *testing.T) {
	for _, test := range []struct {
		challenge Challenge
		want      string
	}{
		{Challenge{}, `Bearer realm=""`}, // one parameter at least must follow
		{Challenge{Error: "invalid_token"}, `Bearer error="invalid_token"`},
		{
			Challenge{"api", "a b", "insufficient_scope", "more is needed", "https://api.test/.well-known/oauth-protected-resource"},
			`Bearer realm="api", error="insufficient_scope", error_description="more is needed", scope="a b", ` +
				`resource_metadata="https://api.test/.well-known/oauth-protected-resource"`,
		},
		{Challenge{Realm: `a"b\c`, ErrorDescription: "x\r\nSet-Cookie: a\x00\x7f\u00e9"}, `Bearer realm="a?b?c", error_description="x??Set-Cookie: a???"`},
	} {
		got := test.challenge.String()
		if got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		if strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q is more than one header value", got)
		}
	}
}
