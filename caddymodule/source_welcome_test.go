package caddymodule

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// An energy company's OAuth server shows its users these requests. Its
// applications work here unchanged: each is sent as it is printed there, with
// the host and the values in capitals filled in.

const welcomeCaddyfile = `{
	oauth {
		issuer $GATE {
			scope full-customer-access "See and change everything of a customer"
			client app {
				secret_hash $HASH
				grant client_credentials token_exchange
				scope full-customer-access
			}
			client customer-app {
				public
				grant authorization_code device_code refresh_token
				redirect_uri http://localhost/callback
				scope openid full-customer-access
				short_code_verifier
				refresh_token always
			}
			trusted_issuer $GATE/idp {
				audience $GATE/customers $GATE/idp
			}
		}
		issuer $GATE/idp {
			client portal {
				public
				grant authorization_code
				redirect_uri http://localhost/portal
				scope openid
				resource $GATE/customers
			}
			default_resource $GATE/customers
		}
	}
}

$GATE {
	oauth_issuer $GATE
	oauth_issuer $GATE/idp
	oauth_protect /resource/* {
		issuer $GATE
		resource $GATE/resource
	}
	reverse_proxy /resource/* $BACKEND
}
`

const formType = "Content-Type: application/x-www-form-urlencoded"

// granted checks what the page promises of every successful answer.
func granted(t *testing.T, a answer, scope string) map[string]any {
	t.Helper()
	a.want(t, http.StatusOK)
	var members map[string]any
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		t.Fatal(err)
	}
	if members["token_type"] != "Bearer" || members["expires_in"] != 3600.0 || members["scope"] != scope {
		t.Errorf("answer %s: want Bearer, 3600 s and the scope %q", a.body, scope)
	}
	if cache := a.Header.Get("Cache-Control"); !strings.Contains(cache, "no-store") || !strings.Contains(cache, "no-cache") {
		t.Errorf("Cache-Control %q", cache)
	}
	return members
}

// opens accesses the protected resource with the token alone in Authorization.
func (s *server) opens(t *testing.T, token any, b *backend) string {
	t.Helper()
	text, _ := token.(string)
	s.send("GET", "/resource/", "", "Authorization: "+text).want(t, 200)
	return b.one(t)
}

