package issuer

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// checklistProof says what proves a clause of testdata/checklist.json: tests, each
// as its package and its name, with the subtest or the row of its table that is
// meant after a slash; or why the clause does not
// apply. Where it stands for a part of the clause only, it has both.
//
// Many of the bad inputs that a clause names are sent besides, to a running
// server, by caddymodule.TestAttacks.
type checklistProof struct {
	clause      string
	requirement string // how it begins
	tests       []string
	except      string
}

const (
	noDPoP      = "access tokens are bearer tokens (RFC 6750) and last minutes; tokens of others that are bound to a key are refused, not treated as bearer tokens"
	noPAR       = "pushed authorization requests are not offered, and the metadata names no endpoint for them"
	noAssertion = "clients authenticate by secrets of 256 random bits, of which only a hash is kept; assertions are refused as a method"
)

var checklistProofs = []checklistProof{
	{"RFC 9700 2.1", "exact string match", []string{"issuer.TestRedirectURIIsExact", "issuer/clients.FuzzRedirectURI", "issuer.FuzzAuthorizeRequest"}, ""},
	{"RFC 9700 2.1", "AS and client are open", []string{"issuer.TestAuthorizePages", "issuer.TestNoRelay", "issuer.FuzzAuthorizeRequest"}, ""},
	{"RFC 9700 2.1", "CSRF protection", []string{"issuer.TestCodeChallenge", "issuer.TestAuthorizeState"}, ""},
	{"RFC 9700 2.1.1", "support PKCE", []string{"issuer.TestCodeVerifier", "issuer.TestGrantMatrix/the code verifier is missing"}, ""},
	{"RFC 9700 2.1.1", "mitigate PKCE downgrade", []string{"issuer.TestPKCEDowngrade"}, ""},
	{"RFC 9700 2.1.1", "only methods that do not", []string{"issuer.TestCodeChallenge", "issuer.TestMetadataSays"}, ""},
	{"RFC 9700 2.1.1", "PKCE support detectable", []string{"issuer.TestMetadataSays"}, ""},
	{"RFC 9700 2.1.2", "implicit grant", []string{"issuer.TestAuthorizeRefusals/RFC 6749 section 3.1.1: token is not offered"}, ""},
	{"RFC 9700 2.2.1", "sender-constrained", []string{"introspect.TestJWTClaims/cnf"}, noDPoP},
	{"RFC 9700 2.2.2 / 4.14", "refresh tokens of public", []string{"issuer.TestRefreshTokenReuse", "issuer.TestRefreshTokenRotation"}, ""},
	{"RFC 9700 2.3", "audience and privilege", []string{"caddymodule.TestProtectToken", "issuer.TestGrantMatrix/the audience is never empty"}, ""},
	{"RFC 9700 2.4", "password grant", []string{"issuer.TestTokenRequest", "issuer.FuzzTokenRequest"}, ""},
	{"RFC 9700 2.5", "client authentication", []string{"issuer.TestClientAuthentication"}, noAssertion},
	{"RFC 9700 2.6", "authorization response over plain", []string{"issuer.TestRegisteredRedirectURI"}, ""},
	{"RFC 9700 2.6", "CORS at the authorization", []string{"issuer.TestEndpointMatrix/other origins read it"}, ""},
	{"RFC 9700 2.6", "publish metadata", []string{"issuer.TestMetadataPlaces"}, ""},
	{"RFC 9700 4.2", "no third-party content", []string{"issuer/pages.TestContentSecurityPolicy", "issuer/pages.TestHeaders", "issuer.TestCodeReplay"}, ""},
	{"RFC 9700 4.3", "access token in URI query", []string{"caddymodule.TestProtectCredentials", "issuer.TestUserinfo"}, ""},
	{"RFC 9700 4.4 / RFC 9207", "mix-up defence", []string{"issuer.TestAuthorizeIss"}, ""},
	{"RFC 9700 4.8.2", "code bound to challenge", []string{"issuer.TestPKCEDowngrade", "issuer.TestCodeVerifier"}, ""},
	{"RFC 9700 4.9", "RS treats tokens as secrets", []string{"introspect.TestRefusalsHoldNoToken", "caddymodule.TestProtectErrorsAndLogs", "issuer.FuzzTokenRequest"}, ""},
	{"RFC 9700 4.11", "AS redirects on invalid", []string{"issuer.TestAuthorizePages", "issuer.TestNoRelay"}, ""},
	{"RFC 9700 4.12", "307 after credentials", []string{"issuer.TestLogin", "issuer.FuzzAuthorizeRequest"}, ""},
	{"RFC 9700 4.13", "reverse proxy sanitises", []string{"caddymodule.TestIdentityHeadersOfStrangers", "caddymodule.TestConnectionFields"}, ""},
	{"RFC 9700 4.15", "clients choose client_id", []string{"issuer.TestSubjectIsNotReused", "issuer.TestTokenExchangeNames", "issuer.TestSubjectIsNoClient"}, ""},
	{"RFC 9700 4.16", "prevent clickjacking", []string{"issuer.TestEndpointMatrix/framed", "issuer/browsertest.TestFraming"}, ""},

	{"RFC 6749 2.3", "more than one client auth", []string{"issuer.TestGrantMatrix/two authentication methods", "issuer.TestClientAuthentication"}, ""},
	{"RFC 6749 2.3.1", "support HTTP Basic", []string{"issuer.TestClientAuthentication", "issuer.TestGrantMatrix/client credentials in the query"},
		"client secrets have 256 random bits: guessing is not slowed down, since it cannot succeed; passwords of people are (issuer.TestLoginThrottle)"},
	{"RFC 6749 3.1", "authorize: GET supported", []string{"issuer.TestAuthorizeAccepts", "issuer.TestAuthorizeRefusals", "issuer.TestAuthorizeMethods"}, ""},
	{"RFC 6749 3.1.2", "redirect URI with fragment", []string{"issuer.TestRegisteredRedirectURI", "issuer.TestRedirectURIIsExact"}, ""},
	{"RFC 6749 3.2", "token endpoint POST only", []string{"issuer.TestSurface/POST only", "issuer.TestGrantMatrix/parameter twice", "issuer.TestEndpointMatrix/methods"}, ""},
	{"RFC 6749 3.3", "scope in response", []string{"issuer.TestScope", "issuer.TestAuthorizeScopeAndResource"}, ""},
	{"RFC 6749 4.1.2", "code short-lived", []string{"issuer.TestCodeExpiry", "issuer.TestCodeReplay", "issuer.TestCodeIsBound", "issuer.TestGrantMatrix/presented twice"}, ""},
	{"RFC 6749 4.1.2.1", "redirect to an invalid URI", []string{"issuer.TestAuthorizePages", "issuer.TestAuthorizeRefusals"}, ""},
	{"RFC 6749 4.1.3", "check client, code", []string{"issuer.TestCodeIsBound", "issuer.TestGrantMatrix/the redirect URI differs"}, ""},
	{"RFC 6749 4.4", "client_credentials only", []string{"issuer.TestGrantMatrix/public client", "issuer.TestTokenResponse"}, ""},
	{"RFC 6749 5.1", "Cache-Control", []string{"issuer.TestGrantMatrix/Cache-Control: no-store", "issuer.TestEndpointMatrix/stored"}, ""},
	{"RFC 6749 5.2", "401 + WWW-Authenticate", []string{"issuer.TestClientAuthentication", "issuer.FuzzTokenRequest"}, ""},
	{"RFC 6749 6", "refresh bound to client", []string{"issuer.TestRefreshTokenIsBound", "issuer.TestRefreshTokenScopeAndResource", "issuer.TestGrantMatrix/no client authentication"}, ""},
	{"RFC 6749 10.10", "guess probability", []string{"issuer/record.TestHandleEntropy", "issuer.TestGrantMatrix/what is presented is made up"}, ""},
	{"RFC 6749 10.12/10.13", "CSRF and clickjacking", []string{"issuer.TestCSRF", "issuer.TestEndpointMatrix/posted by another site", "issuer.TestEndpointMatrix/framed"}, ""},

	{"RFC 6750 2", "more than one transmission", []string{"caddymodule.TestProtectCredentials", "introspect.TestFromHeader", "issuer.TestUserinfo"}, ""},
	{"RFC 6750 2.3", "query tokens", []string{"caddymodule.TestProtectCredentials"}, ""},
	{"RFC 6750 3", "WWW-Authenticate", []string{"introspect.TestChallenge", "caddymodule.TestProtectCredentials"}, ""},
	{"RFC 6750 3.1", "invalid_request 400", []string{"caddymodule.TestProtectMethods", "caddymodule.TestProtectToken", "issuer.TestUserinfo"}, ""},

	{"RFC 7636 4.1", "verifier 43-128", []string{"issuer.TestCodeVerifier", "issuer/clients.TestShortCodeVerifier"}, ""},
	{"RFC 7636 4.3", "omitted method", []string{"issuer.TestCodeChallenge"}, ""},
	{"RFC 7636 4.6", "invalid_grant when not", []string{"issuer.TestCodeVerifier"}, ""},

	{"RFC 8252 7.3", "any loopback port", []string{"issuer.TestLoopbackPortIsFree"}, ""},
	{"RFC 8252 8.4", "private-use scheme", []string{"issuer.TestRegisteredRedirectURI", "issuer.TestRedirectURIIsExact"}, ""},
	{"RFC 8252 8.6", "skip consent for native", []string{"issuer.TestConsentOfNativeClients"}, ""},

	{"RFC 8414 2", "issuer https", []string{"issuer.TestValidateIssuerURL", "issuer.TestMetadataIsTrue"}, ""},
	{"RFC 8414 3.1", "well-known path", []string{"issuer.TestMetadataPlaces"}, ""},
	{"RFC 8414 3.3", "issuer identical", []string{"issuer.TestMetadataPlaces", "issuer.TestAuthorizeIgnoresForwarding"}, ""},

	{"RFC 8628 3.1", "client authentication rules", []string{"issuer.TestDeviceRefusals/confidential clients authenticate (§3.1)", "issuer.TestSurface/client authentication"}, ""},
	{"RFC 8628 3.2", "device_code, user_code", []string{"issuer.TestDevice"}, ""},
	{"RFC 8628 3.3.1", "with verification_uri_complete", []string{"issuer.TestDevicePage"}, ""},
	{"RFC 8628 3.5", "slow_down", []string{"issuer.TestDevicePace", "issuer.TestDeviceRefusals/denied stays denied"}, ""},
	{"RFC 8628 5.1", "rate limit user_code", []string{"issuer.TestUserCodeGuesses", "issuer.TestUserCodeGuessesAtOnce"}, ""},
	{"RFC 8628 5.2", "device_code not guessable", []string{"issuer.TestDeviceCodeIsSealed", "issuer.TestGrantMatrix/what is presented has one letter changed"}, ""},
	{"RFC 8628 5.4", "warn about remote phishing", []string{"issuer.TestDevice", "issuer.TestDeviceWarning"}, ""},

	{"RFC 8693 2.1", "subject_token(+type)", []string{"issuer.TestTokenExchangeActorToken", "issuer.TestTokenExchangeSubjectToken"}, ""},
	{"RFC 8693 2.1", "AS validates tokens", []string{"issuer.TestForeignSubjectRefusals", "issuer.TestTokenExchangeSubjectToken"}, ""},
	{"RFC 8693 2.2.1", "access_token, issued", []string{"issuer.TestTokenExchange"}, ""},
	{"RFC 8693 2.2.2", "invalid or unacceptable", []string{"issuer.TestTokenExchangeSubjectToken", "issuer.TestTokenExchangePolicy"}, ""},
	{"RFC 8693 4.1", "act claim", []string{"issuer.TestTokenExchangeChain"}, ""},
	{"RFC 8693 4.4", "may_act", []string{"issuer.TestTokenExchangeMayAct"}, ""},

	{"RFC 8707 2", "absolute URI", []string{"issuer.TestResource", "issuer.TestGrantMatrix/unknown resource", "issuer.TestAuthorizeRefusals"}, ""},
	{"RFC 8707 2.2", "refresh may only", []string{"issuer.TestRefreshTokenScopeAndResource", "issuer.TestGrantMatrix/resource that was not granted"}, ""},

	{"RFC 9068 2.1", "signed, not none", []string{"issuer.TestTokenResponse", "issuer/keys.TestAlgorithmValidate"}, ""},
	{"RFC 9068 2.2", "iss exp aud", []string{"issuer.TestTokenResponse", "introspect.TestJWTClaims", "caddymodule.TestProtectToken"}, ""},
	{"RFC 9068 4", "RS: typ check", []string{"introspect.TestJWTType", "introspect.TestJWTClaims", "introspect.TestJWTSignature", "caddymodule.TestProtectToken"}, ""},
	{"RFC 9068 5", "client_credentials sub", []string{"issuer.TestSubjectIsNoClient"}, ""},

	{"RFC 9126 2.1", "POST, client auth", []string{"issuer.TestMetadataSays"}, noPAR},
	{"RFC 9126 2.2/4", "request_uri bound", []string{"issuer.TestAuthorizeRefusals"}, noPAR},
	{"RFC 9126 3/4", "only pushed", []string{"issuer.TestAuthorizeRefusals"}, noPAR},

	{"RFC 9207 2", "iss in authorization", []string{"issuer.TestAuthorizeIss", "issuer.TestMetadataSays"}, ""},

	{"RFC 9449 4.3", "12 proof checks", []string{"introspect.TestJWTClaims/cnf", "introspect.TestJWTHeader/a DPoP proof"}, noDPoP},
	{"RFC 9449 7.1/7.2", "bound token refused", []string{"introspect.TestJWTClaims/cnf", "introspect.TestRemoteAnswers"}, ""},

	{"RFC 9728 3.3", "resource value", []string{"caddymodule.TestAttacks/IM-004"}, ""},
	{"RFC 9728 5.1", "resource_metadata", []string{"caddymodule.TestProtectCredentials", "introspect.TestChallenge"}, ""},

	{"OIDC Core 3.1.2.1", "redirect_uri required", []string{"issuer.TestAuthorizePages", "issuer.TestAuthorizePrompt", "issuer.TestAuthorizeSignInAnew"}, ""},
	{"OIDC Core 3.1.2.6", "login_required", []string{"issuer.TestAuthorizePrompt"}, ""},
	{"OIDC Core 2 / 3.1.3.7", "iss sub aud", []string{"issuer.TestIDToken", "issuer.TestOpenIDClient"}, ""},
	{"OIDC Core 5.3", "userinfo GET+POST", []string{"issuer.TestUserinfo"}, ""},
	{"OIDC Core 5.5", "claims parameter", []string{"issuer.TestAuthorizeAccepts"}, ""},
	{"OIDC Core 6", "request/request_uri", []string{"issuer.TestAuthorizeRefusals"}, ""},
	{"OIDC Core 10.1.1", "key rotation", []string{"issuer.TestIntrospectionAcrossRotations", "issuer/keys.TestRetirementFollowsTheLongestLifetime"}, ""},
	{"OIDC Core 11", "offline_access", []string{"issuer.TestRefreshTokenGiven"},
		"a person who has agreed to offline_access for a client is not asked again at each sign-in; prompt=consent is honoured and not demanded"},
	{"OIDC Core 12.2", "refreshed ID token", []string{"issuer.TestRefreshedIDToken"}, ""},
	{"OIDC RP-Init Logout 2/3/6", "confirm without hint", []string{"issuer.TestEndSession", "issuer.TestEndSessionConfirmation"}, ""},

	{"OAuth 2.1 draft 1.x", "all endpoints https", []string{"issuer.TestValidateIssuerURL", "caddymodule.TestCaddyfileMistakes"}, ""},
	{"OAuth 2.1 draft 4.1.1", "reject requests without", []string{"issuer.TestCodeChallenge"}, ""},
	{"OAuth 2.1 draft 4.1.3", "access token only once", []string{"issuer.TestCodeRace"}, ""},
	{"OAuth 2.1 draft 4.3", "rotation or sender", []string{"issuer.TestRefreshTokenRotation", "issuer.TestRefreshTokenScopeAndResource"}, ""},
	{"OAuth 2.1 draft 5.1", "RS ignores query", []string{"caddymodule.TestProtectCredentials"}, ""},
	{"OAuth 2.1 draft 7", "<=2^-128 guess", []string{"issuer/record.TestHandleEntropy", "issuer.TestLogin", "issuer.TestEndpointMatrix/framed", "issuer.TestConsentOfNativeClients"}, ""},

	{"FAPI 2.0 SP 5.3.2.1", "confidential clients", []string{"issuer.TestCodeExpiry", "issuer.TestAuthorizeIss", "introspect.TestJWTTimes", "issuer.TestNoRelay"},
		"the profile as a whole is not claimed: it demands PAR, assertions or mTLS, and sender-constrained tokens; " + noPAR},
	{"FAPI 2.0 SP 5.4", "PS256/ES256", []string{"issuer/keys.TestAlgorithmValidate", "introspect.TestParseKeySetRefuses", "introspect.TestJWTAlgorithms"},
		"RS256 can be configured for clients that know nothing else; the default is ES256"},

	{"RFC 7662 2.1/2.2", "introspection authenticated", []string{"issuer.TestIntrospection"}, ""},
	{"RFC 7009 2.1/2.2", "revocation authenticated", []string{"issuer.TestRevocation", "issuer.TestRevokeRefreshToken"}, ""},
	{"RFC 7591 2/3.2", "invalid_redirect_uri", []string{"issuer.TestRegistrationRefusesMetadata"}, ""},
	{"RFC 7592 2", "registration access token", []string{"issuer.TestRegistrationAccessTokenRefused"}, ""},
	{"RFC 7515 4.1.11", "reject unknown crit", []string{"introspect.TestJWTHeader"}, ""},
	{"RFC 8725 3.x", "alg pinned per key", []string{"introspect.TestJWTHMACWithPublicKey", "introspect.TestJWTKeyInHeader", "introspect.TestJWTType", "introspect.TestJWTAlgorithms"}, ""},
	{"RFC 9112 6.1-6.3", "message framing", []string{"caddymodule.TestAmbiguousFraming", "caddymodule.TestPipelining"}, ""},
}

