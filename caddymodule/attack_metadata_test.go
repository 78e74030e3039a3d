package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// metadataAttack finds the code of an entry about metadata, and about what the
// server shows of itself elsewhere: in its files, its log, its administration.
func metadataAttack(a attack) attackCode { return metadataAttacks[a.ID] }

// document reads a JSON answer.
func document(a *attempt, e exchange) (members map[string]any) {
	a.Helper()
	if err := json.Unmarshal([]byte(e.body), &members); err != nil {
		a.Fatalf("%s: %d %v: %s", e.path, e.StatusCode, err, e.body)
	}
	return members
}

// poster sends forms to the issuer on a connection that stays open, for attempts
// that measure time.
type poster struct {
	a      *attempt
	client *http.Client
}

func (a *attempt) poster() *poster {
	transport := &http.Transport{DisableCompression: true}
	a.Cleanup(transport.CloseIdleConnections)
	return &poster{a, &http.Client{Transport: transport, Timeout: answerTimeout}}
}

func (p *poster) took(path string, form url.Values, client, secret string) time.Duration {
	p.a.Helper()
	request, err := http.NewRequest("POST", "http://"+p.a.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.a.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		request.SetBasicAuth(client, secret)
	}
	begun := time.Now()
	response, err := p.client.Do(request)
	if err != nil {
		p.a.Fatal(err)
	}
	took := time.Since(begun)
	var rest bytes.Buffer
	_, _ = rest.ReadFrom(response.Body)
	response.Body.Close()
	if response.StatusCode != 401 && response.StatusCode != 400 {
		p.a.Fatalf("%s: %d %s", path, response.StatusCode, rest.Bytes())
	}
	return took
}

// alike measures two kinds of requests in random order, and fails if their times
// can be told apart: if the t of Welch's test, over the quicker nine tenths of
// each, is 4.5 or more.
func alike(a *attempt, times int, one, other func() time.Duration) {
	a.Helper()
	var samples [2][]float64
	for range 2 * times {
		kind := rand.IntN(2)
		took := one
		if kind == 1 {
			took = other
		}
		samples[kind] = append(samples[kind], float64(took()))
	}
	var mean, spread [2]float64
	for n, sample := range samples {
		slices.Sort(sample)
		sample = sample[:len(sample)*9/10]
		for _, value := range sample {
			mean[n] += value / float64(len(sample))
		}
		for _, value := range sample {
			spread[n] += (value - mean[n]) * (value - mean[n]) / float64(len(sample)-1)
		}
		spread[n] /= float64(len(sample))
	}
	t := (mean[0] - mean[1]) / math.Sqrt(spread[0]+spread[1])
	a.Logf("%v and %v, t %.2f", time.Duration(mean[0]), time.Duration(mean[1]), t)
	if math.Abs(t) >= 4.5 {
		a.Errorf("told apart by time: %v and %v, t %.2f", time.Duration(mean[0]), time.Duration(mean[1]), t)
	}
}

// fuzzed is a request that no client sends.
func fuzzed(random *rand.Rand) (method, target string, lines []string, body string) {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	noise := func() string {
		text := make([]byte, random.IntN(60))
		for n := range text {
			text[n] = byte(random.IntN(256))
		}
		return pick(string(text), "", "web", "openid", "a b", "{}", "null", "%", "\x00", strings.Repeat("A", 5000), "https://app.test/cb", "urn:ietf:params:oauth:token-type:access_token", b64u(`{"alg":"none"}`)+".e30.")
	}
	form := url.Values{}
	for range random.IntN(8) {
		form.Add(pick("grant_type", "client_id", "client_secret", "code", "redirect_uri", "scope", "state", "token", "refresh_token", "response_type",
			"code_challenge", "code_challenge_method", "prompt", "max_age", "id_token_hint", "device_code", "user_code", "subject_token", "subject_token_type",
			"actor_token", "transaction", "csrf_token", "action", "username", "password", "resource", "audience", "claims", "request", noise()), noise())
	}
	if random.IntN(2) == 0 {
		form.Set("grant_type", pick("authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange"))
	}
	target = pick("/authorize", "/token", "/device-authorization", "/device", "/introspect", "/revoke", "/userinfo", "/end-session", "/register", "/register/x",
		"/login", "/consent", "/account", "/applications", "/applications/new", "/applications/x", "/applications/secret", "/", "/assets/x",
		"/.well-known/openid-configuration", "/.well-known/jwks.json", "/nothing") + pick("", "/", "?"+form.Encode(), "?%zz", "?"+url.QueryEscape(noise()))
	body = pick(form.Encode(), noise(), "{"+noise(), `{"redirect_uris":`+noise()+"}", "&&&=;%", clientMetadata(map[string]any{"scope": "x"}))
	lines = []string{pick(formType, jsonType, "Content-Type: text/plain", "X-A: b", "Content-Type: multipart/form-data")}
	switch random.IntN(4) {
	case 0:
		lines = append(lines, basic(pick("web", "svc", "dev", "x"), pick(appSecret, "x", "")))
	case 1:
		lines = append(lines, "Authorization: "+pick("Bearer ", "Basic ", "", "DPoP ")+url.QueryEscape(noise()))
	case 2:
		lines = append(lines, "Cookie: __Host-oauth_session="+url.QueryEscape(noise())+"; __Host-oauth_browser="+url.QueryEscape(noise()))
	}
	return pick("GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"), target, lines, body
}

