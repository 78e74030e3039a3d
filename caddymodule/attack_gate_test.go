package caddymodule

import (
	"maps"
	"strconv"
	"strings"
	"testing"
)

// gateAttacks are the areas of the resource gateway.
var gateAttacks = attackGroup{
	name:  "gate",
	start: startGateSite,
	areas: []attackArea{
		{"gateway-jwt", jwtAttack},
		{"gateway-header", headerAttack},
		{"gateway-path", pathAttack},
		{"gateway-identity", identityAttack},
		{"gateway-http", httpAttack},
		{"gateway-cache-keys", cacheAttack},
	},
}

// gateAttackCaddyfile: three issuers, one for each kind of key, whose tokens are
// all good for https://api.test; /public/* is open, /api/admin needs the scope
// admin, and everything else a token. Caddy's own limit of headers is out of the
// way, so that it is the module that is tried.
const gateAttackCaddyfile = `{
	servers {
		max_header_size 4MB
	}
	oauth {
		issuer https://as.test {
			signing_algorithm RS256
			scope read "Read"
			scope write "Write"
			scope admin "Administer"
			client web {
				secret_hash $HASH
				grant client_credentials
				scope read write
				resource https://api.test
			}
			client svc {
				secret_hash $HASH
				grant client_credentials
				scope read write admin
				resource https://api.test
			}
		}
		issuer https://ec.test {
			scope read "Read"
		}
		issuer https://ed.test {
			signing_algorithm EdDSA
			scope read "Read"
		}
	}
}

(introspection) {
	oauth_protect {
		resource https://api.test
		trusted_issuer https://opaque.test {
			introspection $IDP/introspect {args[0]} {args[1]}
		}
		metadata off
	}
	reverse_proxy $BACKEND
}

(jwks) {
	trusted_issuer https://{args[0]}.test {
		jwks_uri $IDP/{args[0]}
		subject_prefix none
	}
}

(api) {
	log {
		output file $DIR/access.log
	}
	@open {
		path /rules/*
		method GET
	}
	handle @open {
		reverse_proxy $BACKEND
	}
	handle /pair/one {
		import introspection a b|c
	}
	handle /pair/two {
		import introspection a|b c
	}
	handle {
		oauth_protect {
			resource https://api.test
			issuer https://as.test https://ec.test https://ed.test
			import jwks good
			import jwks rotating
			import jwks flooded
			import jwks emptied
			import jwks swollen
			import jwks crowded
			import jwks empty
			import jwks huge
			import jwks many
			public /public/*
			scope * /api/admin/* admin
			any_scope * read write admin
			cors https://app.test
			identity_header X-User sub
			identity_header X-User-Email email
			identity_header X-Auth-Client client_id
			identity_header X-Auth-Scopes scope
			identity_header X-Auth-Act act
		}
		reverse_proxy $BACKEND
	}
}

$AS {
	log {
		output file $DIR/access.log
	}
	oauth_issuer https://as.test
}

$AS_TLS {
	$TLS
	oauth_issuer https://as.test
}

$GW {
	import api
}

$GW_TLS {
	$TLS
	import api
}
`

// startGateSite also has the gate fetch the keys of issuers that it must not fetch
// again for half a minute, so that the wait is over when that is tried.
func startGateSite(t *testing.T) *attackSite {
	s := startAttackSite(t, gateAttackCaddyfile)
	a := s.attempt(t, attack{})
	for _, name := range []string{"rotating", "flooded", "emptied", "swollen", "crowded"} {
		e := a.toGate("GET", "/api/a", bearer(a.signedBy(s.keys.good, "https://"+name+".test", nil, nil)))
		if e.StatusCode != 200 {
			t.Fatalf("a good token of %s: %d %s", name, e.StatusCode, e.body)
		}
	}
	return s
}

// identityOfSite is what the gate tells the backend of the caller of goodClaims.
var identityOfSite = map[string]string{
	"X-User": "alice", "X-User-Email": "", "X-Auth-Client": "web", "X-Auth-Scopes": "read", "X-Auth-Act": "",
}

// shows returns the header by which a token is shown that is good but for what the
// attack does. The backend is then to be told of alice, if of anybody.
func (a *attempt) shows(token string) string {
	a.identity = identityHeaders()
	a.plant(token[strings.LastIndexByte(token, '.')+1:])
	return bearer(token)
}

// goodToken is the token T of the entries.
func (a *attempt) goodToken() string { return a.signed(nil, nil) }

// signed makes a token of as.test with changes in header and claims.
func (a *attempt) signed(header, claims map[string]any) string {
	key := issuerKey(a.T, "https://as.test")
	return key.sign(key.header(header), goodClaims("https://as.test", claims))
}

// revoke takes a token of the client svc back.
func (a *attempt) revoke(token string) {
	a.Helper()
	form := "token=" + token
	e := a.toIssuer("POST", "/revoke", form, basic("svc", appSecret), "Content-Type: application/x-www-form-urlencoded")
	if e.StatusCode != 200 {
		a.Fatalf("revoke: %d %s", e.StatusCode, e.body)
	}
}

// identityHeaders are those of identityOfSite that goodClaims fills.
func identityHeaders() map[string]string {
	told := maps.Clone(identityOfSite)
	maps.DeleteFunc(told, func(_, value string) bool { return value == "" })
	return told
}

func contentLength(body string) string { return "Content-Length: " + strconv.Itoa(len(body)) }
