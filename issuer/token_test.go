package issuer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const ccGrant = "grant_type=client_credentials"

// TestTokenRequest is the token endpoint (RFC 6749 §3.2) before any grant.
func TestTokenRequest(t *testing.T) {
	plain := "application/x-www-form-urlencoded"
	contentType := func(values ...string) fixtureRequest {
		return func(r *http.Request) { r.Header["Content-Type"] = values }
	}
	var bomb bytes.Buffer
	compress := gzip.NewWriter(&bomb)
	_, _ = compress.Write(bytes.Repeat([]byte("a"), 10<<20))
	_ = compress.Close()
	exactly := func(n int) string {
		body := ccGrant + "&padding="
		return body + strings.Repeat("a", n-len(body))
	}
	tests := []struct {
		name   string
		target string
		body   string
		change fixtureRequest
		status int
		code   oauth.ErrorCode
	}{
		{"RFC 6749 §4.4.2 POST", "/token", ccGrant, nil, 200, ""},
		{"with a slash at the end", "/token/", ccGrant, nil, 200, ""},
		{"with two", "/token//", ccGrant, nil, 404, oauth.InvalidRequest},
		{"another path", "/token/x", ccGrant, nil, 404, oauth.InvalidRequest},

		{"RFC 6749 §3.2 MUST be POST: GET", "/token?" + ccGrant, "", withMethod("GET"), 405, oauth.InvalidRequest},
		{"RFC 6749 §3.2 PUT", "/token", ccGrant, withMethod("PUT"), 405, oauth.InvalidRequest},
		{"RFC 6749 §3.2 HEAD", "/token", ccGrant, withMethod("HEAD"), 405, oauth.InvalidRequest},
		{"RFC 6749 §3.2 OPTIONS", "/token", "", withMethod("OPTIONS"), 405, oauth.InvalidRequest},
		{"methods are case-sensitive (RFC 9110 §9.1)", "/token", ccGrant, withMethod("post"), 405, oauth.InvalidRequest},

		{"RFC 6749 App. B no Content-Type", "/token", ccGrant, contentType(), 415, oauth.InvalidRequest},
		{"RFC 6749 App. B JSON", "/token", `{"grant_type":"client_credentials"}`, contentType("application/json"), 415, oauth.InvalidRequest},
		{"RFC 6749 App. B multipart", "/token", ccGrant, contentType("multipart/form-data; boundary=x"), 415, oauth.InvalidRequest},
		{"RFC 6749 App. B text", "/token", ccGrant, contentType("text/plain"), 415, oauth.InvalidRequest},
		{"two media types in one header", "/token", ccGrant, contentType(plain + ", application/json"), 415, oauth.InvalidRequest},
		{"two Content-Type headers", "/token", ccGrant, contentType(plain, plain), 415, oauth.InvalidRequest},
		{"RFC 6749 App. B another charset", "/token", ccGrant, contentType(plain + "; charset=utf-16"), 415, oauth.InvalidRequest},
		{"RFC 6749 App. B UTF-8", "/token", ccGrant, contentType(plain + "; charset=utf-8"), 200, ""},
		{"media types ignore case (RFC 9110 §8.3.1)", "/token", ccGrant, contentType("APPLICATION/X-WWW-FORM-URLENCODED; Charset=\"UTF-8\""), 200, ""},
		{"RFC 9110 §8.4 gzip is not inflated", "/token", bomb.String(), withHeader("Content-Encoding", "gzip"), 415, oauth.InvalidRequest},
		{"RFC 9110 §8.4 a coding of a coding", "/token", ccGrant, withHeader("Content-Encoding", "identity, br"), 415, oauth.InvalidRequest},
		{"RFC 9110 §8.4 identity is none", "/token", ccGrant, withHeader("Content-Encoding", "identity"), 200, ""},

		{"a body of 64 KiB", "/token", exactly(64 << 10), nil, 200, ""},
		{"a body of 64 KiB and one byte", "/token", exactly(64<<10 + 1), nil, 413, oauth.InvalidRequest},
		{"the same, chunked", "/token", exactly(64<<10 + 1), func(r *http.Request) { r.ContentLength = -1 }, 413, oauth.InvalidRequest},
		{"100 000 parameters", "/token", strings.Repeat("a=1&", 100_000), nil, 413, oauth.InvalidRequest},
		{"as many as fit", "/token", strings.Repeat("&", 60_000) + ccGrant, nil, 400, oauth.InvalidRequest},

		{"RFC 6749 §3.2 MUST NOT repeat: grant_type", "/token", ccGrant + "&" + ccGrant, nil, 400, oauth.InvalidRequest},
		{"RFC 6749 §3.2 MUST NOT repeat: scope", "/token", ccGrant + "&scope=read&scope=write", nil, 400, oauth.InvalidRequest},
		{"RFC 6749 §3.2 MUST NOT repeat: with an empty one", "/token", ccGrant + "&scope=&scope=read", nil, 400, oauth.InvalidRequest},
		{"RFC 6749 §3.2 MUST NOT repeat: unknown", "/token", ccGrant + "&x=1&x=2", nil, 400, oauth.InvalidRequest},
		{"RFC 6749 §3.2 MUST NOT repeat: a name not to be repeated", "/token", ccGrant + "&%22canary%00=1&%22canary%00=2", nil, 400, oauth.InvalidRequest},
		{"RFC 8707 §2 resource MAY be repeated", "/token", ccGrant + "&resource=" + fixtureAPI + "&resource=" + fixtureFiles, nil, 200, ""},
		{"RFC 6749 §3.2 without a value is omitted", "/token", ccGrant + "&scope=&resource=&client_secret=", nil, 200, ""},
		{"RFC 6749 §3.2 unknown is ignored", "/token", ccGrant + "&foo=bar&username=x&code=y", nil, 200, ""},
		{"RFC 6749 §2.3.1 the query does not count", "/token?" + ccGrant, "scope=read", nil, 400, oauth.InvalidRequest},
		{"nor is it a repetition", "/token?" + ccGrant + "&scope=admin", ccGrant + "&scope=read", nil, 200, ""},
		{"a semicolon is no separator", "/token", ccGrant + ";scope=read", nil, 400, oauth.InvalidRequest},
		{"an escape that is none", "/token", ccGrant + "&scope=%zz", nil, 400, oauth.InvalidRequest},
		{"an escape cut off", "/token", ccGrant + "&scope=%e", nil, 400, oauth.InvalidRequest},
		{"nothing", "/token", "", nil, 400, oauth.InvalidRequest},

		{"RFC 6749 §5.2 grant_type empty", "/token", "grant_type=", nil, 400, oauth.InvalidRequest},
		{"RFC 6749 §5.2 grant_type unknown", "/token", "grant_type=canary%22%5C%00", nil, 400, oauth.UnsupportedGrantType},
		{"RFC 6749 §5.2 password", "/token", "grant_type=password&username=a&password=canary", nil, 400, oauth.UnsupportedGrantType},
		{"grant_type is case-sensitive", "/token", "grant_type=Client_Credentials", nil, 400, oauth.UnsupportedGrantType},
	}
	f := newFixture(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := len(f.log.event("token_issued"))
			changes := []fixtureRequest{asSvc}
			if test.change != nil {
				changes = append(changes, test.change)
			}
			w := f.post(test.target, test.body, changes...)
			expect(t, w, test.status, test.code)
			checkNotStored(t, w)
			if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "POST" { // RFC 9110 §15.5.6
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
			if issued := len(f.log.event("token_issued")) != before; issued != (test.status == 200) {
				t.Errorf("a token was issued: %v", issued)
			}
		})
	}
}

