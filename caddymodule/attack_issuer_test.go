package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// issuerAttacks are the areas of the issuer.
var issuerAttacks = attackGroup{
	name:  "issuer",
	start: startIssuerSite,
	areas: append(tokenAttackAreas, browserAttackAreas...),
}

// tokenAttackAreas are those of the endpoints that clients call.
var tokenAttackAreas = []attackArea{
	{"issuer-client-auth", clientAuthAttack},
	{"issuer-pkce", pkceAttack},
	{"issuer-token-endpoint", tokenEndpointAttack},
	{"issuer-token-exchange", tokenExchangeAttack},
	{"issuer-refresh", refreshAttack},
	{"issuer-code", codeAttack},
	{"issuer-device", deviceAttack},
	{"issuer-introspect-revoke-userinfo", introspectAttack},
}

// issuerAttackCaddyfile: the clients that the entries name, one issuer whose
// tokens may be exchanged, and a gate in front of an API.
//
// A used refresh token is refused at once here (refresh_token_grace), so that
// what the grace is for does not hide what it is not for. The access log leaves
// out what Caddy would write of addresses: the codes that browsers are sent away
// with, and secrets that stand in a query where they do not belong.
const issuerAttackCaddyfile = `{
	servers {
		max_header_size 4MB
	}
	oauth {
		issuer https://as.test {
			scope read "Read"
			scope write "Write"
			scope admin "Administer"
			default_resource https://api.test
			refresh_token_grace off
			registration open {
				scope openid profile email offline_access read
				rate 10000
				unused 10000
			}
			client web {
				name "The web application"
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				post_logout_redirect_uri https://app.test/bye
				scope openid profile email offline_access read write
				resource https://api.test https://other.test
			}
			client web2 {
				name "Another web application"
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				scope openid profile email offline_access read
				resource https://api.test
			}
			client spa {
				name "The page"
				public
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				scope openid profile email offline_access read
				resource https://api.test
			}
			client native {
				name "The application of a computer"
				public
				grant authorization_code refresh_token
				redirect_uri http://127.0.0.1/cb com.example.app:/cb
				scope openid offline_access read
				resource https://api.test
			}
			client pair {
				name "The application with two callbacks"
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb https://app.test/cb2
				scope openid offline_access read
				resource https://api.test
			}
			client svc {
				secret_hash $HASH
				grant client_credentials
				scope read write
				resource https://api.test
			}
			client agent {
				secret_hash $HASH
				grant client_credentials token_exchange
				scope read write admin
				resource https://api.test
			}
			client agent2 {
				secret_hash $HASH
				grant client_credentials token_exchange
				scope read write
				resource https://api.test
			}
			client dev {
				name "The television"
				public
				grant device_code refresh_token
				scope openid offline_access read
				resource https://api.test
			}
			client devconf {
				name "The printer"
				secret_hash $HASH
				grant device_code
				scope openid read
				resource https://api.test
			}
			client rs1 {
				name "The API"
				secret_hash $HASH
				scope read
				resource https://api.test
			}
			trusted_issuer https://good.test {
				jwks_uri $IDP/good
				audience https://as.test
				authorized_party idp-app
				scope read write
			}
			trusted_issuer https://other-idp.test {
				jwks_uri $IDP/other-idp
				audience https://as.test
				authorized_party idp-app
				scope read
			}
			trusted_issuer https://mail-idp.test {
				jwks_uri $IDP/other-idp
				audience https://as.test
				subject_claim email
				scope read
			}
			trusted_issuer https://silent.test {
				jwks_uri $IDP/silent
			}
			trusted_issuer https://opaque.test {
				introspection $IDP/odd-introspection as canary7c1d-at-the-idp
				audience https://as.test
			}
		}
	}
}

(access_log) {
	log {
		output file $DIR/access.log
	}
}

(issuer) {
	import access_log
	oauth_issuer https://as.test
	respond 404
}

(api) {
	import access_log
	oauth_protect {
		resource https://api.test
		issuer https://as.test
	}
	reverse_proxy $BACKEND
}

$AS {
	import issuer
}

$AS_TLS {
	$TLS
	import issuer
}

$GW {
	import api
}

$GW_TLS {
	$TLS
	import api
}
`

// The grant types whose names are long.
const (
	deviceGrant   = "urn:ietf:params:oauth:grant-type:device_code"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// publicClients are the clients of the fixture that have no secret.
var publicClients = map[string]bool{"spa": true, "native": true, "dev": true}

// startIssuerSite starts the site, with alice, bob and admin, who is an operator.
// The client "disabled" was made and then lost every right; its secret is known
// to nobody.
func startIssuerSite(t *testing.T) *attackSite {
	s := startAttackSite(t, issuerAttackCaddyfile)
	s.idp.publish("other-idp", s.keys.next.public())
	s.idp.answer("odd-introspection", inactiveAnswer)
	for _, name := range []string{"alice", "bob", "admin"} {
		s.addPerson(name, name == "admin")
	}
	s.adminCall("POST", "/oauth/clients", map[string]any{
		"client_id": "disabled", "grant_types": []string{"client_credentials"}, "scope": "read", "disabled": true,
	}).want(t, 200)
	return s
}

// addPerson adds somebody with the password of passwordOf, and returns the sub.
func (s *attackSite) addPerson(name string, operator bool) string {
	s.t.Helper()
	a := s.adminCall("POST", "/oauth/users", map[string]any{
		"username": name, "password": passwordOf(name), "name": strings.ToUpper(name[:1]) + name[1:],
		"email": name + "@corp.test", "email_verified": true, "operator": operator,
	})
	a.want(s.t, 200)
	return a.member(s.t, "sub")
}

func passwordOf(name string) string { return canary + " staple of " + name }

// attackVerifier is the code verifier of every authorization request that does
// not say otherwise.
const attackVerifier = canary + "-verifier-of-the-attacks-0123456789abcdef"

// authorizationRequest is one that is in order, with changes: "name=value" sets a
// parameter, "-name" leaves it out.
func authorizationRequest(client string, changes ...string) url.Values {
	redirect := "https://app.test/cb"
	if client == "native" {
		redirect = "http://127.0.0.1:51234/cb"
	}
	return changedForm(url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "scope": {"openid read"},
		"state": {"state-0123456789"}, "code_challenge": {challengeOf(attackVerifier)}, "code_challenge_method": {"S256"},
	}, changes...)
}

