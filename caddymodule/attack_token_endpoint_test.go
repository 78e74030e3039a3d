package caddymodule

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// tokenEndpointAttack finds the code of an entry about the token endpoint (RFC
// 6749 §3.2).
func tokenEndpointAttack(a attack) attackCode {
	if code := tokenEndpointAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^([A-Z]+)(?: without preflight headers)? /token$`).FindStringSubmatch(a.Title); found != nil {
		return otherMethod(found[1])
	}
	if rest, ok := strings.CutPrefix(a.Title, "Content-Type "); ok {
		return contentType(strings.TrimSuffix(strings.TrimSuffix(rest, " (control)"), " with the same fields"))
	}
	return nil
}

// clientCredentials is the form of a request that needs nothing but the client.
func clientCredentials(changes ...string) url.Values {
	return changedForm(url.Values{"grant_type": {"client_credentials"}}, changes...)
}

// otherMethod: only POST asks for tokens (RFC 6749 §3.2), and only its body says
// what is asked.
func otherMethod(method string) attackCode {
	return func(a *attempt) {
		query := clientCredentials("client_id=svc", "client_secret="+appSecret).Encode()
		for _, path := range []string{"/token", "/introspect", "/revoke", "/device-authorization"} {
			e := a.toIssuer(method, path+"?"+query, "", basic("svc", appSecret))
			if method == "HEAD" {
				e.toIssuer = false // there is no body that could be JSON
			}
			a.judge(e)
			if e.StatusCode == 405 && e.Header.Get("Allow") != "POST" {
				a.Errorf("%s: Allow %q, want POST", path, e.Header.Get("Allow"))
			}
			if e.has("access_token") {
				a.Errorf("%s: a token was issued: %s", path, e.body)
			}
		}
	}
}

// contentType sends fields that are in order as a media type that they are not
// in, or is not understood.
func contentType(described string) attackCode {
	return func(a *attempt) {
		body, lines := clientCredentials().Encode(), []string{basic("svc", appSecret), "Content-Type: " + described}
		switch described {
		case "missing":
			lines = lines[:1]
		case "application/json":
			body = `{"grant_type":"client_credentials"}`
		case "multipart/form-data":
			lines[1] += "; boundary=b"
			body = "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--b--\r\n"
		}
		e := a.toIssuer("POST", "/token", body, lines...)
		a.judge(e)
		if e.has("access_token") != (a.Assert.Status[0] == 200) {
			a.Errorf("answered with %s", e.body)
		}
	}
}

var tokenEndpointAttacks = map[string]attackCode{
	"IT-013": func(a *attempt) {
		a.judge(
			a.post("/token?grant_type=client_credentials", url.Values{"scope": {"read"}}, basic("svc", appSecret)),
			a.post("/token?grant_type=client_credentials", url.Values{}, basic("svc", appSecret)),
			a.post("/token?grant_type=client_credentials&scope=read", url.Values{"grant_type": {"none"}}, basic("svc", appSecret)),
		)
	},
	"IT-016": func(a *attempt) {
		for _, body := range []string{"grant_type=client_credentials;scope=admin", "scope=read;grant_type=client_credentials", "grant_type=client_credentials&scope=read;scope=admin"} {
			a.judge(a.toIssuer("POST", "/token", body, formType, basic("svc", appSecret)))
		}
	},
	"IT-020": endlessBody,
	"IT-021": func(a *attempt) {
		distinct := new(strings.Builder)
		for n := range 9000 {
			fmt.Fprintf(distinct, "p%d=&", n)
		}
		for _, body := range []string{
			strings.Repeat("a=1&", 100_000) + clientCredentials().Encode(),
			strings.Repeat("a=1&", 16_000) + clientCredentials().Encode(),
			strings.Repeat("scope=read&", 5_000) + clientCredentials().Encode(),
			distinct.String() + "p1=&" + clientCredentials("scope=no-such-scope").Encode(),
		} {
			var fastest exchange
			for range 20 {
				if e := a.toIssuer("POST", "/token", body, formType, basic("svc", appSecret)); fastest.Response == nil || e.took < fastest.took {
					fastest = e
				}
			}
			a.judge(fastest)
			if fastest.took > 20*time.Millisecond {
				a.Errorf("%d bytes took %v", len(body), fastest.took)
			}
		}
	},
	"IT-022": func(a *attempt) {
		var bomb bytes.Buffer
		w := gzip.NewWriter(&bomb)
		_, _ = w.Write([]byte(clientCredentials().Encode() + "&a=" + strings.Repeat("a", 10<<20)))
		w.Close()
		for _, encoding := range []string{"gzip", "x-gzip", "deflate", "identity, gzip"} {
			a.judge(a.toIssuer("POST", "/token", bomb.String(), formType, basic("svc", appSecret), "Content-Encoding: "+encoding))
		}
	},
	"IT-023": slowBody,
	"IT-025": errorCharset,
	"IT-027": func(a *attempt) {
		for _, origin := range []string{"https://evil.test", "null", "https://app.test"} {
			for _, secret := range []string{appSecret, "wrong"} {
				a.allowsOrigin(a.post("/token", clientCredentials(), basic("svc", secret), "Origin: "+origin))
			}
			a.allowsOrigin(a.redeemFrom(origin))
		}
	},
	"IT-028": func(a *attempt) {
		e := a.ask("svc", "client_credentials", url.Values{"scope": {"read unknown"}})
		a.judge(e)
		if e.StatusCode == 200 && !e.has("scope") {
			a.Errorf("less was granted than asked for, and nothing says so: %s", e.body)
		}
		// A person's client is told what was left out (RFC 6749 §3.3).
		tokens := a.visitor("alice").tokens("web", "scope=openid read unknown admin")
		a.judge(tokens)
		if scope := tokens.member(a.T, "scope"); scope != "openid read" {
			a.Errorf("scope %q, want openid read", scope)
		}
	},
	"IT-029": func(a *attempt) {
		for _, scope := range []string{"admin", "read admin", "READ", "openid", "offline_access", "read\tadmin"} {
			e := a.ask("svc", "client_credentials", url.Values{"scope": {scope}})
			a.judge(e)
			if e.StatusCode == 200 {
				if granted := strings.Fields(claim[string](a, a.secret(e, "access_token"), "scope")); strings.Contains(strings.Join(granted, " "), "admin") {
					a.Errorf("scope %q was granted: %q", scope, granted)
				}
			}
		}
	},
	"IT-030": func(a *attempt) {
		e := a.ask("svc", "client_credentials", url.Values{})
		a.judge(e)
		claims := a.claims(a.secret(e, "access_token"))
		if claims["sub"] != "svc" || claims["client_id"] != "svc" {
			a.Errorf("sub %v, client_id %v", claims["sub"], claims["client_id"])
		}
		for _, name := range []string{"auth_time", "nonce", "amr", "acr", "sid", "email"} {
			if claims[name] != nil {
				a.Errorf("the claim %s is about a person", name)
			}
		}
		if e.has("id_token") || e.has("refresh_token") {
			a.Errorf("a client without a person got %s", e.body)
		}
		// No person can have the name of a client as sub.
		if sub := a.addPerson("svc", false); sub == "svc" {
			a.Error("a person's sub is that of a client")
		}
		a.adminCall("DELETE", "/oauth/users/svc", nil).want(a.T, 200)
	},
	"IT-031": tokenShape,
}

// allowsOrigin judges an answer: a page of another origin may read it, but never
// with what the browser has stored for the issuer.
func (a *attempt) allowsOrigin(e exchange) {
	a.Helper()
	a.judge(e)
	if got := e.Header.Values("Access-Control-Allow-Credentials"); len(got) > 0 {
		a.Errorf("Access-Control-Allow-Credentials %q", got)
	}
}

// redeemFrom redeems a code as a page of some origin does.
func (a *attempt) redeemFrom(origin string) exchange {
	a.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"spa"}, "code": {a.visitor("alice").code("spa")},
		"redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier},
	}
	return a.post("/token", form, "Origin: "+origin, "Sec-Fetch-Mode: cors")
}

// endlessBody sends a body of 1 GiB in chunks, until the server has had enough.
func endlessBody(a *attempt) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conn, err := net.Dial("tcp", a.issuer)
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	sent := make(chan int64, 1)
	go func() {
		var total int64
		chunk := "10000\r\n" + strings.Repeat("a", 0x10000) + "\r\n"
		_, err := io.WriteString(conn, requestHead("POST", "/token", "Host: as.test", formType, basic("svc", appSecret), "Transfer-Encoding: chunked"))
		for ; err == nil && total < 1<<30; total += 0x10000 {
			_, err = io.WriteString(conn, chunk)
		}
		sent <- total
	}()
	e := a.answerOn(conn, "POST", "/token")
	conn.Close()
	total := <-sent
	runtime.ReadMemStats(&after)
	// All that was allocated is more than what is held at any time.
	a.measured["rss_delta"] = float64(after.TotalAlloc - before.TotalAlloc)
	a.judge(e)
	if total > 64<<20 {
		a.Errorf("the server read on for %d bytes", total)
	}
}

// answerOn reads the answer to a request that was sent on a connection.
func (a *attempt) answerOn(conn net.Conn, method, path string) exchange {
	a.Helper()
	begun := time.Now()
	return exchange{answer: readFinal(bufio.NewReader(conn), method), toIssuer: true, path: path, took: time.Since(begun)}
}

// slowBody sends a byte a second, for longer than the server waits.
func slowBody(a *attempt) {
	conn, err := net.Dial("tcp", a.issuer)
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(40 * time.Second))
	body := clientCredentials().Encode()
	_, err = io.WriteString(conn, requestHead("POST", "/token", "Host: as.test", formType, basic("svc", appSecret), contentLength(body+strings.Repeat(" ", 60))))
	if err != nil {
		a.Fatal(err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := range body {
			select {
			case <-tick.C:
				_, _ = conn.Write([]byte{body[n]})
			case <-done:
				return
			}
		}
	}()
	e := a.answerOn(conn, "POST", "/token")
	a.judge(e)
	if e.took > 30*time.Second {
		a.Errorf("the server waited for %v", e.took)
	}
}

var describable = regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]*$`)