// TestUnauthorizedClient: RFC 6749 §5.2 unauthorized_client.
func TestUnauthorizedClient(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		for n := range c.Clients {
			if c.Clients[n].ID == "svc" {
				c.Clients[n].GrantTypes = nil
			}
		}
	})
	expect(t, f.post("/token", ccGrant, asSvc), 400, oauth.UnauthorizedClient)
	// RFC 6749 §4.4: MUST only be used by confidential clients.
	expect(t, f.post("/token", ccGrant+"&client_id=spa"), 400, oauth.UnauthorizedClient)
}

// TestTokenResponse: RFC 6749 §5.1, and the claims of RFC 9068 §2.2, no more
// and no fewer.
func TestTokenResponse(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.AccessTokenLifetime = 7 * time.Minute })
	before := time.Now().Unix()
	w := f.post("/token", ccGrant+"&scope=read", asSvc)
	after := time.Now().Unix()
	expect(t, w, 200, "")
	checkNotStored(t, w)

	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	members := []string{"access_token", "expires_in", "scope", "token_type"} // and no refresh_token, §4.4.3
	if got := slices.Sorted(maps.Keys(answer)); !slices.Equal(got, members) {
		t.Errorf("members %v, want %v", got, members)
	}
	if answer["token_type"] != "Bearer" || answer["expires_in"] != 420.0 || answer["scope"] != "read" {
		t.Errorf("answer %v", answer)
	}

	header, claims := decodeToken(t, answer["access_token"].(string))
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] != f.Keys()[0].ID || len(header) != 3 {
		t.Errorf("header %v", header)
	}
	issued, _ := claims["iat"].(float64)
	id, _ := claims["jti"].(string)
	if int64(issued) < before || int64(issued) > after || len(id) < 22 {
		t.Errorf("iat %v, jti %q", claims["iat"], id)
	}
	want := map[string]any{
		"iss": fixtureURL, "sub": "svc", "aud": fixtureAPI, "client_id": "svc", "scope": "read",
		"iat": issued, "exp": issued + 420, "jti": id,
	}
	if !maps.Equal(claims, want) {
		t.Errorf("claims %v, want exactly %v", claims, want)
	}
	if facts := f.facts(answer["access_token"].(string)); facts.Subject != "svc" || facts.ClientID != "svc" {
		t.Errorf("facts %+v", facts)
	}
}

