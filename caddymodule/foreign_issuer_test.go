package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/oidcprovider"
)

// trusting is a gate that accepts tokens of the issuer of this server and of one
// elsewhere.
func trusting(foreign string, options ...string) string {
	return gateWith(append([]string{"issuer $GATE", foreign}, options...)...)
}

// trustedAlone is a server that issues nothing.
const trustedAlone = `{
}

$GATE {
	oauth_protect /api/* {
		resource $GATE/api
		$FOREIGN
	}
	reverse_proxy /api/* $BACKEND
}
`

func alone(foreign string) string { return strings.ReplaceAll(trustedAlone, "$FOREIGN", foreign) }

// TestNodeOIDCProvider: tokens of node-oidc-provider open an API, as they are: JWTs
// by its published keys, opaque ones by its introspection endpoint.
func TestNodeOIDCProvider(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	web := oidcprovider.StartClient(t, s.url+"/api")
	idp := web.Provider.URL
	jwt := web.SignIn(t, "grace", web.Audience+"/jwt").AccessToken
	opaque := web.SignIn(t, "grace", web.Audience+"/opaque").AccessToken
	elsewhere := web.SignIn(t, "grace", "")
	idToken, _ := elsewhere.Extra("id_token").(string)
	if strings.Count(jwt, ".") != 2 || strings.Count(opaque, ".") != 0 || idToken == "" {
		t.Fatalf("the provider issued %q, %q, %q", jwt, opaque, idToken)
	}
	byKeys := "trusted_issuer " + idp
	byAsking := "trusted_issuer " + idp + " {\n\t\t\tintrospection " + web.ID + " \"" + web.Secret + "\"\n\t\t}"
	const ours = "issuer $GATE\n\t\t"
	tests := []struct {
		name, options   string
		token           string
		status          int
		subject, client string
	}{
		{"a JWT, where it is the only issuer", byKeys, jwt, 200, "grace", "web"},
		{"a JWT, beside our own issuer", ours + byKeys, jwt, 200, idp + "|grace", idp + "|web"},
		{"a JWT with the scope", ours + byKeys + "\n\t\t" + "scope * read", jwt, 200, idp + "|grace", idp + "|web"},
		{"a JWT without the scope", ours + byKeys + "\n\t\t" + "scope * write", jwt, 403, "", ""},
		{"a JWT of an issuer that nobody trusts", ours, jwt, 401, "", ""},
		{"an opaque token, where nobody is asked", ours + byKeys, opaque, 401, "", ""},
		{"an ID token is no access token", byKeys, idToken, 401, "", ""},
		{"an ID token is none with a profile that calls both JWT: it is for its client", byKeys + " {\n\t\t\tprofile keycloak\n\t\t}", idToken, 401, "", ""},
		{"an opaque token, where it is the only issuer", byAsking, opaque, 200, "grace", "web"},
		{"an opaque token, beside our own issuer", ours + byAsking, opaque, 200, idp + "|grace", idp + "|web"},
		{"an opaque token with the scope", ours + byAsking + "\n\t\t" + "scope * read", opaque, 200, idp + "|grace", idp + "|web"},
		{"an opaque token for the provider itself", ours + byAsking, elsewhere.AccessToken, 401, "", ""},
		{"a changed one", ours + byAsking, opaque + "x", 401, "", ""},
	}
	var gates []string
	for _, test := range tests {
		gates = append(gates, test.options)
	}
	if err := s.load(gatesWith(gates...)); err != nil {
		t.Fatal(err)
	}
	for n, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.send("GET", fmt.Sprintf("/gate/%d/x", n), "", bearer(test.token)).want(t, test.status)
			if test.status != 200 {
				b.none(t)
				return
			}
			got := b.one(t)
			if subject, client := fields(got, "X-Auth-Subject"), fields(got, "X-Auth-Client"); !slices.Equal(subject, []string{test.subject}) || !slices.Equal(client, []string{test.client}) {
				t.Errorf("%q, %q; want %q, %q", subject, client, test.subject, test.client)
			}
		})
	}
	t.Run("when the provider is gone", func(t *testing.T) {
		if err := s.load(trusting(byAsking)); err != nil {
			t.Fatal(err)
		}
		web.Provider.End()
		s.send("GET", "/api/x", "", bearer(opaque)).want(t, 200) // believed for half a minute
		b.one(t)
		a := s.send("GET", "/api/x", "", bearer("another-opaque-one"))
		a.want(t, 503)
		b.none(t)
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
}

// TestForeignProfiles: access tokens in the form that each product documents are
// good with its profile, and only with it.
func TestForeignProfiles(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy := startToyIssuer(t)
	api := s.url + "/api"
	type claims = map[string]any
	for _, test := range []struct {
		name, profile, option string
		header, claims        claims
		client, scope         string
	}{
		{"Keycloak", "keycloak", "", claims{"typ": "JWT"}, claims{
			"jti": "onrtro:1f5e", "iss": toy.URL, "aud": []string{api, "account"}, "sub": "f:8-4-4", "typ": "Bearer", "azp": "shop", "sid": "s", "acr": "1",
			"realm_access": claims{"roles": []string{"user"}}, "resource_access": claims{"account": claims{"roles": []string{"manage-account"}}},
			"scope": "email profile", "email_verified": true, "preferred_username": "ada",
		}, "shop", "email profile"},
		{"Microsoft Entra, version 2.0", "entra", "", claims{"typ": "JWT", "x5t": "abc"}, claims{
			"aud": api, "iss": toy.URL, "nbf": 1_700_000_000, "aio": "x", "azp": "6e74172b", "azpacr": "1", "name": "Ada", "oid": "690222be", "rh": "0.x",
			"scp": "Orders.Read Orders.Write", "sub": "HKZpfaHyWadeOouYlitjrI", "tid": "72f988bf", "uti": "fqiBqX", "ver": "2.0",
		}, "6e74172b", "Orders.Read Orders.Write"},
		{"Microsoft Entra, version 1.0, an application", "entra", "", claims{"typ": "JWT", "x5t": "abc"}, claims{
			"aud": api, "iss": toy.URL, "appid": "b14a7505", "appidacr": "1", "idp": toy.URL, "oid": "0f6a", "roles": []string{"Orders.Read.All"},
			"sub": "0f6a", "tid": "72f988bf", "ver": "1.0",
		}, "b14a7505", "Orders.Read.All"},
		{"Auth0", "auth0", "", claims{"typ": "JWT"}, claims{
			"iss": toy.URL, "sub": "auth0|123456", "aud": []string{api, toy.URL + "/userinfo"}, "azp": "my_client_id", "scope": "openid read:orders",
			"permissions": []string{"write:orders"},
		}, "my_client_id", "openid read:orders write:orders"},
		{"Auth0, RFC 9068 profile", "auth0", "", claims{"typ": "at+jwt"}, claims{
			"iss": toy.URL, "sub": "auth0|123456", "aud": api, "client_id": "my_client_id", "jti": "j", "scope": "read:orders",
		}, "my_client_id", "read:orders"},
		{"Okta", "okta", "", nil, claims{
			"ver": 1, "jti": "AT.0mP", "iss": toy.URL, "aud": api, "cid": "nmdP1fcyvdVO11AL7ECm", "uid": "00ujmkLgagxeRrAg20g3",
			"scp": []string{"openid", "orders.read"}, "sub": "ada@example.com",
		}, "nmdP1fcyvdVO11AL7ECm", "openid orders.read"},
		{"types of one's own", "", "type vnd.acme+jwt", claims{"typ": "vnd.acme+jwt"}, claims{
			"iss": toy.URL, "sub": "ada", "aud": api, "client_id": "c", "jti": "j", "scope": "a",
		}, "c", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := toy.sign(t, test.header, test.claims)
			changed := func(changes claims) string {
				all := maps.Clone(test.claims)
				maps.Copy(all, changes)
				return toy.sign(t, test.header, all)
			}
			option := test.option
			if test.profile != "" {
				option = "profile " + test.profile
			}
			if err := s.load(alone("trusted_issuer " + toy.URL + " {\n\t\t\t" + option + "\n\t\t}")); err != nil {
				t.Fatal(err)
			}
			s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
			got := b.one(t)
			if client, scope := fields(got, "X-Auth-Client"), fields(got, "X-Auth-Scope"); !slices.Equal(client, []string{test.client}) || !slices.Equal(scope, []string{test.scope}) {
				t.Errorf("client %q, scope %q; want %q, %q", client, scope, test.client, test.scope)
			}
			for must, bad := range map[string]string{
				"for another API":                      changed(claims{"aud": "https://other.example"}),
				"for the client, as its ID tokens are": changed(claims{"aud": test.client}),
				"of another issuer":                    changed(claims{"iss": toy.URL + "/other"}),
				"expired":                              changed(claims{"exp": 1_700_000_000}),
				"of another type":                      toy.sign(t, claims{"typ": "logout+jwt"}, test.claims),
				"an identity token of ours, whoever has signed it": toy.sign(t, claims{"typ": "identity+jwt"}, test.claims),
			} {
				if a := s.send("GET", "/api/x", "", bearer(bad)); a.StatusCode != 401 {
					t.Errorf("a token %s: %d", must, a.StatusCode)
				}
				b.none(t)
			}
			if err := s.load(alone("trusted_issuer " + toy.URL)); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 200, false: 401}[test.header["typ"] == "at+jwt"]; true {
				s.send("GET", "/api/x", "", bearer(token)).want(t, want) // without the profile RFC 9068 holds
				b.take()
			}
		})
	}
}