// everySecret goes through every flow and plants each secret that comes by.
func everySecret(a *attempt) {
	a.Helper()
	v := a.newPerson()
	a.plant(passwordOf(v.name))
	v.open("/login")
	_, form := v.form("login")
	a.plant(form.Get("csrf_token"))
	v.signIn()
	tokens := v.tokens("web", "scope=openid offline_access read", "nonce=nonce-that-is-long-enough-to-plant")
	a.plant(attackVerifier)
	a.plant(appSecret)
	refreshed := a.must(a.refresh("web", tokens.member(a.T, "refresh_token")))
	access := a.secret(refreshed, "access_token")
	a.secret(refreshed, "refresh_token")
	a.must(a.introspection(access))
	a.must(a.toIssuer("GET", "/userinfo", "", bearer(access)))
	a.toGate("GET", "/api/a", bearer(access))
	a.toGate("GET", "/api/a", "Authorization: "+access) // without the scheme
	a.must(a.post("/revoke", url.Values{"token": {access}}, basic("web", appSecret)))
	a.refresh("web", tokens.member(a.T, "refresh_token")) // used before
	a.redeem("web", "a-code-that-was-never-given-0123456789")
	a.plant("a-code-that-was-never-given-0123456789")
	a.post("/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"svc"}, "client_secret": {"a-secret-that-is-wrong-0123456789"}})
	a.plant("a-secret-that-is-wrong-0123456789")
	v.wrongPassword("a-password-that-is-wrong-0123456789")
	a.plant("a-password-that-is-wrong-0123456789")
	started := a.must(a.post("/device-authorization", url.Values{"client_id": {"dev"}, "scope": {"openid read"}}))
	device := a.secret(started, "device_code")
	a.ask("dev", "urn:ietf:params:oauth:grant-type:device_code", url.Values{"device_code": {device}})
	client := a.registered(clientMetadata(nil))
	a.toIssuer("PUT", "/register/"+client.id, clientMetadata(map[string]any{"client_id": client.id, "client_secret": client.secret}), jsonType, bearer(client.manage))
	a.ask("agent", "urn:ietf:params:oauth:grant-type:token-exchange", url.Values{
		"subject_token": {a.ownToken("svc")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	})
	for _, name := range []string{"session", "browser"} {
		a.plant(v.cookie(name))
	}
	a.backend.take()
	v.open("/account")
	v.press("change-password", "password", passwordOf(v.name), "new_password", passwordOf(v.name)+" again")
	v.open("/end-session")
	v.press("logout")
}

var metadataAttacks = map[string]attackCode{
	"IM-002": func(a *attempt) {
		a.withIssuer("/auth", "")
		for _, target := range []string{"/.well-known/oauth-authorization-server/auth", "/auth/.well-known/openid-configuration"} {
			e := a.toIssuer("GET", target, "")
			a.judge(e)
			if got := document(a, e); got["issuer"] != siteURL+"/auth" || got["token_endpoint"] != siteURL+"/auth/token" || got["jwks_uri"] != siteURL+"/auth/.well-known/jwks.json" {
				a.Errorf("%s: %s", target, e.body)
			}
		}
		if got := document(a, a.toIssuer("GET", "/.well-known/oauth-authorization-server", "")); got["issuer"] != siteURL {
			a.Errorf("at the root: %v", got["issuer"])
		}
	},
	"IM-004": func(a *attempt) {
		e := a.toGate("GET", "/.well-known/oauth-protected-resource")
		a.judge(e)
		got := document(a, e)
		if got["resource"] != "https://api.test" || fmt.Sprint(got["authorization_servers"]) != "["+siteURL+"]" {
			a.Errorf("the metadata is %s", e.body)
		}
		challenge := a.toGate("GET", "/api/a").Header.Get("WWW-Authenticate")
		if want := `resource_metadata="https://api.test/.well-known/oauth-protected-resource"`; !strings.Contains(challenge, want) {
			a.Errorf("the challenge is %s, want %s in it", challenge, want)
		}
		if e := a.toGate("GET", "/.well-known/oauth-protected-resource/elsewhere"); e.StatusCode == 200 {
			a.Errorf("metadata of a resource that is not here: %s", e.body)
		}
	},
	"IM-005": func(a *attempt) {
		for _, target := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
			for _, lines := range [][]string{{"Host: evil.test"}, {"Host: as.test:8443"}, {"Host: as.test", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: http", "Forwarded: host=evil.test"}} {
				a.judge(a.wireIssuer("GET", target, "", lines...))
			}
		}
	},
	"IM-006": func(a *attempt) {
		p := a.poster()
		form := url.Values{"token": {"x"}}
		prefix := appSecret[:len(appSecret)-1] + "0"
		first := "X" + appSecret[1:]
		alike(a, 10_000,
			func() time.Duration { return p.took("/introspect", form, "rs1", prefix) },
			func() time.Duration { return p.took("/introspect", form, "rs1", first) })
	},
	"IM-007": func(a *attempt) {
		p := a.poster()
		refresh := a.visitor("alice").tokens("web", "scope=openid offline_access").member(a.T, "refresh_token")
		// Of the same length and hour, so that both are looked up.
		near := refresh[:len(refresh)-1] + map[bool]string{true: "B", false: "A"}[strings.HasSuffix(refresh, "A")]
		far := refresh[:4] + newHandleText()[4:]
		send := func(token string) func() time.Duration {
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
			return func() time.Duration { return p.took("/token", form, "web", appSecret) }
		}
		alike(a, 10_000, send(near), send(far))
	},
	"IM-009": func(a *attempt) {
		for _, name := range a.storageFiles() {
			info, err := os.Stat(name)
			if err != nil {
				a.Fatal(err)
			}
			want := os.FileMode(0o600)
			if info.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				a.Errorf("%s has the mode %v, want %v", name, info.Mode().Perm(), want)
			}
		}
	},
	"IM-010": func(a *attempt) {
		everySecret(a)
		if len(a.planted) < 15 {
			a.Errorf("%d secrets were planted", len(a.planted))
		}
		log := a.logSince([2]int64{}) // all of it, other attempts included
		for _, secret := range a.planted {
			if at := bytes.Index(log, []byte(secret)); at >= 0 {
				a.Errorf("a secret stands in the log: %s", lineAround(log, at))
			}
		}
		if !bytes.Contains(log, []byte(`"level":"debug"`)) {
			a.Error("the log has no line of the level debug")
		}
	},
	"IM-011": func(a *attempt) {
		injection := "x\r\n{\"level\":\"info\",\"msg\":\"audit\",\"event\":\"login\"}\x1b[2J\x00\u2028"
		key := issuerKey(a.T, siteURL)
		for _, text := range []string{injection, injection + strings.Repeat("A", 40<<10), strings.Repeat("\x1b", 1<<20)} {
			v := a.visitor(text)
			v.wrongPassword("wrong")
			a.post("/token", url.Values{"grant_type": {text}, "client_id": {text}, "client_secret": {"x"}})
			a.post("/device-authorization", url.Values{"client_id": {text}})
			a.post("/token", url.Values{"grant_type": {"client_credentials"}}, basic(text[:min(len(text), 40<<10)], "x"))
			forged := key.sign(key.header(map[string]any{"kid": text}), goodClaims(siteURL, map[string]any{"sub": text, "client_id": text}))
			a.introspection(forged)
			a.toGate("GET", "/api/a", bearer(forged[:min(len(forged), 100<<10)]))
			a.enrol(clientMetadata(map[string]any{"client_name": text}))
			if len(text) < maxAdminBody/8 {
				a.adminCall("POST", "/oauth/users", map[string]any{"username": text, "password": passwordOf("x")})
			}
		}
		a.backend.take()
		own := a.logSince(a.logStart)
		for line := range bytes.Lines(own) {
			if !json.Valid(line) {
				a.Errorf("a log line is no JSON: %.300q", line)
			}
			if len(line) > 8<<10 && !bytes.Contains(line, []byte(`"logger":"http.log.access`)) {
				a.Errorf("a log line of %d bytes: %.300q", len(line), line)
			}
			if bytes.Contains(line, []byte{0x1b}) || bytes.Contains(line, []byte("\r")) {
				a.Errorf("a log line with control characters: %.300q", line)
			}
			if bytes.HasPrefix(line, []byte(`{"level":"info","msg":"audit","event":"login"`)) {
				a.Errorf("a line that was sent: %.300q", line)
			}
		}
	},
	"IM-012": func(a *attempt) {
		config := requestHead("GET", "/config/", "Host: evil.test")
		add := `{"client_name":"x","grant_types":["client_credentials"]}`
		for _, text := range []string{
			config, requestHead("GET", "/config/", "Host: "+a.admin, "Origin: https://evil.test", "Sec-Fetch-Mode: cors"),
			requestHead("GET", "/oauth/clients", "Host: evil.test"), requestHead("GET", "/oauth/clients", "Host: evil.test:2019"),
			requestHead("POST", "/oauth/clients", "Host: "+a.admin, "Origin: https://evil.test", "Sec-Fetch-Mode: cors", jsonType, contentLength(add)) + add,
			requestHead("POST", "/oauth/clients", "Host: evil.test", jsonType, contentLength(add)) + add,
			requestHead("POST", "/oauth/clients", "Host: "+a.admin, "Content-Type: text/plain", contentLength(add)) + add,
		} {
			e := a.wire(a.admin, text, 1)[0]
			a.judge(e)
			if e.StatusCode != 403 && e.StatusCode != 415 {
				a.Errorf("%.120q: status %d %.200s", text, e.StatusCode, e.body)
			}
		}
		// Neither the API's side nor the issuer's has a way to it.
		for _, e := range []exchange{a.toIssuer("GET", "/config/", ""), a.toIssuer("GET", "/oauth/clients", ""), a.toGate("GET", "/oauth/clients")} {
			if e.StatusCode == 200 {
				a.Errorf("%s: %s", e.path, e.body)
			}
		}
	},
	"IM-013": func(a *attempt) {
		a.Setenv("OAUTH_ATTACK", canary+"-from-the-environment")
		for _, path := range []string{"/config/", "/oauth/clients", "/oauth/users", "/oauth/keys", "/oauth/authorizations"} {
			e := a.adminCall("GET", path, nil)
			e.want(a.T, 200)
			if at := strings.Index(e.body, canary); at >= 0 && !strings.Contains(e.body[at:min(len(e.body), at+30)], "-at-the-idp") {
				a.Errorf("%s shows a secret: %.200s", path, e.body[at:])
			}
			if secret := regexp.MustCompile(`"(?:d|k|private_key|password|secret)":`).FindString(e.body); secret != "" && path != "/config/" {
				a.Errorf("%s has %s", path, secret)
			}
		}
		adapted, err := adapt(a.caddyfile(`{
	oauth {
		issuer https://as.test {
			client x {
				secret {env.OAUTH_ATTACK}
				grant client_credentials
			}
		}
	}
}
`))
		if err != nil {
			a.Fatal(err)
		}
		if !bytes.Contains(adapted, []byte(`{env.OAUTH_ATTACK}`)) || bytes.Contains(adapted, []byte(canary+"-from")) {
			a.Errorf("the adapted configuration has not the reference: %s", adapted)
		}
	},
	"IM-014": func(a *attempt) {
		seed := uint64(time.Now().UnixNano())
		a.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		for range 3000 {
			method, target, lines, body := fuzzed(random)
			if strings.ContainsAny(target, " \r\n") || strings.ContainsAny(strings.Join(lines, ""), "\r\n") {
				continue
			}
			e := a.toIssuer(method, target, body, lines...)
			if method != "HEAD" { // whose refusals have no body
				a.judge(e)
			} else if e.StatusCode >= 500 {
				a.Errorf("HEAD %s: status %d", target, e.StatusCode)
			}
		}
		if len(a.exchanges) < 2000 {
			a.Errorf("%d requests were sent", len(a.exchanges))
		}
	},
	"IM-015": func(a *attempt) {
		for _, target := range []string{"/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/metrics", "/config/", "/oauth/clients", "/.env", "/server-status"} {
			a.judge(a.toIssuer("GET", target, ""))
		}
		for _, target := range []string{"/debug/pprof", "/metrics"} {
			if e := a.toGate("GET", target); e.StatusCode != 401 && e.StatusCode != 404 {
				a.Errorf("%s at the gate: %d", target, e.StatusCode)
			}
		}
	},
}