func TestWelcomeRequests(t *testing.T) {
	b := startBackend(t)
	s := start(t, welcomeCaddyfile, b.address)
	p := s.person()

	t.Run("authorization", func(t *testing.T) {
		// Step 1 makes the verifier of a UUID without its dashes: 32 characters.
		verifier := "5f0c1b7e9a4d4f2c8b3e6d1a7c9e0f24"
		sum := sha256.Sum256([]byte(verifier))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		p.open(s.url + "/authorize/?response_type=code&client_id=customer-app&redirect_uri=http://localhost/callback" +
			"&code_challenge=" + challenge + "&code_challenge_method=S256")
		p.signIn(s.url)
		p.press(s.url+"/consent", "allow")
		code := p.answer().Get("code")
		tokens := granted(t, s.send("POST", "/token/", "grant_type=authorization_code&code="+code+
			"&redirect_uri=http://localhost/callback&client_id=customer-app&code_verifier="+verifier, formType),
			"openid full-customer-access")
		if tokens["refresh_token"] == nil || tokens["id_token"] == nil {
			t.Errorf("tokens %v: want a refresh token and an ID token", tokens)
		}
		s.opens(t, tokens["access_token"], b)
	})

	t.Run("client credentials", func(t *testing.T) {
		encoded := base64.StdEncoding.EncodeToString([]byte("app:" + appSecret))
		tokens := granted(t, s.send("POST", "/token/", "grant_type=client_credentials", "Authorization: Basic "+encoded, formType), "full-customer-access")
		s.opens(t, tokens["access_token"], b)
	})

	t.Run("device", func(t *testing.T) {
		a := s.send("POST", "/device-authorization/", "client_id=customer-app", formType)
		a.want(t, http.StatusOK)
		poll := "client_id=customer-app&device_code=" + a.member(t, "device_code") + "&grant_type=urn:ietf:params:oauth:grant-type:device_code"
		pending := s.send("POST", "/token/", poll, formType)
		pending.want(t, http.StatusBadRequest)
		if code := pending.member(t, "error"); code != "authorization_pending" {
			t.Errorf("error %q while the person has not decided", code)
		}
		p.open(a.member(t, "verification_uri_complete"))
		p.press(s.url+"/device", "continue", "user_code", a.member(t, "user_code"))
		p.press(s.url+"/device", "allow")

		// The next poll is early, on purpose: it answers slow_down. A device of its
		// own has not polled yet.
		other := s.send("POST", "/device-authorization/", "client_id=customer-app", formType)
		p.open(other.member(t, "verification_uri_complete"))
		p.press(s.url+"/device", "continue", "user_code", other.member(t, "user_code"))
		p.press(s.url+"/device", "allow")
		tokens := granted(t, s.send("POST", "/token/", "client_id=customer-app&device_code="+other.member(t, "device_code")+
			"&grant_type=urn:ietf:params:oauth:grant-type:device_code", formType), "openid full-customer-access")
		if tokens["refresh_token"] == nil {
			t.Error("no refresh token, which the documented answer has")
		}
		s.opens(t, tokens["access_token"], b)
	})

	t.Run("token exchange", func(t *testing.T) {
		external := s.externalToken(t, p)
		own := s.token("app", appSecret)
		// As it is printed: quotes, line breaks, the bare token, no slash.
		body := strings.ReplaceAll(`grant_type="urn:ietf:params:oauth:grant-type:token-exchange"&
actor_token_type="urn:ietf:params:oauth:token-type:access_token"&
actor_token=YOUR_CLIENT_CREDENTIALS_ACCESS_TOKEN&
subject_token_type="urn:ietf:params:oauth:token-type:access_token"&
subject_token=`+external, "YOUR_CLIENT_CREDENTIALS_ACCESS_TOKEN", own)
		tokens := granted(t, s.send("POST", "/token", body, "Authorization: "+own, formType), "full-customer-access")
		if tokens["issued_token_type"] != "urn:ietf:params:oauth:token-type:access_token" || tokens["refresh_token"] != nil {
			t.Errorf("answer %v", tokens)
		}
		head := s.opens(t, tokens["access_token"], b)
		subject := s.url + "/idp|"
		if got := fields(head, "X-Auth-Subject"); len(got) != 1 || !strings.HasPrefix(got[0], subject) {
			t.Errorf("subject %q: want one of %s", got, subject)
		}
		if got := fields(head, "X-Auth-Actor"); len(got) != 1 || got[0] != "app" {
			t.Errorf("actor %q: want app", got)
		}
	})
}

// externalToken is an access token that another issuer gave to one of its own
// clients, for a person.
func (s *server) externalToken(t *testing.T, p *person) string {
	t.Helper()
	idp := s.url + "/idp"
	s.adminCall("POST", "/oauth/users?issuer="+idp, map[string]any{"username": "alice", "password": alicePassword}).want(t, 200)
	verifier := strings.Repeat("external-verifier-", 3)
	sum := sha256.Sum256([]byte(verifier))
	p.open(idp + "/authorize?response_type=code&client_id=portal&redirect_uri=http://localhost/portal&scope=openid&resource=" + s.url +
		"/customers&code_challenge=" + base64.RawURLEncoding.EncodeToString(sum[:]) + "&code_challenge_method=S256")
	p.signIn(idp)
	p.press(idp+"/consent", "allow")
	a := s.send("POST", "/idp/token", "grant_type=authorization_code&client_id=portal&code="+p.answer().Get("code")+"&code_verifier="+verifier, formType)
	a.want(t, http.StatusOK)
	return a.member(t, "access_token")
}