// TestForeignNames: whatever an issuer elsewhere says, its people, clients and
// actors are not those of this server.
func TestForeignNames(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy := startToyIssuer(t)
	type claims = map[string]any
	trusted := "trusted_issuer " + toy.URL
	asked := trusted + " {\n\t\t\tintrospection gate " + canary + "-of-the-gate\n\t\t}"
	q := toy.URL + "|"
	tests := []struct {
		must, options string
		claims        claims
		status        int
	}{
		{"its client is not our client of that name", "client app", nil, 403},
		{"but the one with the issuer before it", "client " + q + "app", nil, 200},
		{"its subject is not ours", "subject alice", nil, 403},
		{"but the one with the issuer before it", "subject " + q + "alice", nil, 200},
		{"a claim rule sees what the gate calls it", "claim sub alice", nil, 403},
		{"also by a JSON pointer", "claim /sub alice", nil, 403},
		{"and the client", "claim client_id app", nil, 403},
		{"and the client by a JSON pointer", "claim /client_id app", nil, 403},
		{"a claim rule", "claim sub " + q + "alice", nil, 200},
		{"an expression sees what the gate calls it", "expression `{http.auth.user.claims.sub} == \"alice\" || {http.auth.user.id} == \"alice\" || {http.auth.user.client_id} == \"app\" || {http.auth.user.claims.client_id} == \"app\"`", nil, 403},
		{"an expression", "expression `{http.auth.user.claims.sub} == \"" + q + "alice\"`", nil, 200},
		{"nobody vouches for another issuer", "subject_issuer $GATE", claims{"subject_issuer": s.url}, 403},
		{"nor for a third", "subject_issuer https://idp.example", claims{"subject_issuer": "https://idp.example"}, 403},
		{"it vouches for its own", "subject_issuer " + toy.URL, claims{"subject_issuer": "https://idp.example"}, 200},
		{"its actor is not our client", "actor agent", claims{"act": claims{"sub": "agent"}}, 403},
		{"whatever issuer it names", "actor agent", claims{"act": claims{"sub": "agent", "iss": s.url}}, 403},
		{"nor with the name of the gate's own", "actor " + q + "agent", claims{"act": claims{"sub": "agent", "iss": s.url}}, 403},
		{"its actor", "actor " + q + "agent", claims{"act": claims{"sub": "agent"}}, 200},
		{"nor by a claim rule", "claim /act/sub agent", claims{"act": claims{"sub": "agent"}}, 403},
		{"nor by the client it is", "claim /act/client_id agent", claims{"act": claims{"sub": "x", "client_id": "agent"}}, 403},
		{"nor one that acted before", "claim /act/act/sub agent", claims{"act": claims{"sub": "x", "act": claims{"sub": "agent"}}}, 403},
		{"nor in an expression", "expression `{http.auth.user.claims.act.sub} == \"agent\"`", claims{"act": claims{"sub": "agent"}}, 403},
		{"a claim rule about its actor", "claim /act/sub " + q + "agent", claims{"act": claims{"sub": "agent"}}, 200},
		{"and what else is said of it", "claim /act/level 3", claims{"act": claims{"sub": "agent", "level": 3}}, 200},
		{"nor does a claim rule believe who vouched", "claim subject_issuer $GATE", claims{"subject_issuer": s.url}, 403},
		{"iss is ours: then our keys must have signed it", "", claims{"iss": s.url}, 401},
		{"iss is nobody's", "", claims{"iss": "https://nobody.example"}, 401},
		{"its tokens are for this API only if they say so", "", claims{"aud": "https://other.example"}, 401},
		{"nor without saying anything", "", claims{"aud": nil}, 401},
	}
	var gates []string // one that trusts by keys, one by asking, for each test
	for _, test := range tests {
		gates = append(gates, "issuer $GATE\n\t\t"+trusted+"\n\t\t"+test.options, "issuer $GATE\n\t\t"+asked+"\n\t\t"+test.options)
	}
	if err := s.load(gatesWith(gates...)); err != nil {
		t.Fatal(err)
	}
	for n, test := range tests {
		facts := claims{"iss": toy.URL, "sub": "alice", "client_id": "app", "aud": s.url + "/api", "scope": "api:read", "authorization_id": "x"}
		maps.Copy(facts, test.claims)
		maps.DeleteFunc(facts, func(_ string, value any) bool { return value == nil })
		for way, token := range []string{toy.accessToken(t, facts), toy.grant(fmt.Sprintf("opaque-%d", n), facts)} {
			t.Run([]string{"by keys: ", "by asking: "}[way]+test.must, func(t *testing.T) {
				s.send("GET", fmt.Sprintf("/gate/%d/x", 2*n+way), "", bearer(token)).want(t, test.status)
				if test.status != 200 {
					b.none(t)
					return
				}
				got := b.one(t)
				if subject, client := fields(got, "X-Auth-Subject"), fields(got, "X-Auth-Client"); !slices.Equal(subject, []string{q + "alice"}) || !slices.Equal(client, []string{q + "app"}) {
					t.Errorf("the API is told %q, %q", subject, client)
				}
				if actor := fields(got, "X-Auth-Actor"); len(actor) > 0 && actor[0] != q+"agent" {
					t.Errorf("X-Auth-Actor %q", actor)
				}
			})
		}
	}
	t.Run("a prefix of one's own, or none", func(t *testing.T) {
		for _, test := range []struct{ option, want string }{{"subject_prefix partner:", "partner:alice"}, {"subject_prefix none", "alice"}} {
			if err := s.load(trusting(trusted + " {\n\t\t\t" + test.option + "\n\t\t}")); err != nil {
				t.Fatal(err)
			}
			s.send("GET", "/api/x", "", bearer(toy.accessToken(t, claims{"aud": s.url + "/api"}))).want(t, 200)
			if subject := fields(b.one(t), "X-Auth-Subject"); !slices.Equal(subject, []string{test.want}) {
				t.Errorf("%s: %q", test.option, subject)
			}
		}
	})
	t.Run("our own keep their names beside it", func(t *testing.T) {
		if err := s.load(trusting(trusted, "client app", "actor agent", "subject_issuer https://idp.test")); err != nil {
			t.Fatal(err)
		}
		token := s.forge("at+jwt", claims{"sub": "zoe", "subject_issuer": "https://idp.test", "act": claims{"sub": "agent"}})
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		if subject := fields(b.one(t), "X-Auth-Subject"); !slices.Equal(subject, []string{"zoe"}) {
			t.Errorf("%q", subject)
		}
	})
}