// errorCharset: whatever is wrong, the refusal is JSON of the characters that RFC
// 6749 §5.2 allows, and repeats neither a secret nor what is strange in the
// request.
func errorCharset(a *attempt) {
	const strange = "\"\\\u00e9\x7f<script>alert(1)</script>\r\nX: y"
	v := a.visitor("alice")
	code, refresh := v.code("web"), v.tokens("web", "scope=openid offline_access read").member(a.T, "refresh_token")
	secretly := []string{appSecret, code, refresh, attackVerifier}
	a.plant(refresh)
	forms := []url.Values{
		{}, {"grant_type": {strange}}, {strange: {"1", "2"}}, {"grant_type": {"client_credentials", strange}},
		clientCredentials("scope=" + strange), clientCredentials("resource=" + strange), clientCredentials("scope=no-such-scope"),
		{"grant_type": {"authorization_code"}, "code": {strange}}, {"grant_type": {"authorization_code"}},
		{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {strange}, "redirect_uri": {strange}},
		{"grant_type": {"refresh_token"}, "refresh_token": {strange}}, {"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {strange}},
		{"grant_type": {deviceGrant}, "device_code": {strange}}, {"grant_type": {exchangeGrant}, "subject_token": {strange}, "subject_token_type": {strange}},
		{"client_assertion": {strange}}, {"client_id": {strange}, "client_secret": {appSecret}},
	}
	for _, form := range forms {
		for _, client := range []string{"web", "svc", "agent", "devconf"} {
			for _, secret := range []string{appSecret, strange} {
				for _, path := range []string{"/token", "/introspect", "/revoke", "/device-authorization"} {
					e := a.post(path, form, basic(client, secret))
					if e.StatusCode == 200 {
						continue
					}
					a.judge(e)
					a.judgeDescription(e, secretly...)
				}
			}
		}
	}
}

// judgeDescription: error and error_description are of the characters that are
// allowed, and show nothing that is not for everybody's eyes.
func (a *attempt) judgeDescription(e exchange, secretly ...string) {
	a.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(e.body), &body); err != nil || e.Header.Get("Content-Type") != "application/json" || body["error"] == "" {
		a.Errorf("%s: a refusal of the type %q: %s", e.path, e.Header.Get("Content-Type"), e.body)
	}
	for name, text := range body {
		if !describable.MatchString(text) {
			a.Errorf("%s: %s is %q", e.path, name, text)
		}
	}
	for _, part := range append(secretly, "<script", canary, "goroutine", ".go:") {
		if strings.Contains(e.body, part) {
			a.Errorf("%s: the refusal has %q: %s", e.path, part, e.body)
		}
	}
}

