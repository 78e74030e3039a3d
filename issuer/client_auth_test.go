package issuer

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// basicHeader sends what stands between "Basic " and the end as it is.
func basicHeader(encoded string) fixtureRequest { return withHeader("Authorization", "Basic "+encoded) }

// basicText encodes the text as it is, without form encoding its parts.
func basicText(text string) fixtureRequest {
	return basicHeader(base64.StdEncoding.EncodeToString([]byte(text)))
}

// TestClientAuthentication: RFC 6749 §2.3, the same at every endpoint that
// clients call directly.
func TestClientAuthentication(t *testing.T) {
	wrong := withBasic("svc", "canary-wrong")
	inBody := func(id, secret string) string {
		return "&" + url.Values{"client_id": {id}, "client_secret": {secret}}.Encode()
	}
	assertion := "&client_assertion_type=" + url.QueryEscape("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	const (
		ok        = http.StatusOK
		unproven  = http.StatusUnauthorized
		malformed = http.StatusBadRequest
	)
	tests := []struct {
		name    string
		body    string // after grant_type
		changes []fixtureRequest
		status  int
	}{
		{"§2.3.1 client_secret_basic", "", []fixtureRequest{asSvc}, ok},
		{"§2.3.1 form-encoded in Basic", "", []fixtureRequest{asRS}, ok},
		{"§2.3.1 client_secret_post", inBody("svc", svcSecret), nil, ok},
		{"§2.3.1 client_secret_post, encoded", inBody("rs", rsSecret), nil, ok},
		{"scheme names ignore case (RFC 9110 §11.1)", "", []fixtureRequest{withHeader("Authorization", "bAsIc "+base64.StdEncoding.EncodeToString([]byte("svc:"+svcSecret)))}, ok},
		{"client_id repeated beside Basic", "&client_id=svc", []fixtureRequest{asSvc}, ok},

		{"§2.3 MUST NOT use two methods, both right", inBody("svc", svcSecret), []fixtureRequest{asSvc}, malformed},
		{"§2.3 MUST NOT use two methods, Basic wrong", inBody("svc", svcSecret), []fixtureRequest{wrong}, malformed},
		{"§2.3 MUST NOT use two methods, a secret without client_id", "&client_secret=canary", []fixtureRequest{asSvc}, malformed},
		{"another client_id beside Basic", "&client_id=other", []fixtureRequest{asSvc}, malformed},
		{"two Authorization headers, the second right", "", []fixtureRequest{wrong, withHeader("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("svc:"+svcSecret)))}, malformed},
		{"Basic and an assertion", assertion + "&client_assertion=eyJ.canary.x", []fixtureRequest{asSvc}, unproven},
		{"an assertion, which is not supported", assertion + "&client_assertion=eyJ.canary.x&client_id=svc", nil, unproven},
		{"an assertion type alone", assertion + inBody("svc", svcSecret), nil, unproven},
		{"an assertion without type", "&client_assertion=eyJ.canary.x" + inBody("svc", svcSecret), nil, unproven},

		{"nobody", "", nil, unproven},
		{"an unknown client", "", []fixtureRequest{withBasic("nobody", "canary")}, unproven},
		{"an unknown client in the body", inBody("nobody", "canary"), nil, unproven},
		{"a wrong secret", "", []fixtureRequest{wrong}, unproven},
		{"a wrong secret in the body", inBody("svc", "canary-wrong"), nil, unproven},
		{"the secret of another client", "", []fixtureRequest{withBasic("svc", "canary-other")}, unproven},
		{"the secret without its last character", "", []fixtureRequest{withBasic("svc", svcSecret[:len(svcSecret)-1])}, unproven},
		{"the secret and a line feed", "", []fixtureRequest{withBasic("svc", svcSecret+"\n")}, unproven},
		{"the secret and a space", inBody("svc", svcSecret+" "), nil, unproven},
		{"the secret in another case", "", []fixtureRequest{withBasic("svc", strings.ToUpper(svcSecret))}, unproven},
		{"the hash as the secret", inBody("svc", hashText(svcSecret)), nil, unproven},
		{"a disabled client", "", []fixtureRequest{withBasic("off", offSecret)}, unproven},
		{"an expired secret", "", []fixtureRequest{withBasic("old", "canary-old")}, unproven},
		{"a confidential client that only says who it is", "&client_id=svc", nil, unproven},
		{"the same by Basic", "", []fixtureRequest{withBasic("svc", "")}, unproven},
		{"the secret is the empty one, in the body", "&client_id=null&client_secret=", nil, unproven},
		{"the secret is the empty one, by Basic", "", []fixtureRequest{withBasic("null", "")}, unproven},
		{"a public client that sends a secret", inBody("spa", "canary"), nil, unproven},
		{"a public client that sends one by Basic", "", []fixtureRequest{withBasic("spa", "canary")}, unproven},

		{"a bearer token instead", "", []fixtureRequest{withHeader("Authorization", "Bearer canary")}, unproven},
		{"a bearer token and a secret in the body", inBody("svc", svcSecret), []fixtureRequest{withHeader("Authorization", "Bearer canary")}, unproven},
		{"an empty Authorization header", inBody("svc", svcSecret), []fixtureRequest{withHeader("Authorization", "")}, unproven},
		{"no credentials", "", []fixtureRequest{withHeader("Authorization", "Basic")}, unproven},
		{"empty credentials", "", []fixtureRequest{basicHeader("")}, unproven},
		{"no colon", "", []fixtureRequest{basicText("svc")}, unproven},
		{"only a colon", "", []fixtureRequest{basicText(":")}, unproven},
		{"no id", "", []fixtureRequest{basicText(":" + svcSecret)}, unproven},
		{"base64url", "", []fixtureRequest{basicHeader("c3ZjOmNhbmFyeT8_")}, unproven},
		{"no padding (RFC 4648 §3.2)", "", []fixtureRequest{basicHeader(base64.RawStdEncoding.EncodeToString([]byte("svc:" + svcSecret)))}, unproven},
		{"bits after the end (RFC 4648 §3.5)", "", []fixtureRequest{basicHeader(strings.Replace(base64.StdEncoding.EncodeToString([]byte("svc:"+svcSecret)), "A==", "B==", 1))}, unproven},
		{"two spaces", "", []fixtureRequest{basicHeader(" " + base64.StdEncoding.EncodeToString([]byte("svc:"+svcSecret)))}, unproven},
		{"a line break in base64", "", []fixtureRequest{basicHeader("c3Zj\r\n" + base64.StdEncoding.EncodeToString([]byte(":"+svcSecret)))}, unproven},
		{"not form-encoded: the id", "", []fixtureRequest{basicText("sv%zz:" + svcSecret)}, unproven},
		{"not form-encoded: the secret", "", []fixtureRequest{basicText("rs:" + rsSecret)}, unproven},
		{"%00 in the id", "", []fixtureRequest{basicText("svc%00:" + svcSecret)}, unproven},
		{"NUL in the id", "", []fixtureRequest{basicText("svc\x00:" + svcSecret)}, unproven},
		{"Latin-1 in the id", "", []fixtureRequest{basicText("sv\xe9:" + svcSecret)}, unproven},
		{"NFC and NFD are other ids", "", []fixtureRequest{basicText("sve\u0301:" + svcSecret)}, unproven},
		{"an id in another case", "", []fixtureRequest{withBasic("SVC", svcSecret)}, unproven},
		{"an id and a space", "", []fixtureRequest{withBasic("svc ", svcSecret)}, unproven},
		{"64 KiB of Basic", "", []fixtureRequest{basicText(strings.Repeat("s", 64<<10) + ":canary")}, unproven},
	}
	f := newFixture(t)
	token := f.issue(asSvc, "")
	for _, endpoint := range []struct{ path, body string }{
		{"/token", ccGrant}, {"/introspect", "token=" + token}, {"/revoke", "token=x"},
	} {
		for _, test := range tests {
			t.Run(endpoint.path+" "+test.name, func(t *testing.T) {
				w := f.post(endpoint.path, endpoint.body+test.body, test.changes...)
				code := map[int]oauth.ErrorCode{ok: "", unproven: oauth.InvalidClient, malformed: oauth.InvalidRequest}[test.status]
				expect(t, w, test.status, code)
				checkNotStored(t, w)
				if challenge := w.Header().Get("WWW-Authenticate"); test.status == unproven && !strings.HasPrefix(challenge, "Basic realm=") {
					t.Errorf("WWW-Authenticate %q (RFC 6749 section 5.2)", challenge)
				}
			})
		}
	}

	t.Run("RFC 6749 §2.3.1 MUST NOT be in the URI", func(t *testing.T) {
		w := f.post("/token?"+inBody("svc", svcSecret)[1:], ccGrant)
		expect(t, w, 401, oauth.InvalidClient)
	})
}

func hashText(secret string) string {
	text, err := clients.HashSecret(secret).MarshalText()
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Which of the reasons it was is nobody's business: the answers are equal byte
// for byte. The log knows.
func TestClientAuthenticationTellsNothing(t *testing.T) {
	f := newFixture(t)
	reasons := map[string]fixtureRequest{
		"unknown client":                withBasic("nobody", "canary"),
		"wrong or missing secret":       withBasic("svc", "canary"),
		"disabled client":               withBasic("off", offSecret),
		"a public client sent a secret": withBasic("spa", "canary"),
	}
	for _, path := range []string{"/token", "/introspect", "/revoke"} {
		var first *httptest.ResponseRecorder
		for reason, as := range reasons {
			w := f.post(path, ccGrant+"&token=x", as)
			if first == nil {
				first = w
			}
			if w.Code != first.Code || w.Body.String() != first.Body.String() || !reflect.DeepEqual(w.Header(), first.Header()) {
				t.Errorf("%s, %s: %d %v %s; another reason has %d %v %s", path, reason,
					w.Code, w.Header(), w.Body, first.Code, first.Header(), first.Body)
			}
		}
	}
	logged := map[any]int{}
	for _, event := range f.log.event("client_authentication_failed") {
		logged[event["reason"]]++
	}
	for reason := range reasons {
		if logged[reason] != 3 {
			t.Errorf("%q is in the audit trail %d times, want once an endpoint", reason, logged[reason])
		}
	}
}

// A secret that was rotated works for the overlap, to the second.
func TestRotatedSecretExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		_, first, err := f.AddClient(t.Context(), clients.Metadata{ID: "new", GrantTypes: []string{"client_credentials"}})
		if err != nil {
			t.Fatal(err)
		}
		second, err := f.RotateSecret(t.Context(), "new", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1)
		expect(t, f.post("/token", ccGrant, withBasic("new", first)), 200, "")
		expect(t, f.post("/token", ccGrant, withBasic("new", second)), 200, "")
		time.Sleep(1)
		expect(t, f.post("/token", ccGrant, withBasic("new", first)), 401, oauth.InvalidClient)
		expect(t, f.post("/token", ccGrant, withBasic("new", second)), 200, "")

		third, err := f.RotateSecret(t.Context(), "new", 0)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, f.post("/token", ccGrant, withBasic("new", second)), 401, oauth.InvalidClient)
		expect(t, f.post("/token", ccGrant, withBasic("new", third)), 200, "")
	})
}

// A storage that cannot tell is not a client that does not exist.
func TestClientAuthenticationWithoutStorage(t *testing.T) {
	for _, cause := range storageFailures {
		f := newFixture(t)
		f.store.fail(cause)
		w := f.post("/token", ccGrant, withBasic("stored", "canary"))
		expect(t, w, 503, oauth.TemporarilyUnavailable)
		if w.Header().Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		// What needs no storage goes on.
		expect(t, f.post("/token", ccGrant, asSvc), 200, "")
	}
}