// TestForeignScopes: of the scopes of an issuer elsewhere only those count that
// the operator names.
func TestForeignScopes(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy := startToyIssuer(t)
	if err := s.load(trusting("trusted_issuer "+toy.URL+" {\n\t\t\tscope read list\n\t\t}", "scope GET read", "scope POST admin")); err != nil {
		t.Fatal(err)
	}
	token := toy.accessToken(t, map[string]any{"aud": s.url + "/api", "scope": "read admin"})
	for range 2 { // the second from the cache
		s.send("POST", "/api/x", "", bearer(token)).want(t, 403)
		b.none(t)
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		if scope := fields(b.one(t), "X-Auth-Scope"); !slices.Equal(scope, []string{"read"}) {
			t.Errorf("X-Auth-Scope %q: the API would take the rest for granted", scope)
		}
	}
	for _, rule := range []string{`claim scope "read admin"`, `claim /scope "read admin"`, "expression `{http.auth.user.claims.scope}.contains(\"admin\")`"} {
		if err := s.load(trusting("trusted_issuer "+toy.URL+" {\n\t\t\tscope read list\n\t\t}", rule)); err != nil {
			t.Fatal(err)
		}
		if a := s.send("GET", "/api/x", "", bearer(token)); a.StatusCode != 403 {
			t.Errorf("%s: status %d: the rest counts after all", rule, a.StatusCode)
		}
		s.send("GET", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"scope": "read admin"}))).want(t, 200)
		b.take()
	}
	if err := s.load(trusting("trusted_issuer "+toy.URL+" {\n\t\t\tscope read list\n\t\t}", "scope GET read", "scope POST admin")); err != nil {
		t.Fatal(err)
	}
	s.send("POST", "/api/x", "", bearer(s.forge("at+jwt", map[string]any{"scope": "admin"}))).want(t, 200) // ours are not limited
	b.one(t)
}