// tokenShape: an access token is what RFC 9068 says.
func tokenShape(a *attempt) {
	v := a.visitor("alice")
	for _, e := range []exchange{a.ask("svc", "client_credentials", url.Values{}), v.tokens("spa", "scope=read"), v.tokens("web", "scope=read", "resource=https://api.test")} {
		a.judge(e)
		token := a.secret(e, "access_token")
		header, claims := a.header(token), a.claims(token)
		if header["typ"] != "at+jwt" || header["alg"] == "none" || header["crit"] != nil || header["jwk"] != nil {
			a.Errorf("the header is %v", header)
		}
		jwks := a.toIssuer("GET", "/.well-known/jwks.json", "")
		if kid, _ := header["kid"].(string); kid == "" || !strings.Contains(jwks.body, `"`+kid+`"`) {
			a.Errorf("kid %q is not in the JWKS", kid)
		}
		for _, name := range []string{"sub", "client_id", "jti"} {
			if text, _ := claims[name].(string); text == "" {
				a.Errorf("%s is %v", name, claims[name])
			}
		}
		if claims["iss"] != "https://as.test" || claims["aud"] != "https://api.test" {
			a.Errorf("iss %v, aud %v", claims["iss"], claims["aud"])
		}
		issued, _ := claims["iat"].(float64)
		expiry, _ := claims["exp"].(float64)
		if life := time.Duration(expiry-issued) * time.Second; issued == 0 || life <= 0 || life > time.Hour {
			a.Errorf("a life of %v from %v on", life, issued)
		}
	}
}

// claims are those of a token, unverified.
func (a *attempt) claims(token string) map[string]any { return a.part(token, 1) }

// header is that of a token.
func (a *attempt) header(token string) map[string]any { return a.part(token, 0) }

// claim is one of them; it fails the attempt when it is of another kind.
func claim[T any](a *attempt, token, name string) (value T) {
	a.Helper()
	value, ok := a.claims(token)[name].(T)
	if !ok {
		a.Errorf("the claim %s is %v", name, a.claims(token)[name])
	}
	return value
}

func (a *attempt) part(token string, n int) (members map[string]any) {
	a.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		a.Fatalf("a token of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		a.Fatal(err)
	}
	return members
}
