package upstream

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// Core §3.1.2.1, RFC 7636 §4.3.
func TestBegin(t *testing.T) {
	p := newToy(t)
	provider := p.provider(t, nil)
	location, pending, err := provider.Begin(t.Context(), testRedirectURI, "jane@example.com", "de en", false)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"tenant": {"1"}, "response_type": {"code"}, "client_id": {testClientID}, "redirect_uri": {testRedirectURI},
		"scope": {"openid profile email"}, "state": {pending.State}, "nonce": {pending.Nonce},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(pending.Verifier)}, "code_challenge_method": {"S256"},
		"login_hint": {"jane@example.com"}, "ui_locales": {"de en"},
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Query(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if pending.RedirectURI != testRedirectURI || pending.Issuer != p.URL || !pending.LoginSince.IsZero() {
		t.Errorf("pending %+v", pending)
	}
	location, second, err := provider.Begin(t.Context(), testRedirectURI, "", "", true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(location, "max_age=0") || !strings.Contains(location, "prompt=login") {
		t.Errorf("a new login is not asked for: %s", location)
	}
	if second.State == pending.State || second.Nonce == pending.Nonce || second.Verifier == pending.Verifier || second.State == second.Nonce {
		t.Error("a secret of one request is used again")
	}
	var kept Pending
	sealed, err := json.Marshal(second)
	if err != nil || json.Unmarshal(sealed, &kept) != nil || kept != second {
		t.Errorf("kept %+v, want %+v (%v)", kept, second, err)
	}
}

func TestBeginRefusesRedirectURI(t *testing.T) {
	p := newToy(t)
	provider := p.provider(t, nil)
	for _, uri := range []string{"", "/answer", "http://gate.example.com/answer", testRedirectURI + "#", "https://a:b@gate.example.com/"} {
		if _, _, err := provider.Begin(t.Context(), uri, "", "", false); err == nil {
			t.Errorf("%q is accepted", uri)
		}
	}
}

// RFC 6749 §2.3.1: the secret goes where the configuration or the metadata says.
func TestClientAuthentication(t *testing.T) {
	basic, post, inParams, inHeader := ClientSecretBasic, ClientSecretPost, oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader
	for _, test := range []struct {
		method, secret string
		offered        []string
		want           oauth2.AuthStyle
	}{
		{"", "s", nil, inHeader},
		{"", "s", []string{post}, inParams},
		{"", "s", []string{post, basic}, inHeader},
		{basic, "s", []string{post}, inHeader},
		{post, "s", []string{basic}, inParams},
		{"", "", []string{basic}, inParams},
	} {
		p := &Provider{config: Config{AuthMethod: test.method, ClientSecret: test.secret}}
		if got := p.authStyle(&metadata{TokenAuthMethods: test.offered}); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
	for _, method := range []string{basic, post} {
		finish(t, newToy(t), func(c *Config) { c.AuthMethod = method }, false)
	}
}