// TestForeignAudience: what its tokens call the API is the operator's to say.
func TestForeignAudience(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy := startToyIssuer(t)
	token := func(audience any) string {
		if audience == nil {
			return toy.accessToken(t, map[string]any{"iss": toy.URL})
		}
		return toy.accessToken(t, map[string]any{"aud": audience})
	}
	for _, test := range []struct {
		option string
		aud    any
		status int
	}{
		{"", s.url + "/api", 200},
		{"", "api://orders", 401},
		{"audience api://orders api://more", "api://more", 200},
		{"audience api://orders", []string{"x", "api://orders"}, 200},
		{"audience api://orders", s.url + "/api", 401}, // it is said otherwise
		{"audience api://orders", "api://orders/", 401},
		{"audience none", "https://other.example", 401}, // a token that says whom it is for is for them
	} {
		if err := s.load(alone("trusted_issuer " + toy.URL + " {\n\t\t\t" + test.option + "\n\t\t}")); err != nil {
			t.Fatal(err)
		}
		if a := s.send("GET", "/api/x", "", bearer(token(test.aud))); a.StatusCode != test.status {
			t.Errorf("%s: aud %v: status %d, want %d", test.option, test.aud, a.StatusCode, test.status)
		}
		if got := len(b.take()); (got == 1) != (test.status == 200) {
			t.Errorf("%d requests reach the backend", got)
		}
	}
	// Introspection answers often have no aud.
	for option, want := range map[string]int{"": 401, "audience none": 200} {
		if err := s.load(alone("trusted_issuer " + toy.URL + " {\n\t\t\tintrospection gate " + canary + "-of-the-gate\n\t\t\t" + option + "\n\t\t}")); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(toy.grant("opaque-without-aud", map[string]any{"sub": "alice"}))).want(t, want)
		b.take()
	}
}