// TestChecklist: every clause has a proof, every proof is of a clause, and what it
// names is there.
func TestChecklist(t *testing.T) {
	text, err := os.ReadFile("testdata/checklist.json")
	must(t, err)
	var clauses []struct {
		Clause      string `json:"clause"`
		Requirement string `json:"requirement"`
	}
	must(t, json.Unmarshal(text, &clauses))
	attacks, err := os.ReadFile("../caddymodule/testdata/attacks.json")
	must(t, err)
	proven := make(map[int]bool)
	for _, clause := range clauses {
		proofs := 0
		for n, proof := range checklistProofs {
			if proof.clause == clause.Clause && strings.HasPrefix(clause.Requirement, proof.requirement) {
				proven[n] = true
				proofs++
			}
		}
		if proofs != 1 {
			t.Errorf("%s, %s: %d proofs, want one", clause.Clause, clause.Requirement, proofs)
		}
	}
	tree := readTests(t, "..")
	for n, proof := range checklistProofs {
		if !proven[n] {
			t.Errorf("%s, %s: there is no such clause", proof.clause, proof.requirement)
		}
		if len(proof.tests) == 0 && proof.except == "" {
			t.Errorf("%s, %s: neither a test nor a reason", proof.clause, proof.requirement)
		}
		for _, name := range proof.tests {
			dot := strings.Index(name, ".")
			test, row, _ := strings.Cut(name[dot+1:], "/")
			sent := name[:dot]+"."+test == "caddymodule.TestAttacks" && strings.Contains(string(attacks), strconv.Quote(row))
			if !tree[name[:dot]+"."+test] || row != "" && !tree[name[:dot]+" "+row] && !sent {
				t.Errorf("%s, %s: there is no test %s", proof.clause, proof.requirement, name)
			}
		}
	}
}

// readTests returns the tests and fuzz targets of the tree, as package and name
// ("issuer/keys.TestX"), and every text that stands in a package's tests, as
// package and text with a space between: subtests are named by them.
func readTests(t *testing.T, root string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	files := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && name != ".") {
			if err == nil {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && (strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz")) {
					found[path.Dir(name)+"."+n.Name.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					found[path.Dir(name)+" "+text] = true
				}
			}
			return true
		})
		return nil
	})
	must(t, err)
	return found
}
