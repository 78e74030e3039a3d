package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// clientAuthAttack finds the code of an entry about how clients authenticate
// (RFC 6749 §2.3).
func clientAuthAttack(a attack) attackCode {
	if code := clientAuthAttacks[a.ID]; code != nil {
		return code
	}
	if described, ok := strings.CutPrefix(a.Title, "Basic: "); ok {
		if values := strangeBasic[described]; values != nil {
			return func(a *attempt) { a.judgeBasic(values...) }
		}
	}
	if described, ok := strings.CutPrefix(a.Title, "private_key_jwt: "); ok {
		if assertion, known := assertions[described]; known {
			return assertion.attack
		}
	}
	return nil
}

// everywhere sends credentials to each endpoint that clients call, and hands the
// answers over: what one checks, its sibling must check too.
func (a *attempt) everywhere(parameters []string, lines ...string) {
	a.Helper()
	token := a.ownToken("svc")
	for path, form := range map[string]url.Values{
		"/token":                {"grant_type": {"client_credentials"}},
		"/introspect":           {"token": {token}},
		"/revoke":               {"token": {token}},
		"/device-authorization": {},
	} {
		e := a.post(path, changedForm(form, parameters...), lines...)
		a.judge(e)
		if challenge := e.Header.Get("WWW-Authenticate"); e.StatusCode == 401 && !strings.HasPrefix(challenge, "Basic ") {
			a.Errorf("%s: 401 with the challenge %q (RFC 6749 section 5.2)", path, challenge)
		}
	}
	if !a.active(token) {
		a.Error("the token of another client was revoked without its credentials")
	}
}

// judgeBasic shows values of the Basic scheme everywhere.
func (a *attempt) judgeBasic(values ...string) {
	a.Helper()
	for _, value := range values {
		a.everywhere(nil, "Authorization: Basic "+value)
	}
}

func basicValue(id, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(id + ":" + secret))
}

// strangeBasic are values of the Basic scheme that name nobody, by what an entry
// calls them.
var strangeBasic = map[string][]string{
	"no colon": {
		base64.StdEncoding.EncodeToString([]byte("svc")), base64.StdEncoding.EncodeToString([]byte("svc" + appSecret)),
		base64.StdEncoding.EncodeToString([]byte("svc%3A" + appSecret)), "",
	},
	`only ":"`:           {basicValue("", ""), basicValue("", appSecret), basicValue("", ":")},
	"client_id with %00": {basicValue("svc%00", appSecret), basicValue("%00svc", appSecret), basicValue("svc", appSecret+"%00")},
	"client_id with NUL byte": {
		basicValue("svc\x00", appSecret), basicValue("svc\x00web", appSecret), basicValue("svc", appSecret+"\x00"),
	},
	"UTF-8 client_id in NFC vs NFD": {
		basicValue("caf\u00e9", appSecret), basicValue("cafe\u0301", appSecret), basicValue("\uff53vc", appSecret), basicValue("SVC", appSecret),
	},
	"Latin-1 byte 0xe9": {basicValue("caf\xe9", appSecret), basicValue("svc", appSecret+"\xe9"), basicValue("svc%E9", appSecret)},
	"64 KiB":            {basicValue(strings.Repeat("s", 64<<10), appSecret), basicValue("svc", strings.Repeat("s", 64<<10))},
}

