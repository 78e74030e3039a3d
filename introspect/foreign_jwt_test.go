package introspect

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// typ may be missing where that is configured, and only there; the empty string
// is no type (RFC 7515 §4.1.9).
func TestJWTWithoutType(t *testing.T) {
	s := pair("ES256")
	for _, test := range []struct {
		types []string
		typ   string
		good  bool
	}{
		{nil, `"typ":"at+jwt",`, true},
		{nil, ``, false},
		{nil, `"typ":"",`, false},
		{[]string{"JWT"}, ``, false},
		{[]string{"JWT"}, `"typ":"jwt",`, true},
		{[]string{"JWT", ""}, ``, true},
		{[]string{"JWT", ""}, `"typ":"JWT",`, true},
		{[]string{"JWT", ""}, `"typ":"at+jwt",`, false},
		{[]string{""}, ``, true},
		{[]string{""}, `"typ":"",`, false},
		{[]string{""}, `"typ":"application/",`, false},
		{[]string{""}, `"typ":null,`, false},
		{[]string{""}, `"typ":"JWT",`, false},
	} {
		header := `{` + test.typ + `"alg":"ES256","kid":"` + s.id + `"}`
		_, err := newTestJWT(t, JWTConfig{Types: test.types}).Introspect(t.Context(), s.sign(header, claims(nil)))
		if (err == nil) != test.good {
			t.Errorf("types %q, %s: %v", test.types, header, err)
		}
	}
}

// azp and appid stand in for a client_id that is missing and may be.
func TestJWTAuthorizedParty(t *testing.T) {
	for _, test := range []struct {
		must     string
		optional []string
		claims   map[string]any
		want     string // "" for a refusal
	}{
		{"client_id goes first", []string{"client_id"}, map[string]any{"azp": "a", "appid": "b"}, "web"},
		{"azp is next", []string{"client_id"}, map[string]any{"client_id": nil, "azp": "a", "appid": "b"}, "a"},
		{"appid is last", []string{"client_id"}, map[string]any{"client_id": nil, "appid": "b"}, "b"},
		{"a client_id that is unfit is not replaced", []string{"client_id"}, map[string]any{"client_id": 7, "azp": "a"}, ""},
		{"an azp that is unfit is not replaced", []string{"client_id"}, map[string]any{"client_id": nil, "azp": "", "appid": "b"}, ""},
		{"RFC 9068 §2.2: client_id is required", nil, map[string]any{"client_id": nil, "azp": "a"}, ""},
	} {
		token, err := newTestJWT(t, JWTConfig{Optional: test.optional}).Introspect(t.Context(), pair("ES256").ordinary(test.claims))
		if (err == nil) != (test.want != "") || err == nil && token.ClientID != test.want {
			t.Errorf("%s: %+v, %v", test.must, token, err)
		}
	}
}

// What has the form of a JWT is judged as one, good or not; all else is opaque.
func TestIsJWT(t *testing.T) {
	s := pair("ES256")
	for token, want := range map[string]bool{
		s.ordinary(nil):                              true,
		s.sign(s.header(), `["x"]`):                  true,
		s.sign(`{"alg":"ES256","alg":"none"}`, `{}`): true,
		s.sign(" {}", `{}`):                          true,
		"e30..":                                      true, // {}
		s.sign(`"x"`, `{}`):                          false,
		"ya29.c.Kl6iB0":                              false, // opaque, with two dots
		"v1.local.payload":                           false,
		"opaque":                                     false,
		"..":                                         false,
		"":                                           false,
		s.ordinary(nil) + ".a.b":                     false, // JWE
		s.ordinary(nil) + ".a":                       false,
		"e30.e30":                                    false,
		"=" + s.ordinary(nil):                        false,
		"e30." + strings.Repeat("a", MaxTokenLength) + ".a": false,
	} {
		if got := IsJWT(token); got != want {
			t.Errorf("%.60s: %v, want %v", token, got, want)
		}
	}
}

