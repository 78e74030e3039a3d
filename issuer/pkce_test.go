package issuer

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// RFC 7636 §4.2, §4.3 and RFC 9700 §2.1.1, at the authorization endpoint.
func TestCodeChallenge(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	loose := fixtureChallenge[:42] + "V" // the same octets, with unused bits set
	for _, test := range []struct{ must, challenge, method string }{
		{"a challenge is required (RFC 9700 2.1.1)", "", ""},
		{"plain is refused (RFC 9700 2.1.1)", fixtureVerifier, "plain"},
		{"left out, the method is plain (RFC 7636 4.3)", fixtureChallenge, ""},
		{"methods are case sensitive", fixtureChallenge, "s256"},
		{"there is no S512", fixtureChallenge, "S512"},
		{"a space is part of the method", fixtureChallenge, "S256 "},
		{"a method without a challenge", "", "S256"},
		{"42 characters", fixtureChallenge[:42], "S256"},
		{"padding", fixtureChallenge + "=", "S256"},
		{"44 characters", fixtureChallenge + "A", "S256"},
		{"unused bits set", loose, "S256"},
		{"not base64url", "+/" + fixtureChallenge[2:], "S256"},
		{"a line end", fixtureChallenge[:42] + "\n", "S256"},
		{"a space", fixtureChallenge[:42] + " ", "S256"},
		{"a verifier in its place", fixtureVerifier, "S256"},
	} {
		t.Run(test.must, func(t *testing.T) {
			v.t = t
			for _, client := range [][2]string{{"web", "https://app.test/cb"}, {"spa", "https://spa.test/cb"}} {
				p := v.authorize(authorization("client_id", client[0], "redirect_uri", client[1], "code_challenge", test.challenge, "code_challenge_method", test.method))
				if got := p.answerTo(client[1]).Get("error"); got != string(oauth.InvalidRequest) {
					t.Errorf("%s: error %q, want invalid_request (RFC 7636 section 4.4.1)", client[0], got)
				}
			}
		})
	}
}

// RFC 7636 §4.1 and §4.6, at the token endpoint.
func TestCodeVerifier(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	v.code()
	for _, test := range []struct{ must, challenge, verifier string }{
		{"MUST be sent", fixtureChallenge, ""},
		{"MUST match", fixtureChallenge, strings.Repeat("x", 43)},
		{"the challenge is not the verifier", fixtureChallenge, fixtureChallenge},
		{"42 characters", challengeOf(strings.Repeat("v", 42)), strings.Repeat("v", 42)},
		{"129 characters", challengeOf(strings.Repeat("v", 129)), strings.Repeat("v", 129)},
		{"a space", challengeOf(fixtureVerifier + " x"), fixtureVerifier + " x"},
		{"a slash", challengeOf(fixtureVerifier + "/x"), fixtureVerifier + "/x"},
		{"a letter that is not ASCII", challengeOf(fixtureVerifier + "é"), fixtureVerifier + "é"},
		{"a line end", fixtureChallenge, fixtureVerifier + "\n"},
		{"a zero byte", fixtureChallenge, fixtureVerifier + "\x00"},
		{"another case", fixtureChallenge, strings.ToUpper(fixtureVerifier)},
	} {
		t.Run(test.must, func(t *testing.T) {
			v.t = t
			code := v.code("code_challenge", test.challenge)
			expect(t, f.post("/token", redeemForm(code, "code_verifier", test.verifier), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
		})
	}
	v.t = t
	for _, verifier := range []string{strings.Repeat("v", 43), strings.Repeat("v", 128), "-._~" + strings.Repeat("A0z", 20)} {
		expect(t, f.post("/token", redeemForm(v.code("code_challenge", challengeOf(verifier)), "code_verifier", verifier), asWeb), http.StatusOK, "")
	}
	code := v.code()
	expect(t, f.post("/token", redeemForm(code)+"&code_verifier=x", asWeb), http.StatusBadRequest, oauth.InvalidRequest)
	expect(t, f.post("/token", redeemForm(code, "code_verifier", strings.Repeat("x", 43)), asWeb), http.StatusBadRequest, oauth.InvalidGrant)
	f.redeemed(code) // a wrong verifier has not spent it
}

// A verifier without a challenge is a downgrade (RFC 9700 §4.8.2): an attacker
// took the challenge out of the request.
func TestPKCEDowngrade(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	legacy := func(challenge, method string) string {
		return v.code("client_id", "legacy", "redirect_uri", "https://legacy.test/cb", "code_challenge", challenge, "code_challenge_method", method)
	}
	redeem := func(code, verifier string) (int, oauth.ErrorCode) {
		w := f.post("/token", redeemForm(code, "redirect_uri", "https://legacy.test/cb", "code_verifier", verifier), asLegacy)
		return w.Code, errorOf(t, w)
	}
	if status, code := redeem(legacy("", ""), fixtureVerifier); status != 400 || code != oauth.InvalidGrant {
		t.Errorf("a verifier without a challenge: %d %s, want invalid_grant", status, code)
	}
	if status, code := redeem(legacy(fixtureChallenge, "S256"), ""); status != 400 || code != oauth.InvalidGrant {
		t.Errorf("a challenge without a verifier: %d %s, want invalid_grant", status, code)
	}
	if status, _ := redeem(legacy("", ""), ""); status != 200 {
		t.Errorf("PKCE is optional for this client: %d", status)
	}
	if status, _ := redeem(legacy(fixtureChallenge, "S256"), fixtureVerifier); status != 200 {
		t.Errorf("and possible: %d", status)
	}
}
