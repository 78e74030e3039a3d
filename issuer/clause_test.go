package issuer

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Clauses of testdata/checklist.json that no other test has for its subject.

// TestMetadataSays: what clients must be able to find out (RFC 9700 §2.1.1, RFC
// 9207 §3), and what they must not be offered (RFC 9700 §2.1.2, §2.4).
func TestMetadataSays(t *testing.T) {
	f := newFixture(t, withPeople)
	var document map[string]any
	must(t, json.Unmarshal(f.get("/.well-known/oauth-authorization-server").Body.Bytes(), &document))
	for member, want := range map[string]string{
		"issuer": `"https://auth.test"`, "code_challenge_methods_supported": `["S256"]`, "authorization_response_iss_parameter_supported": "true",
		"response_types_supported": `["code"]`, "pushed_authorization_request_endpoint": "null", "dpop_signing_alg_values_supported": "null",
		"request_parameter_supported": "null", "request_uri_parameter_supported": "false",
	} {
		got, err := json.Marshal(document[member])
		must(t, err)
		if string(got) != want && !(want == "null" && string(got) == "false") {
			t.Errorf("%s is %s, want %s", member, got, want)
		}
	}
	listed, err := json.Marshal(document)
	must(t, err)
	for _, never := range []string{`"password"`, `"implicit"`, `"plain"`, "private_key_jwt", `"token"`} {
		if strings.Contains(string(listed), never) {
			t.Errorf("the metadata offers %s: %s", never, listed)
		}
	}
}

// TestSubjectIsNoClient: RFC 9068 §5, RFC 9700 §4.15. Nobody who names a client can
// make its sub that of a person.
func TestSubjectIsNoClient(t *testing.T) {
	f := newFixture(t, withPeople)
	alice := f.person(fixtureProfile)
	if sub := f.facts(f.issue(asSvc, "")).Subject; sub != "svc" || strings.HasPrefix(sub, "u:") {
		t.Errorf("sub %q of a client's own token", sub)
	}
	for _, id := range []string{alice.ID, "u:x", "u:" + strings.Repeat("A", 22)} {
		if _, _, err := f.AddClient(t.Context(), clients.Metadata{ID: id, Type: clients.Public}); err == nil {
			t.Errorf("a client has the id %q", id)
		}
	}
	if named := f.person(users.User{Username: "svc"}); named.ID == "svc" || !strings.HasPrefix(named.ID, "u:") {
		t.Errorf("somebody who is called like a client has the sub %q", named.ID)
	}
}

// TestDeviceCodeIsSealed: RFC 8628 §5.2. Of two devices that ask for the same, each
// has a code of its own, and no bit of one can be turned.
func TestDeviceCodeIsSealed(t *testing.T) {
	f := newFixture(t, withDevices)
	one, other := f.device("client_id=tv&scope=read").DeviceCode, f.device("client_id=tv&scope=read").DeviceCode
	if one == other || len(one) < 22 {
		t.Errorf("device codes %q and %q: want 128 bits that differ", one, other)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(one)
	must(t, err)
	for at := range sealed {
		turned := append([]byte{}, sealed...)
		turned[at] ^= 1 << (at % 8)
		expect(t, f.poll(base64.RawURLEncoding.EncodeToString(turned)), 400, "invalid_grant")
	}
	expect(t, f.poll(one), 400, "authorization_pending") // the control
}

// TestDeviceWarning: RFC 8628 §5.4. Who was sent a code is told not to go on.
func TestDeviceWarning(t *testing.T) {
	f := newFixture(t, withDevices)
	d := f.device("client_id=tv&scope=read")
	page := f.signedIn(f.person(fixtureProfile)).confirm(d.UserCode)
	page.expectPage(pages.ActionDeny, "the person can say no")
	if !strings.Contains(page.Body.String(), "Deny if someone sent you this link or this code") {
		t.Errorf("no warning on the page: %s", page.Body)
	}
}