var clientAuthAttacks = map[string]attackCode{
	"IL-001": func(a *attempt) {
		a.everywhere([]string{"client_secret=" + appSecret}, basic("svc", appSecret))
		a.everywhere([]string{"client_id=svc", "client_secret=" + appSecret}, basic("svc", appSecret))
	},
	"IL-003": func(a *attempt) {
		assertion := a.assertion(nil, nil)
		a.everywhere([]string{"client_assertion_type=" + assertionType, "client_assertion=" + assertion}, basic("svc", appSecret))
		a.everywhere([]string{"client_assertion=" + assertion}, basic("svc", appSecret))
		a.everywhere([]string{"client_assertion_type=" + assertionType}, basic("svc", appSecret))
	},
	"IL-004": func(a *attempt) {
		a.everywhere(nil, basic("svc", "wrong"), basic("svc", appSecret))
		a.everywhere(nil, basic("svc", appSecret), basic("svc", "wrong"))
		a.everywhere(nil, basic("svc", appSecret), basic("svc", appSecret))
	},
	"IL-005": func(a *attempt) { a.everywhere(nil, basic("svc", "wrong")) },
	"IL-006": unknownClient,
	"IL-010": otherBase64(func(encoded string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(encoded) }),
	"IL-011": otherBase64(func(encoded string) string { return strings.TrimRight(encoded, "=") }),
	"IL-013": otherBase64(func(encoded string) string {
		letters := strings.TrimRight(encoded, "=")
		return otherLastLetter(letters, standardLetters) + encoded[len(letters):]
	}),
	"IL-025": func(a *attempt) {
		id, secret := a.register(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "read"})
		query := "?" + url.Values{"client_id": {id}, "client_secret": {secret}}.Encode()
		a.judge(
			a.post("/token"+query, url.Values{"grant_type": {"client_credentials"}}),
			a.post("/introspect"+query, url.Values{"token": {"x"}}),
			a.post("/revoke"+query, url.Values{"token": {"x"}}),
		)
	},
	"IL-026": func(a *attempt) {
		code := a.visitor("alice").code("spa")
		a.judge(
			a.redeem("", code, "client_id=spa", "client_secret=x"),
			a.post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {attackVerifier}}, basic("spa", "x")),
		)
	},
	"IL-027": func(a *attempt) {
		v := a.visitor("alice")
		code := v.code("web")
		a.judge(a.redeem("", code, "client_id=web"))
		a.everywhere([]string{"client_id=svc"})
		if e := a.redeem("web", code); e.StatusCode != 200 {
			a.Errorf("the code is spoilt for the client itself: %d", e.StatusCode)
		}
	},
	"IL-029": emptySecret,
	"IL-031": func(a *attempt) {
		for _, secret := range []string{appSecret[:len(appSecret)-1], appSecret[1:], appSecret + "\n", appSecret + " ", " " + appSecret, appSecret + "\x00", strings.ToUpper(appSecret)} {
			a.everywhere(nil, basic("svc", secret))
			a.everywhere([]string{"client_id=svc", "client_secret=" + secret})
		}
	},
	"IL-032": func(a *attempt) {
		a.everywhere(nil, bearer(a.ownToken("svc")))
		a.everywhere(nil, "Authorization: "+a.ownToken("svc"))
	},
	"IL-033": func(a *attempt) {
		id, secret := a.register(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "read", "disabled": true})
		a.everywhere(nil, basic(id, secret))
		a.everywhere([]string{"client_id=" + id, "client_secret=" + secret})
		a.everywhere(nil, basic("disabled", appSecret))
	},
	"IL-034": func(a *attempt) {
		id, old := a.register(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "read"})
		rotated := a.adminCall("POST", "/oauth/clients/"+id+"/rotate-secret", map[string]any{"overlap_seconds": 0})
		rotated.want(a.T, 200)
		a.everywhere(nil, basic(id, old))
		a.must(a.post("/token", url.Values{"grant_type": {"client_credentials"}}, basic(id, rotated.member(a.T, "client_secret"))))
	},
	"IL-048": func(a *attempt) {
		for range 2 {
			a.everywhere([]string{"client_assertion_type=" + assertionType, "client_assertion=" + a.assertion(nil, map[string]any{"jti": "once"})})
		}
	},
	"IL-049": func(a *attempt) {
		a.everywhere([]string{"client_assertion=" + a.assertion(nil, nil)})
		a.everywhere([]string{"client_assertion=" + a.assertion(nil, nil), "client_assertion_type=jwt-bearer"})
		a.everywhere([]string{"client_id=svc", "client_assertion_type=" + assertionType})
	},
	"IL-054": func(a *attempt) {
		a.everywhere([]string{"client_assertion_type=" + assertionType, "client_assertion=" + a.assertion(nil, nil), "client_assertion=" + a.assertion(nil, nil)})
	},
}

// unknownClient: whether a client exists is told by nothing in the answer, and not
// by the time it takes.
func unknownClient(a *attempt) {
	ask := func(id string) exchange {
		return a.post("/token", url.Values{"grant_type": {"client_credentials"}}, basic(id, "wrong"))
	}
	unknown, wrong := ask("nobody"), ask("svc")
	a.judge(unknown, wrong)
	if unknown.body != wrong.body || unknown.StatusCode != wrong.StatusCode || unknown.Header.Get("WWW-Authenticate") != wrong.Header.Get("WWW-Authenticate") {
		a.Errorf("the answers differ: %s and %s", unknown.body, wrong.body)
	}
	times := map[string][]time.Duration{}
	stored, _ := a.register(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "read"})
	for range 200 {
		for _, id := range []string{"nobody", "svc", stored} {
			times[id] = append(times[id], ask(id).took)
		}
	}
	median := func(id string) time.Duration { slices.Sort(times[id]); return times[id][len(times[id])/2] }
	slowest, fastest := max(median("nobody"), median("svc"), median(stored)), min(median("nobody"), median("svc"), median(stored))
	if slowest > 2*fastest {
		a.Errorf("unknown, declared, stored: %v, %v, %v", median("nobody"), median("svc"), median(stored))
	}
}