// iss of a token that nobody has verified.
func TestUnverifiedIssuer(t *testing.T) {
	s := pair("ES256")
	good := s.ordinary(nil)
	if issuer, err := UnverifiedIssuer(good); err != nil || issuer != testIssuer {
		t.Errorf("%q, %v", issuer, err)
	}
	for name, token := range map[string]string{
		"opaque":         "opaque",
		"nothing":        "",
		"too long":       strings.Repeat("a", MaxTokenLength) + "." + good,
		"five parts":     good + ".a.b",
		"no object":      s.sign(s.header(), `["x"]`),
		"no iss":         s.ordinary(map[string]any{"iss": nil}),
		"empty iss":      s.ordinary(map[string]any{"iss": ""}),
		"iss no string":  s.ordinary(map[string]any{"iss": []string{testIssuer}}),
		"iss twice":      s.sign(s.header(), `{"iss":"https://a.test","iss":"https://b.test"}`),
		"iss with break": s.ordinary(map[string]any{"iss": "https://a.test\n"}),
	} {
		if issuer, err := UnverifiedIssuer(token); !errors.Is(err, ErrInactive) || issuer != "" {
			t.Errorf("%s: %q, %v", name, issuer, err)
		}
	}
}

// RFC 8693 §4.4: who may act, or that it cannot be told.
func TestMayAct(t *testing.T) {
	for _, test := range []struct {
		claims string
		want   *Actor
		good   bool
	}{
		{``, nil, true},
		{`{"sub":"a"}`, nil, true},
		{`{"may_act":{"sub":"svc"}}`, &Actor{Subject: "svc"}, true},
		{`{"may_act":{"sub":"svc","iss":"https://as.test","client_id":"c","other":1}}`, &Actor{Subject: "svc", Issuer: "https://as.test", ClientID: "c"}, true},
		{`{"may_act":null}`, nil, false},
		{`{"may_act":"svc"}`, nil, false},
		{`{"may_act":[{"sub":"svc"}]}`, nil, false},
		{`{"may_act":{}}`, nil, false},
		{`{"may_act":{"client_id":"svc"}}`, nil, false},
		{`{"may_act":{"sub":"svc","iss":7}}`, nil, false},
		{`{"may_act":{"sub":"svc","act":{"sub":"x"}}}`, nil, false},
		{`{"may_act":{"sub":"a"},"may_act":{"sub":"b"}}`, nil, false},
	} {
		token := &Token{Claims: []byte(test.claims)}
		got, err := token.MayAct()
		if !reflect.DeepEqual(got, test.want) || (err == nil) != test.good || err != nil && !errors.Is(err, ErrInactive) {
			t.Errorf("%s: %+v, %v", test.claims, got, err)
		}
	}
}

// Scopes are read from the claims that the configuration names, in any of the
// forms that issuers use, and from scope alone where it names none.
func TestJWTScopeClaims(t *testing.T) {
	for _, test := range []struct {
		must   string
		names  []string
		claims map[string]any
		want   string // "refused" for a refusal
	}{
		{"scope is read by default", nil, map[string]any{"scope": "a b", "scp": "c"}, "a b"},
		{"RFC 8693 §4.2: scope is no array", nil, map[string]any{"scope": []string{"a"}}, "refused"},
		{"a string", []string{"scp"}, map[string]any{"scope": "x", "scp": "a b"}, "a b"},
		{"an array", []string{"scp"}, map[string]any{"scope": nil, "scp": []string{"a", "b"}}, "a b"},
		{"several, each name once", []string{"scp", "roles"}, map[string]any{"scp": "a b", "roles": []string{"b", "c"}}, "a b c"},
		{"none", []string{"scp"}, map[string]any{"scope": "x"}, ""},
		{"an array of other things", []string{"scp"}, map[string]any{"scp": []any{"a", 7}}, "refused"},
		{"an array of what is no scope", []string{"scp"}, map[string]any{"scp": []string{"a b"}}, "refused"},
		{"an object", []string{"scp"}, map[string]any{"scp": map[string]any{}}, "refused"},
	} {
		token, err := newTestJWT(t, JWTConfig{ScopeClaims: test.names}).Introspect(t.Context(), pair("ES256").ordinary(test.claims))
		got := "refused"
		if err == nil {
			got = strings.Join(token.Scope, " ")
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.must, got, test.want)
		}
	}
}