// changedForm sets parameters ("name=value", again for more than one value) and
// leaves parameters out ("-name").
func changedForm(form url.Values, changes ...string) url.Values {
	set := make(map[string]bool)
	for _, change := range changes {
		if name, left := strings.CutPrefix(change, "-"); left {
			form.Del(name)
			continue
		}
		name, value, _ := strings.Cut(change, "=")
		if !set[name] {
			form.Del(name)
		}
		set[name] = true
		form.Add(name, value)
	}
	return form
}

// post sends a form to the issuer.
func (a *attempt) post(path string, form url.Values, lines ...string) exchange {
	a.Helper()
	return a.toIssuer("POST", path, form.Encode(), append(lines, formType)...)
}

// identified returns how a client of the fixture says who it is: header lines, and
// whether its id goes into the form.
func identified(client string, form url.Values) (lines []string) {
	if client == "" { // the changes say
		return nil
	}
	if publicClients[client] {
		form.Set("client_id", client)
		return nil
	}
	return []string{basic(client, appSecret)}
}

// ask sends a token request of a client of the fixture, with changes as in
// changedForm.
func (a *attempt) ask(client, grantType string, form url.Values, changes ...string) exchange {
	a.Helper()
	form.Set("grant_type", grantType)
	lines := identified(client, form)
	return a.post("/token", changedForm(form, changes...), lines...)
}

// redeem exchanges a code for tokens.
func (a *attempt) redeem(client, code string, changes ...string) exchange {
	a.Helper()
	form := url.Values{"code": {code}, "redirect_uri": {authorizationRequest(client).Get("redirect_uri")}, "code_verifier": {attackVerifier}}
	return a.ask(client, "authorization_code", form, changes...)
}

// refresh uses a refresh token.
func (a *attempt) refresh(client, token string, changes ...string) exchange {
	a.Helper()
	return a.ask(client, "refresh_token", url.Values{"refresh_token": {token}}, changes...)
}

// ownToken is one that a client gets for itself.
func (a *attempt) ownToken(client string, changes ...string) string {
	a.Helper()
	return a.secret(a.ask(client, "client_credentials", url.Values{}, changes...), "access_token")
}

// register makes a client at run time, of the metadata of RFC 7591.
func (a *attempt) register(metadata map[string]any) (id, secret string) {
	a.Helper()
	e := a.adminCall("POST", "/oauth/clients", metadata)
	e.want(a.T, 200)
	if metadata["client_type"] != "public" {
		secret = e.member(a.T, "client_secret")
		a.plant(secret)
	}
	return e.member(a.T, "client_id"), secret
}

// introspection asks for a token as the API does.
func (a *attempt) introspection(token string) exchange {
	a.Helper()
	return a.post("/introspect", url.Values{"token": {token}}, basic("rs1", appSecret))
}

// active tells whether a token is good, as the API is told.
func (a *attempt) active(token string) bool {
	a.Helper()
	e := a.introspection(token)
	e.want(a.T, 200)
	return strings.Contains(e.body, `"active":true`)
}

// reconfigure gives the server another configuration and returns when both its
// listeners have been handed over: a connection that is made meanwhile can be cut.
func (a *attempt) reconfigure(text string) {
	a.Helper()
	if err := a.load(text); err != nil {
		a.Fatal(err)
	}
	for _, address := range []string{a.issuer, a.gate} {
		eventually(a.T, "the new configuration answers", func() bool {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(answerTimeout))
			_, _ = io.WriteString(conn, requestHead("GET", "/.well-known/oauth-authorization-server", "Host: as.test"))
			return readFinal(bufio.NewReader(conn), "GET").StatusCode != 0
		})
	}
	a.backend.take()
}

// must fails the attempt if a step on the way was refused.
func (a *attempt) must(e exchange) exchange {
	a.Helper()
	if e.StatusCode != 200 && e.StatusCode != 201 {
		a.Fatalf("%s: status %d: %s", e.path, e.StatusCode, e.body)
	}
	return e
}

// secret is a member of an answer, and a secret from then on.
func (a *attempt) secret(e exchange, member string) string {
	a.Helper()
	text := a.must(e).member(a.T, member)
	a.plant(text)
	return text
}

// has tells whether an answer has a member.
func (e exchange) has(member string) bool { return strings.Contains(e.body, `"`+member+`":`) }
