package caddymodule

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// jwtAttack finds the code of an entry about tokens. Most entries are a pattern of
// which the title holds the variable part.
func jwtAttack(a attack) attackCode {
	if code := tokenAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range tokenPatterns {
		if found := pattern.title.FindStringSubmatch(a.Title); found != nil {
			return pattern.code(found[1])
		}
	}
	return nil
}

// tokenPatterns are classes of entries, by their title.
var tokenPatterns = []struct {
	title *regexp.Regexp
	code  func(value string) attackCode
}{
	{regexp.MustCompile(`^alg='(.*)', empty signature$`), unsignedToken},
	{regexp.MustCompile(`^RS256/ES256 -> HS256 confusion, HMAC key = (.*)$`), confusedToken},
	{regexp.MustCompile(`^HS256 with weak key \(?(.*?)\)?$`), weakToken},
	{regexp.MustCompile(`^ES256 signature (.*)$`), ecdsaToken},
	{regexp.MustCompile(`^kid = (.*)$`), kidToken},
	{regexp.MustCompile(`^crit = (.*)$`), critToken},
	{regexp.MustCompile(`^typ (.*?):`), typToken},
	{regexp.MustCompile(`^((?:exp|nbf|iat|aud|iss|sub) = .*)$`), claimToken},
	{regexp.MustCompile(`^(client_id|jti) missing$`), func(name string) attackCode { return claimToken(name + " = missing") }},
	{regexp.MustCompile(`^scope = (.*) on a route that needs admin$`), scopeToken},
	{regexp.MustCompile(`^segments: (.*)$`), segmentedToken},
	{regexp.MustCompile(`^encoding: (.*)$`), encodedToken},
	{regexp.MustCompile(`^bearer of (\d+) KiB of "A"$`), longToken},
}

// present shows tokens, each in a request of its own, and has each answer judged.
func present(path string, tokens func(a *attempt) []string) attackCode {
	return func(a *attempt) {
		for _, token := range tokens(a) {
			a.judge(a.toGate("GET", path, a.shows(token)))
		}
	}
}

func presentOne(token func(a *attempt) string) attackCode {
	return present("/api/a", func(a *attempt) []string { return []string{token(a)} })
}

// rsaIssuer, ecIssuer and edIssuer are the issuers of the fixture.
const (
	rsaIssuer = "https://as.test"
	ecIssuer  = "https://ec.test"
	edIssuer  = "https://ed.test"
)

// members make changes to a header or to claims out of JSON.
func members(text string) map[string]any {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		panic(err)
	}
	changes := make(map[string]any)
	for name, value := range raw {
		changes[name] = value
	}
	return changes
}