func decodeToken(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWS: %s", token)
	}
	for n, into := range []*map[string]any{&header, &claims} {
		decoded, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(decoded, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// RFC 9068 §2.2, RFC 7519 §4.1.7: no two tokens share a jti.
func TestTokenIDsAreUnique(t *testing.T) {
	f := newFixture(t)
	client := &f.config.Clients[0]
	seen := make(map[string]bool)
	for range 10_000 {
		token, _, err := f.mintAccessToken(client, &approval{subject: "svc", audience: []string{fixtureAPI}})
		if err != nil {
			t.Fatal(err)
		}
		_, claims := decodeToken(t, token)
		id := claims["jti"].(string)
		if seen[id] {
			t.Fatalf("jti %s is used twice", id)
		}
		seen[id] = true
	}
}

// TestScope: RFC 6749 §3.3. svc may have read and write.
func TestScope(t *testing.T) {
	tests := []struct {
		name, parameter string
		granted         string
		code            oauth.ErrorCode
	}{
		{"omitted: the client's", "", "read write", ""},
		{"asked", "read", "read", ""},
		{"in the order asked", "write read", "write read", ""},
		{"doubled", "read read", "read", ""},
		{"more spaces than one", "  read   write ", "read write", ""},
		{"only spaces is omitted", "   ", "read write", ""},
		{"declared, but not the client's", "admin", "", oauth.InvalidScope},
		{"one of them not the client's", "read admin", "", oauth.InvalidScope},
		{"unknown", "delete", "", oauth.InvalidScope},
		{"case counts", "READ", "", oauth.InvalidScope},
		{"a tab is no separator", "read\twrite", "", oauth.InvalidScope},
		{"a line feed is no separator", "read\nwrite", "", oauth.InvalidScope},
		{"quote", `read "write"`, "", oauth.InvalidScope},
		{"backslash", `read\`, "", oauth.InvalidScope},
		{"NUL", "read\x00", "", oauth.InvalidScope},
		{"not ASCII", "réad", "", oauth.InvalidScope},
		{"not UTF-8", "read \xff", "", oauth.InvalidScope},
		{"a comma is part of the name", "read,write", "", oauth.InvalidScope},
		{"openid is nobody's here", "openid", "", oauth.InvalidScope},
	}
	f := newFixture(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := f.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {test.parameter}}.Encode(), asSvc)
			if test.code != "" {
				expect(t, w, 400, test.code)
				return
			}
			expect(t, w, 200, "")
			var answer struct {
				Scope       string `json:"scope"`
				AccessToken string `json:"access_token"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			if _, claims := decodeToken(t, answer.AccessToken); answer.Scope != test.granted || claims["scope"] != test.granted {
				t.Errorf("granted %q, in the token %q, want %q", answer.Scope, claims["scope"], test.granted)
			}
		})
	}
}

// TestResource: RFC 8707, RFC 9068 §2.2 aud. rs is registered with the API
// alone; svc with nothing, so that everything protected here is open to it.
func TestResource(t *testing.T) {
	nine := make([]string, 9)
	for n := range nine {
		nine[n] = fixtureAPI
	}
	noDefault := func(c *Config) { c.DefaultResource = "" }
	protects := func(resources ...string) func(*Config) {
		return func(c *Config) { c.DefaultResource, c.Resources = "", func() []string { return resources } }
	}
	tests := []struct {
		name   string
		as     fixtureRequest
		asked  []string
		change func(*Config)
		aud    any // nil: invalid_target
	}{
		{"asked", asSvc, []string{fixtureFiles}, nil, fixtureFiles},
		{"several", asSvc, []string{fixtureFiles, fixtureAPI}, nil, []any{fixtureFiles, fixtureAPI}},
		{"one twice is one", asSvc, []string{fixtureAPI, fixtureAPI}, nil, fixtureAPI},
		{"eight", asSvc, nine[:8], nil, fixtureAPI},
		{"more than eight", asSvc, nine, nil, nil},
		{"§2.2 unknown", asSvc, []string{"https://unknown.test"}, nil, nil},
		{"§2.2 one of them unknown", asSvc, []string{fixtureAPI, "https://unknown.test"}, nil, nil},
		{"the issuer itself", asSvc, []string{fixtureURL}, nil, nil},
		{"a longer path", asSvc, []string{fixtureFiles + "/x"}, nil, nil},
		{"with a slash more", asSvc, []string{fixtureAPI + "/"}, nil, nil},
		{"another case", asSvc, []string{"HTTPS://API.TEST"}, nil, nil},
		{"§2 MUST NOT include a fragment", asSvc, []string{fixtureAPI + "#a"}, nil, nil},
		{"§2 nor an empty one", asSvc, []string{fixtureAPI + "#"}, nil, nil},
		{"§2 MUST be absolute", asSvc, []string{"api.test"}, nil, nil},
		{"§2 a path", asSvc, []string{"/v1"}, nil, nil},
		{"§2 no scheme", asSvc, []string{"//api.test"}, nil, nil},
		{"not a URI", asSvc, []string{"https://api.test:canary"}, nil, nil},
		{"control characters", asSvc, []string{"https://api.test\r\n"}, nil, nil},
		{"as long as the body allows", asSvc, []string{"https://api.test/%zz" + strings.Repeat("a", 60_000)}, nil, nil},
		{"the client's", asRS, nil, nil, fixtureAPI},
		{"not the client's", asRS, []string{fixtureFiles}, nil, nil},
		{"the default", asSvc, nil, nil, fixtureAPI},
		{"the only one protected", asSvc, nil, protects(fixtureFiles), fixtureFiles},
		{"no default among several", asSvc, nil, noDefault, nil},
		{"never without aud", asSvc, nil, protects(), nil},
		{"the client's, though nothing is protected here", asRS, nil, protects(), fixtureAPI},
	}
	standard := newFixture(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := standard
			if test.change != nil {
				f = newFixture(t, test.change)
			}
			w := f.post("/token", url.Values{"grant_type": {"client_credentials"}, "resource": test.asked}.Encode(), test.as)
			if test.aud == nil {
				expect(t, w, 400, oauth.InvalidTarget)
				return
			}
			expect(t, w, 200, "")
			var answer tokenResponse
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			_, claims := decodeToken(t, answer.AccessToken)
			got, _ := json.Marshal(claims["aud"])
			want, _ := json.Marshal(test.aud)
			if !bytes.Equal(got, want) {
				t.Errorf("aud %s, want %s", got, want)
			}
		})
	}
	t.Run("the last check before the signature", func(t *testing.T) {
		f := newFixture(t)
		if token, _, err := f.mintAccessToken(&f.config.Clients[0], &approval{subject: "svc"}); err == nil {
			t.Errorf("a token without aud was signed: %s", token)
		}
	})
}

// TestEveryGrantTypeHasAProof: what clients can be registered for is what the token
// endpoint knows.
func TestEveryGrantTypeHasAProof(t *testing.T) {
	if got := slices.Sorted(maps.Keys(grants)); !slices.Equal(got, oauth.GrantTypes()) {
		t.Errorf("the token endpoint knows %v, clients are registered for %v", got, oauth.GrantTypes())
	}
}