// TestForeignUnavailable: a gate that cannot tell says so. It never lets pass, and
// never says that a token is bad which may be good.
func TestForeignUnavailable(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy, second := startToyIssuer(t), startToyIssuer(t)
	nowhere := "http://" + freeAddress(t)
	ask := func(url string) string {
		return "trusted_issuer " + url + " {\n\t\t\tintrospection " + url + "/introspect gate " + canary + "-of-the-gate\n\t\t}\n"
	}
	facts := map[string]any{"aud": s.url + "/api", "sub": "alice"}
	toy.grant("opaque-known", facts)
	toy.grant("opaque.with.dots", facts) // as those of some issuers are
	atNowhere := toy.accessToken(t, map[string]any{"iss": nowhere, "aud": s.url + "/api"})
	for _, test := range []struct {
		must, foreign, token string
		status               int
	}{
		{"the keys cannot be had", "trusted_issuer " + nowhere, atNowhere, 503},
		{"nobody answers about an opaque token", ask(nowhere), "opaque-unknown", 503},
		{"the endpoint does not know the gate", "trusted_issuer " + toy.URL + " {\n\t\t\tintrospection gate " + canary + "-wrong\n\t\t}", "opaque-known", 503},
		{"one is down, and the other knows the token", ask(nowhere) + ask(toy.URL), "opaque-known", 200},
		{"in any order", ask(toy.URL) + ask(nowhere), "opaque-known", 200},
		{"two dots make no JWT", ask(toy.URL), "opaque.with.dots", 200},
		{"one is down, and the other does not know it: it may be the first one's", ask(nowhere) + ask(toy.URL), "opaque-unknown", 503},
		{"in any order", ask(toy.URL) + ask(nowhere), "opaque-unknown", 503},
		{"all are there, and nobody knows it", ask(toy.URL) + ask(second.URL), "opaque-unknown", 401},
		{"a JWT is the business of the issuer that it names, whoever is down", ask(nowhere) + "trusted_issuer " + toy.URL,
			toy.accessToken(t, map[string]any{"aud": s.url + "/api"}), 200},
	} {
		t.Run(test.must, func(t *testing.T) {
			if err := s.load(trusting(test.foreign)); err != nil {
				t.Fatal(err)
			}
			a := s.send("GET", "/api/x", "", bearer(test.token))
			a.want(t, test.status)
			if test.status == 200 {
				b.one(t)
				return
			}
			b.none(t)
			if test.status != 503 {
				return
			}
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After: a client cannot know that it may try again")
			}
			if challenge := a.Header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("a client would throw its token away: %s", challenge)
			}
		})
	}
	t.Run("ours are judged all the same", func(t *testing.T) {
		if err := s.load(trusting(ask(nowhere) + "trusted_issuer " + second.URL)); err != nil {
			t.Fatal(err)
		}
		s.send("GET", "/api/x", "", bearer(s.appToken())).want(t, 200)
		b.one(t)
	})
	t.Run("one that falls ill is believed no longer than its answers last", func(t *testing.T) {
		if err := s.load(trusting(ask(toy.URL))); err != nil {
			t.Fatal(err)
		}
		toy.ill.Store(true)
		s.send("GET", "/api/x", "", bearer(toy.grant("opaque-new", facts))).want(t, 503)
		b.none(t)
		toy.ill.Store(false)
		eventually(t, "it is asked again when it is well", func() bool { return s.send("GET", "/api/x", "", bearer("opaque-new")).StatusCode == 200 })
	})
}