// tokenAttacks are the entries that are no pattern.
var tokenAttacks = map[string]attackCode{
	"GJ-006": presentOne(func(a *attempt) string {
		parts := strings.Split(a.goodToken(), ".")
		return b64u(issuerKey(a.T, rsaIssuer).header(map[string]any{"alg": "none"})) + "." + parts[1] + "." + parts[2]
	}),
	"GJ-007": present("/api/a", func(a *attempt) []string {
		key := issuerKey(a.T, rsaIssuer)
		twice := strings.Replace(key.header(nil), `"alg":"RS256"`, `"alg":"RS256","alg":"none"`, 1)
		return []string{a.signed(map[string]any{"alg": "none"}, nil), key.sign(twice, goodClaims(rsaIssuer, nil))}
	}),
	"GJ-008": presentOne(func(a *attempt) string { return a.signed(map[string]any{"alg": nil}, nil) }),
	"GJ-010": presentOne(func(a *attempt) string { return a.signed(map[string]any{"alg": nil, "ALG": "RS256"}, nil) }),
	"GJ-018": presentOne(func(a *attempt) string { return symmetric(a, []byte(appSecret)) }),
	"GJ-024": presentOne(func(a *attempt) string {
		return a.signedBy(attackKey{kidOctet, "HS256", []byte(octetSecret)}, goodIssuer, nil, nil)
	}),
	"GJ-028": present("/api/a", func(a *attempt) []string {
		return []string{a.signedBy(a.keys.encrypt, goodIssuer, nil, nil), a.signedBy(a.keys.wrap, goodIssuer, nil, nil)}
	}),
	"GJ-038": presentOne(func(a *attempt) string {
		header := attackKey{kidSmall, "EdDSA", nil}.header(nil)
		return b64u(header) + "." + b64u(goodClaims(goodIssuer, nil)) + "." + b64u(smallOrderSignature())
	}),
	"GJ-042": presentOne(func(a *attempt) string {
		stranger := a.keys.stranger
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
			OCSPServer: []string{"http://evil.test/ocsp"}, IssuingCertificateURL: []string{"http://evil.test/ca"}}
		certificate, err := x509.CreateCertificate(rand.Reader, template, template, &stranger.PublicKey, stranger)
		if err != nil {
			a.Fatal(err)
		}
		key := attackKey{issuerKey(a.T, rsaIssuer).kid, "RS256", stranger}
		return key.sign(key.header(map[string]any{"x5c": [][]byte{certificate}, "x5u": "https://evil.test/c", "jku": "https://evil.test/k"}), goodClaims(rsaIssuer, nil))
	}),
	"GJ-059": present("/api/a", func(a *attempt) (tokens []string) {
		for _, kid := range []string{"1", `["K1"]`, "null"} {
			tokens = append(tokens, a.signed(map[string]any{"kid": json.RawMessage(kid)}, nil))
		}
		return tokens
	}),
	"GJ-060": presentOne(func(a *attempt) string { return a.signed(map[string]any{"kid": nil}, nil) }),
	"GJ-061": presentOne(func(a *attempt) string {
		key := issuerKey(a.T, ecIssuer)
		return key.sign(key.header(nil), goodClaims(rsaIssuer, nil))
	}),
	"GJ-062": func(a *attempt) {
		for n := range 100 {
			e := a.toGate("GET", "/api/a", a.shows(a.signedBy(a.keys.twins[n%twinsOfOneID], goodIssuer, nil, nil)))
			a.judge(e)
			if e.StatusCode != a.exchanges[0].StatusCode {
				a.Fatalf("try %d is answered %d, the first %d", n, e.StatusCode, a.exchanges[0].StatusCode)
			}
		}
	},
	"GJ-071": presentOne(func(a *attempt) string {
		key := issuerKey(a.T, rsaIssuer)
		return key.sign(key.header(map[string]any{"cty": "JWT"}), a.goodToken())
	}),
	"GJ-072": presentOne(func(a *attempt) string { return encrypted(a, goodClaims(rsaIssuer, nil), jose.NONE) }),
	"GJ-073": func(a *attempt) { a.costs(encrypted(a, strings.Repeat("\x00", 50<<20), jose.DEFLATE)) },
	"GJ-074": func(a *attempt) {
		a.costs(b64u(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}`) + ".AAAA.AAAA.AAAA.AAAA")
	},
	"GJ-114": present("/api/a", func(a *attempt) []string {
		now := time.Now().Unix()
		return []string{a.signed(nil, map[string]any{"exp": now - 59}), a.signed(nil, map[string]any{"exp": now - 61})}
	}),
	"GJ-164": present("/api/a", func(a *attempt) (tokens []string) {
		key := issuerKey(a.T, rsaIssuer)
		for name, value := range map[string]string{"sub": `"admin"`, "aud": `"https://api.test"`, "exp": "9999999999", "scope": `"admin"`, "iss": `"https://as.test"`} {
			for _, claims := range []string{
				strings.Replace(goodClaims(rsaIssuer, nil), "{", `{"`+name+`":`+value+",", 1),
				strings.TrimSuffix(goodClaims(rsaIssuer, nil), "}") + `,"` + name + `":` + value + "}",
				strings.TrimSuffix(goodClaims(rsaIssuer, nil), "}") + `,"\u00` + fmt.Sprintf("%x", name[0]) + name[1:] + `":` + value + "}",
			} {
				tokens = append(tokens, key.sign(key.header(nil), claims))
			}
		}
		return tokens
	}),
	"GJ-165": presentOne(func(a *attempt) string {
		key := issuerKey(a.T, rsaIssuer)
		return key.sign(strings.Replace(key.header(nil), "{", `{"kid":"K2",`, 1), goodClaims(rsaIssuer, nil))
	}),
	"GJ-166": present("/api/a", func(a *attempt) []string {
		return []string{
			a.signed(nil, map[string]any{"SUB": "admin", "Sub": "admin", "Aud": "https://evil.test", "EXP": 1, "Scope": "admin"}),
			a.signed(nil, map[string]any{"sub": nil, "SUB": "admin", "Sub": "admin"}),
			a.signed(nil, map[string]any{"exp": nil, "EXP": 9999999999}),
			a.signed(nil, map[string]any{"aud": nil, "Aud": "https://api.test"}),
		}
	}),
	"GJ-167": present("/api/a", func(a *attempt) (tokens []string) {
		key := issuerKey(a.T, rsaIssuer)
		for _, tail := range []string{`{"sub":"admin"}`, "x", "]", `,"sub":"admin"}`} {
			tokens = append(tokens, key.sign(key.header(nil), goodClaims(rsaIssuer, nil)+tail))
		}
		return tokens
	}),
	"GJ-169": present("/api/a", func(a *attempt) (tokens []string) {
		key := issuerKey(a.T, rsaIssuer)
		claims := goodClaims(rsaIssuer, nil)
		var wide strings.Builder
		for _, c := range []byte(claims) {
			wide.Write([]byte{c, 0})
		}
		for _, payload := range []string{"\ufeff" + claims, wide.String(), "\xff\xfe" + wide.String()} {
			tokens = append(tokens, key.sign(key.header(nil), payload))
		}
		return tokens
	}),
	"GJ-170": present("/api/a", func(a *attempt) (tokens []string) {
		for _, cnf := range []string{`{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}`, `{}`, `null`} {
			tokens = append(tokens, withClaim(a, "cnf", cnf))
		}
		return tokens
	}),
	"GJ-171": present("/api/a", func(a *attempt) []string {
		deep := strings.Repeat(`{"sub":"x","act":`, 200) + `{"sub":"x"}` + strings.Repeat("}", 200)
		return []string{withClaim(a, "act", `"x"`), withClaim(a, "act", deep), withClaim(a, "act", `[]`), withClaim(a, "act", `{}`)}
	}),
	"GJ-176": func(a *attempt) { a.costs(strings.Repeat(".", 900_000)) },
	"GJ-177": func(a *attempt) {
		var header strings.Builder
		header.WriteString(`{"alg":"RS256"`)
		for n := range 100_000 {
			fmt.Fprintf(&header, `,"%d":0`, n)
		}
		a.costs(b64u(header.String()+"}") + "." + b64u("{}") + ".AAAA")
	},
	"GJ-180": present("/api/a", func(a *attempt) []string {
		return []string{withClaim(a, "x", "1e999999999"), withClaim(a, "x", strings.Repeat("9", 1_000_000)), withClaim(a, "x", strings.Repeat("9", 5_000))}
	}),
}
