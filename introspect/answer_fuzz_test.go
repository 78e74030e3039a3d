package introspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// Whatever answer of an introspection or a userinfo endpoint is believed, a plain
// reader of JSON finds the same facts in it. An answer that is not believed is
// either a verdict about the token or none, never both.
func FuzzIntrospectParser(f *testing.F) {
	for _, answer := range []string{
		`{"active":true}`, `{"active":false}`, `{"active":"true"}`, `{"active":1}`, `{"active":null}`, `{}`, ``, `[]`, `null`,
		`{"active":true,"active":false}`, `{"Active":true}`, `{"active":true}{}`, "\ufeff{\"active\":true}",
		strings.Replace(fuzzClaims, "{", `{"active":true,"token_type":"Bearer","username":"b",`, 1), // RFC 7662 §2.2
		`{"active":true,"token_type":"DPoP","cnf":{"jkt":"x"}}`, `{"active":true,"token_type":"DPoP"}`, `{"active":true,"cnf":null}`,
		`{"active":true,"exp":1}`, `{"active":true,"exp":1e10,"iat":-0,"nbf":9e9}`, `{"active":true,"exp":"9000000000"}`,
		`{"active":true,"aud":[]}`, `{"active":true,"aud":["a",1]}`, `{"active":true,"scope":"a  b"}`, `{"active":true,"scope":["a"]}`,
		`{"active":true,"sub":"\u0000"}`, `{"active":true,"sub":"\ud800"}`, `{"active":true,"iss":"https://other.test"}`,
		`{"active":true,"may_act":{"sub":"a","act":{}}}`, `{"active":true,"act":{"sub":"a","act":{"sub":"b","act":{"sub":"c"}}}}`,
		`{"sub":"248289761001","name":"Jane Doe","email":"janedoe@example.com"}`, // OpenID Connect Core §5.3.2
		`{"sub":"","iss":"https://as.test"}`, `{"sub":"a","iss":"https://other.test"}`, `{"sub":["a"]}`, `{"iss":"https://as.test","sub":"a"}`, `{"error":"invalid_token"}`,
	} {
		f.Add([]byte(answer))
	}
	config := RemoteConfig{Endpoint: "https://as.test/introspect", ClientID: "gw", ClientSecret: "-"}
	anyone := must(NewRemote(config))
	config.Issuer = testIssuer
	one := must(NewRemote(config))
	userinfo := must(NewUserinfo(UserinfoConfig{Issuer: testIssuer, Endpoint: "https://as.test/userinfo"}))
	f.Cleanup(func() { anyone.Close(); one.Close(); userinfo.Close() })

	f.Fuzz(func(t *testing.T, body []byte) {
		var standard map[string]any
		notJSON := json.Unmarshal(body, &standard)
		for _, remote := range []*Remote{anyone, one} {
			facts, err := remote.parseIntrospection(body)
			if err != nil {
				wantOneVerdict(t, err)
				continue
			}
			if notJSON != nil {
				t.Fatalf("believed what is not JSON: %v", notJSON)
			}
			wantActive(t, standard, facts)
			if issuer := text(standard["iss"]); remote == one && facts.Issuer != testIssuer || issuer != "" && facts.Issuer != issuer {
				t.Fatalf("the issuer is %q, the answer says %q", facts.Issuer, issuer)
			}
			wantRemembered(t, "opaque", facts)
		}
		expiry := time.Now().Add(time.Minute)
		facts, err := userinfo.parse(body, expiry)
		if err != nil {
			wantOneVerdict(t, err)
			return
		}
		if subject := text(standard["sub"]); notJSON != nil || subject == "" || facts.Subject != subject {
			t.Fatalf("believed the person %q: %v, %v", facts.Subject, standard, notJSON)
		}
		if issuer, named := standard["iss"]; facts.Issuer != testIssuer || named && issuer != testIssuer {
			t.Fatalf("believed the issuer %q: %v", facts.Issuer, standard)
		}
		if facts.Audience != nil || facts.Scope != nil || facts.Actor != nil || facts.ClientID != "" || !facts.Expiry.Equal(expiry) {
			t.Fatalf("claims about a person became facts of a token: %+v", facts)
		}
	})
}

// wantOneVerdict fails unless err says either that the token is not active or
// that this cannot be told.
func wantOneVerdict(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrInactive) == errors.Is(err, ErrUnavailable) {
		t.Fatalf("the verdict is not clear: %v", err)
	}
}

// wantActive fails unless facts are what a plain reader finds in the answer.
func wantActive(t *testing.T, standard map[string]any, facts *Token) {
	t.Helper()
	if standard["active"] != true {
		t.Fatalf("believed an answer without active: %v", standard)
	}
	if _, bound := standard["cnf"]; bound {
		t.Fatalf("believed that a bound token is a bearer token: %v", standard)
	}
	if kind, named := standard["token_type"]; named && !strings.EqualFold(text(kind), "bearer") {
		t.Fatalf("believed the token type %v", kind)
	}
	for name, fact := range map[string]string{
		"sub": facts.Subject, "client_id": facts.ClientID, "jti": facts.ID, "authorization_id": facts.AuthorizationID,
		"scope": strings.Join(facts.Scope, " "),
	} {
		if value, named := standard[name]; named && value != fact || !named && fact != "" {
			t.Fatalf("%s: found %q, the answer says %v", name, fact, value)
		}
		if strings.ContainsFunc(fact, unicode.IsControl) {
			t.Fatalf("%s: believed the name %q", name, fact)
		}
	}
	var audience []string
	switch value := standard["aud"].(type) {
	case string:
		audience = []string{value}
	case []any:
		for _, element := range value {
			audience = append(audience, element.(string))
		}
	}
	if !slices.Equal(audience, facts.Audience) {
		t.Fatalf("aud: found %q, the answer says %v", facts.Audience, standard["aud"])
	}
	for name, fact := range map[string]time.Time{"iat": facts.IssuedAt, "exp": facts.Expiry} {
		if value, named := standard[name]; named && fact.Unix() != int64(math.Trunc(value.(float64))) || !named && !fact.IsZero() {
			t.Fatalf("%s: found %v, the answer says %v", name, fact, value)
		}
	}
	now := time.Now()
	if !facts.Expiry.IsZero() && facts.Expiry.Before(now.Add(-time.Minute)) {
		t.Fatalf("believed what has expired: %v", facts.Expiry)
	}
	if start, named := standard["nbf"]; named && start.(float64) > float64(now.Unix()+1) {
		t.Fatalf("believed what is not valid yet: %v", start)
	}
	if _, err := facts.MayAct(); err != nil && !errors.Is(err, ErrInactive) {
		t.Fatalf("may_act: %v", err)
	}
	var claims map[string]any
	if err := json.NewDecoder(bytes.NewReader(facts.Claims)).Decode(&claims); err != nil || len(claims) != len(standard) {
		t.Fatalf("the claims are %s: %v", facts.Claims, err)
	}
}