// TestForeignTokensAreShownToTheirIssuer, and to nobody else: whoever is shown a
// token of another could use it.
func TestForeignTokensAreShownToTheirIssuer(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	curious, jwts := startToyIssuer(t), startToyIssuer(t)
	if err := s.load(trusting("trusted_issuer " + curious.URL + " {\n\t\t\tintrospection gate " + canary + "-of-the-gate\n\t\t}\n\t\ttrusted_issuer " + jwts.URL)); err != nil {
		t.Fatal(err)
	}
	ours, theirs := s.appToken(), jwts.accessToken(t, map[string]any{"aud": s.url + "/api"})
	itsOwn := curious.accessToken(t, map[string]any{"aud": s.url + "/api"})
	curious.grant(itsOwn, map[string]any{"aud": s.url + "/api", "sub": "alice"})
	for name, token := range map[string]string{"ours": ours, "of another issuer": theirs} {
		s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		if curious.shown(token) {
			t.Errorf("a token %s is shown to an issuer that it does not name", name)
		}
	}
	stranger := startToyIssuer(t).accessToken(t, map[string]any{"aud": s.url + "/api"})
	s.send("GET", "/api/x", "", bearer(stranger)).want(t, 401)
	if curious.shown(stranger) {
		t.Error("a token of a stranger is shown to it")
	}
	s.send("GET", "/api/x", "", bearer(itsOwn)).want(t, 200)
	if !curious.shown(itsOwn) {
		t.Error("a JWT of an issuer that wants to be asked is judged without asking")
	}
	if len(b.take()) != 3 {
		t.Error("a request was lost")
	}
	for _, token := range []string{ours, theirs, itsOwn} {
		if strings.Contains(s.log(), token) {
			t.Error("a token stands in the log")
		}
	}
}