// emptySecret: nothing is not a secret, of a client that has one and of one that
// has none. A declared client without a secret does not get so far: the
// configuration is refused. What is kept of a secret is not the secret either.
func emptySecret(a *attempt) {
	a.everywhere([]string{"client_id=svc", "client_secret="})
	a.everywhere(nil, basic("svc", ""))
	if err := a.load(strings.Replace(a.text, "client rs1 {", "client bare {\n}\nclient rs1 {", 1)); err == nil {
		a.Error("a confidential client without a secret could be declared")
		a.reconfigure(a.text)
	}
	hash, err := clients.HashSecret(appSecret).MarshalText()
	if err != nil {
		a.Fatal(err)
	}
	a.everywhere([]string{"client_id=svc", "client_secret=" + string(hash)})
}

// standardLetters and urlLetters are the alphabets of RFC 4648 §4 and §5.
const (
	standardLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	urlLetters      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// otherLastLetter sets bits of the last letter that no byte needs.
func otherLastLetter(encoded, letters string) string {
	last := strings.IndexByte(letters, encoded[len(encoded)-1])
	return encoded[:len(encoded)-1] + string(letters[last|1])
}

// otherBase64: credentials that are right, in another spelling. One pair has one.
func otherBase64(respell func(string) string) attackCode {
	return func(a *attempt) {
		for padding := range 3 {
			id, secret := a.register(map[string]any{
				"client_id": "~~~" + strings.Repeat("~", padding) + "-" + a.ID, "grant_types": []string{"client_credentials"}, "scope": "read",
			})
			right := basicValue(id, url.QueryEscape(secret))
			other := respell(right)
			if other == right {
				continue
			}
			a.must(a.post("/token", url.Values{"grant_type": {"client_credentials"}}, "Authorization: Basic "+right))
			a.judgeBasic(other)
		}
	}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertion is a client assertion of svc (RFC 7523 §3), with changes in header and
// claims.
func (a *attempt) assertion(header, claims map[string]any) string {
	return a.keys.good.sign(a.keys.good.header(merge(map[string]any{"typ": "JWT"}, header)), changed(map[string]any{
		"iss": "svc", "sub": "svc", "aud": "https://as.test", "jti": "assertion-0123456789",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}, claims))
}

// strangeAssertion is what is wrong with an assertion.
type strangeAssertion struct {
	header, claims map[string]any
	lifetime       map[string]time.Duration // of time claims, from now
	key            func(*attempt) attackKey // if not that of the client
}

// attack sends the assertion in place of the client's secret.
func (s strangeAssertion) attack(a *attempt) {
	claims := merge(nil, s.claims)
	for name, after := range s.lifetime {
		claims[name] = time.Now().Add(after).Unix()
	}
	assertion := a.assertion(s.header, claims)
	if s.key != nil {
		parts := strings.Split(assertion, ".")
		assertion = parts[0] + "." + parts[1] + "." + b64u(string(s.key(a).signature(parts[0]+"."+parts[1])))
	}
	if s.header["alg"] == "none" {
		assertion = assertion[:strings.LastIndexByte(assertion, '.')+1]
	}
	for _, id := range []string{"-client_id", "client_id=svc"} {
		a.everywhere([]string{id, "client_assertion_type=" + assertionType, "client_assertion=" + assertion})
	}
	var metadata struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	e := a.toIssuer("GET", "/.well-known/oauth-authorization-server", "")
	if err := json.Unmarshal([]byte(e.body), &metadata); err != nil || slices.Contains(metadata.Methods, "private_key_jwt") || len(metadata.Methods) == 0 {
		a.Errorf("methods %q (%v): assertions are not accepted, so they are not offered", metadata.Methods, err)
	}
}

var assertions = map[string]strangeAssertion{
	"alg none":                                 {header: map[string]any{"alg": "none"}},
	"RS256 by another client key":              {key: func(a *attempt) attackKey { return a.keys.encrypt }},
	"sub of another client":                    {claims: map[string]any{"sub": "web"}},
	"aud = array [issuer, token endpoint]":     {claims: map[string]any{"aud": []string{"https://as.test", "https://as.test/token"}}},
	"aud = other AS issuer":                    {claims: map[string]any{"aud": "https://good.test"}},
	"exp in 10 years":                          {lifetime: map[string]time.Duration{"exp": 10 * 365 * 24 * time.Hour}},
	"expired":                                  {lifetime: map[string]time.Duration{"exp": -time.Hour}},
	"nbf > 60 s ahead":                         {lifetime: map[string]time.Duration{"nbf": 2 * time.Minute}},
	"jti missing":                              {claims: map[string]any{"jti": nil}},
	"signed by a key removed from client jwks": {key: func(a *attempt) attackKey { return a.keys.wrap }},
}

// merge is what both say, the second over the first.
func merge(first, second map[string]any) map[string]any {
	both := make(map[string]any)
	for _, members := range []map[string]any{first, second} {
		for name, value := range members {
			both[name] = value
		}
	}
	return both
}