// TestForeignReload: a reload keeps keys and answers, gates that trust an issuer in
// the same way share them, and what nobody needs any more is given back.
func TestForeignReload(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	toy, asked := startToyIssuer(t), startToyIssuer(t)
	foreign := "trusted_issuer " + toy.URL + "\n\t\ttrusted_issuer " + asked.URL + " {\n\t\t\tintrospection gate " + canary + "-of-the-gate\n\t\t}"
	one := trusting(foreign)
	two := strings.Replace(one, "\toauth_protect /api/* {", "\toauth_protect /api/second/* {\n\t\tresource $GATE/api\n\t\tissuer $GATE\n\t\tsubject nobody\n\t\t"+foreign+"\n\t}\n\toauth_protect /api/* {", 1)
	jwt := toy.accessToken(t, map[string]any{"aud": s.url + "/api"})
	opaque := asked.grant("opaque-token", map[string]any{"aud": s.url + "/api", "sub": "alice"})
	for _, text := range []string{one, one, two, one, strings.Replace(one, "issuer $GATE\n", "issuer $GATE\n\t\tforward_token\n", 1)} {
		if err := s.load(text); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{jwt, opaque} {
			s.send("GET", "/api/x", "", bearer(token)).want(t, 200)
		}
		if text == two {
			s.send("GET", "/api/second/x", "", bearer(jwt)).want(t, 403)
		}
	}
	if fetches, questions := toy.fetches.Load(), asked.questions.Load(); fetches != 1 || questions != 1 {
		t.Errorf("keys were fetched %d times and %d questions asked, want one each: a reload in an hour of trouble must not make it worse", fetches, questions)
	}
	held := func() (n int) {
		foreignPool.Range(func(any, any) bool { n++; return true })
		return n
	}
	if held() != 2 {
		t.Errorf("%d are held, want 2", held())
	}
	if err := s.load(strings.Replace(trusting(foreign), "resource $GATE/api", "resource nowhere", 1)); err == nil {
		t.Error("a resource that is none is accepted")
	}
	if err := s.load(trusting(foreign, "cors nowhere")); err == nil { // fails after the issuers were taken
		t.Error("an origin that is none is accepted")
	}
	if held() != 2 {
		t.Errorf("after a reload that failed %d are held, want 2", held())
	}
	s.send("GET", "/api/x", "", bearer(jwt)).want(t, 200)
	if err := s.load(usualCaddyfile); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are given back", func() bool { return held() == 0 })
}

// TestForeignMistakes: each is refused when the configuration is loaded, and the
// message says what is wrong.
func TestForeignMistakes(t *testing.T) {
	s := newServer(t, "127.0.0.1:9")
	t.Setenv("XDG_DATA_HOME", s.dir)
	validate := func(foreign string) error { return s.validate(trusting(foreign)) }
	block := func(lines string) string { return "trusted_issuer https://idp.example {\n" + lines + "\n}" }
	for _, good := range []string{"trusted_issuer https://idp.example", block("profile okta\nleeway 30s\ntype JWT\njwks_uri https://idp.example/keys\naudience a b none\nscope a\nsubject_prefix x"),
		block("introspection id secret"), block("introspection https://idp.example/introspect id secret\nsubject_prefix none")} {
		if err := validate(good); err != nil {
			t.Fatalf("the control %s: %v", good, err)
		}
	}
	for _, test := range []struct{ foreign, says string }{
		{"trusted_issuer", "wrong argument count"},
		{"trusted_issuer https://idp.example https://other.example", "wrong argument count"},
		{"trusted_issuer https://idp.example\ntrusted_issuer https://idp.example", "stands twice"},
		{"trusted_issuer $GATE", "is an issuer of this server"},
		{`trusted_issuer ""`, "want the URL of the issuer"},
		{"trusted_issuer idp.example", "idp.example"},
		{"trusted_issuer http://idp.example", "http"},
		{"trusted_issuer https://idp.example?x", "no query and no fragment"},
		{"trusted_issuer https://idp.example#x", "no query and no fragment"},
		{block("misspelt"), "unknown option of trusted_issuer: misspelt"},
		{block("profile"), "wrong argument count"},
		{block("profile ping"), `there is no profile "ping"; want keycloak, entra, auth0 or okta`},
		{block("profile okta\nprofile entra"), "profile stands twice"},
		{block("audience"), "wrong argument count"},
		{block("type"), "wrong argument count"},
		{block("scope"), "wrong argument count"},
		{block("jwks_uri http://idp.example/keys"), "http"},
		{block("jwks_uri /keys"), "/keys"},
		{block("introspection id"), "wrong argument count"},
		{block("introspection id secret\nintrospection id secret"), "introspection stands twice"},
		{block("introspection http://idp.example/introspect id secret"), "introspection endpoint"},
		{block("introspection {env.OAUTH_TEST_UNSET} secret"), "introspection: client_id"},
		{block("introspection id secret\nprofile okta"), "with introspection the issuer judges its tokens"},
		{block("introspection id secret\nleeway 10s"), "with introspection the issuer judges its tokens"},
		{block("introspection id secret\ntype JWT"), "with introspection the issuer judges its tokens"},
		{block("introspection id secret\njwks_uri https://idp.example/keys"), "with introspection the issuer judges its tokens"},
		{block("subject_prefix a\nsubject_prefix b"), "subject_prefix stands twice"},
		{block("subject_prefix"), "wrong argument count"},
		{block("leeway soon"), "leeway"},
		{block("leeway 1h"), "leeway"},
		{block("leeway -1s"), "leeway"},
	} {
		t.Run(strings.ReplaceAll(test.foreign, "\n", " "), func(t *testing.T) {
			err := validate(test.foreign)
			if err == nil {
				t.Fatal("it is accepted")
			}
			contains(t, err.Error(), test.says)
		})
	}
}
