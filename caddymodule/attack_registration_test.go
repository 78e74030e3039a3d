package caddymodule

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// registrationAttack finds the code of an entry about dynamic client registration
// (RFC 7591, RFC 7592).
func registrationAttack(a attack) attackCode {
	if code := registrationAttacks[a.ID]; code != nil {
		return code
	}
	for _, pattern := range []struct {
		title *regexp.Regexp
		code  func(value string) attackCode
	}{
		{regexp.MustCompile(`^redirect_uris (\S+)$`), func(uri string) attackCode {
			return refusedRegistration(map[string]any{"redirect_uris": []string{uri}}, map[string]any{"redirect_uris": []string{"https://app.test/cb", uri}})
		}},
		{regexp.MustCompile(`^jwks_uri (\S+)`), fetchedKeys},
		{regexp.MustCompile(`^SSRF through (\w+)`), func(field string) attackCode { return fetchedThrough[field] }},
	} {
		if found := pattern.title.FindStringSubmatch(a.Title); found != nil {
			return pattern.code(found[1])
		}
	}
	return nil
}

// clientMetadata is a registration that is in order, with changes; nil takes a
// member away.
func clientMetadata(changes map[string]any) string {
	return changed(map[string]any{"redirect_uris": []string{"https://app.test/cb"}, "client_name": "App", "scope": "openid"}, changes)
}

// enrol registers a client itself, with metadata that is JSON or not.
func (a *attempt) enrol(metadata string, lines ...string) exchange {
	a.Helper()
	return a.toIssuer("POST", "/register", metadata, append(lines, jsonType)...)
}

// refusedRegistration: no client comes of it.
func refusedRegistration(changes ...map[string]any) attackCode {
	return func(a *attempt) {
		for _, change := range changes {
			a.judge(a.enrol(clientMetadata(change)))
		}
		a.registeredNone()
	}
}

func (a *attempt) registeredNone() {
	a.Helper()
	if bytes.Contains(a.logSince(a.logStart), []byte("client_registered")) {
		a.Error("a client was registered")
	}
}

// internal is a server that only this machine should reach.
type internal struct {
	address string
	hits    atomic.Int64
}

func startInternal(a *attempt) *internal {
	a.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { listener.Close() })
	i := &internal{address: listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			i.hits.Add(1)
			conn.Close()
		}
	}()
	return i
}

// loopback is the part of a URL that stands for this machine, and is replaced by
// the address of a server that counts.
var loopback = regexp.MustCompile(`//(?:localhost|127\.0\.0\.1|\[::1\]|\[::ffff:127\.0\.0\.1\]|0\.0\.0\.0|017700000001)(?::\d+)?/`)

// pointedAt are a URL as it stands and with the address of a server of this
// machine in the place of its own.
func (i *internal) pointedAt(address string) []string {
	all := []string{address, "http://" + i.address + "/keys", "https://" + i.address + "/keys"}
	if loopback.MatchString(address) {
		all = append(all, loopback.ReplaceAllString(address, "//"+i.address+"/"))
	}
	return all
}

// fetchedKeys: the address of a client's keys is refused, and an assertion that
// points there is, too.
func fetchedKeys(address string) attackCode {
	return func(a *attempt) {
		inside := startInternal(a)
		key := issuerKey(a.T, siteURL)
		for _, uri := range inside.pointedAt(address) {
			a.judge(a.enrol(clientMetadata(map[string]any{"jwks_uri": uri, "token_endpoint_auth_method": "private_key_jwt"})))
			a.judge(a.enrol(clientMetadata(map[string]any{"jwks_uri": uri})))
			assertion := key.sign(key.header(map[string]any{"typ": "JWT", "jku": uri, "x5u": uri}), goodClaims("web", map[string]any{"sub": "web", "aud": siteURL + "/token"}))
			a.judge(a.post("/token", url.Values{
				"grant_type": {"client_credentials"}, "client_id": {"web"}, "client_assertion": {assertion},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			}))
		}
		a.registeredNone()
		a.measured["internal_hits"] = float64(inside.hits.Load())
	}
}

// fetchedThrough are other ways to hand the server an address.
var fetchedThrough = map[string]attackCode{
	"request_uris": fetched(func(a *attempt, uri string) {
		a.judge(a.enrol(clientMetadata(map[string]any{"request_uris": []string{uri}})))
		a.seen(a.requested(authorizationRequest("web", "request_uri="+uri).Encode()))
	}),
	"backchannel_logout_uri": fetched(func(a *attempt, uri string) {
		a.judge(a.enrol(clientMetadata(map[string]any{"backchannel_logout_uri": uri})))
		e := a.enrol(clientMetadata(map[string]any{"frontchannel_logout_uri": uri, "logo_uri": uri, "sector_identifier_uri": nil}))
		a.judge(e)
		if e.StatusCode != 201 {
			return
		}
		v := a.visitor("alice")
		v.open("/authorize?" + authorizationRequest(e.member(a.T, "client_id"), "scope=openid").Encode())
		v.signIn()
		v.press("allow")
		v.open("/account")
		v.open("/end-session")
		v.press("logout")
	}),
	"software_statement": fetched(func(a *attempt, uri string) {
		key := issuerKey(a.T, siteURL)
		a.judge(a.enrol(clientMetadata(map[string]any{"software_statement": key.sign(key.header(map[string]any{"jku": uri}), goodClaims(uri, nil))})))
	}),
	"client_id": fetched(func(a *attempt, uri string) {
		a.judge(a.toIssuer("GET", "/authorize?"+authorizationRequest(uri).Encode(), ""))
		a.seen(a.post("/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {uri}, "code": {"x"}}))
	}),
	"external": fetched(func(a *attempt, uri string) {
		a.judge(a.enrol(clientMetadata(map[string]any{"issuer": uri, "identity_provider": uri, "openid_configuration": uri, "initiate_login_uri": uri})))
		forged := a.keys.good.sign(a.keys.good.header(nil), goodClaims(uri, nil))
		a.seen(a.ask("agent", "urn:ietf:params:oauth:grant-type:token-exchange", url.Values{
			"subject_token": {forged}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		}))
		a.seen(a.toIssuer("GET", "/login/callback/upstream?"+url.Values{"code": {"x"}, "iss": {uri}}.Encode(), ""), a.introspection(forged))
	}),
}

func fetched(hand func(a *attempt, uri string)) attackCode {
	return func(a *attempt) {
		inside := startInternal(a)
		for _, uri := range inside.pointedAt("http://127.0.0.1:2019/") {
			hand(a, uri)
		}
		a.measured["internal_hits"] = float64(inside.hits.Load())
	}
}

// withIssuer adds an issuer to the configuration until the attempt is over: at a
// path below that of the site, with options as the Caddyfile has them.
func (a *attempt) withIssuer(path, options string) {
	a.Helper()
	issuer := siteURL + path
	added := strings.NewReplacer(
		"\tissuer "+siteURL+" {", "\tissuer "+issuer+" {\n"+options+"\n}\n\tissuer "+siteURL+" {",
		"oauth_issuer "+siteURL+"\n", "oauth_issuer "+siteURL+"\noauth_issuer "+issuer+"\n",
	).Replace(a.text)
	before := a.text
	a.Cleanup(func() { a.loadWhole(before) })
	a.loadWhole(added)
	a.text = added
}

// loadWhole gives the server another configuration and returns when each of its
// listeners has been handed over: until then Caddy cuts a connection now and then.
func (a *attempt) loadWhole(text string) {
	a.Helper()
	if err := a.load(text); err != nil {
		a.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Transport: transport, Timeout: answerTimeout}
	inRow := 0
	eventually(a, "answers of the new configuration", func() bool {
		for _, address := range []string{"http://" + a.issuer, "http://" + a.gate, "https://" + a.issuerTLS, "https://" + a.gateTLS} {
			response, err := client.Get(address + "/.well-known/jwks.json")
			if err != nil {
				inRow = 0
				return false
			}
			response.Body.Close()
		}
		inRow++
		return inRow == 10
	})
}

// initialToken makes a token by which a client may register with an issuer.
func (a *attempt) initialToken(issuer string, uses int) string {
	a.Helper()
	e := a.adminCall("POST", "/oauth/registration-tokens?issuer="+url.QueryEscape(issuer), map[string]any{"uses": uses})
	e.want(a.T, 200)
	token := e.member(a.T, "token")
	a.plant(token)
	return token
}

// registeredClient is a client that has registered itself.
type registeredClient struct{ id, secret, manage string }

func (a *attempt) registered(metadata string) registeredClient {
	a.Helper()
	e := a.must(a.enrol(metadata))
	return registeredClient{e.member(a.T, "client_id"), a.secret(e, "client_secret"), a.secret(e, "registration_access_token")}
}

// nested is JSON of that depth, as a member of a registration that is in order.
func nested(depth int) string {
	return `{"redirect_uris":["https://app.test/cb"],"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}"
}

// registerOnce registers a client over a connection that stays open, and returns
// the status; 0 if there is no answer.
func registerOnce(v *visitor, path string) int {
	request, err := http.NewRequest("POST", siteURL+path, strings.NewReader(clientMetadata(map[string]any{"scope": nil})))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := v.browser.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// flood registers many clients from many addresses, and returns how often each
// status was answered.
func flood(a *attempt, path string, addresses, each int) map[int]int {
	a.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	statuses := make(map[int]int)
	queue := make(chan *visitor)
	for range 8 {
		all.Go(func() {
			for v := range queue {
				for range each {
					status := registerOnce(v, path)
					mu.Lock()
					statuses[status]++
					mu.Unlock()
				}
				v.browser.CloseIdleConnections()
			}
		})
	}
	for range addresses {
		queue <- a.visitor("nobody")
	}
	close(queue)
	all.Wait()
	return statuses
}

// storageSize is the size of the file of the storage.
func (a *attempt) storageSize() (size int64) {
	a.Helper()
	for _, name := range a.storageFiles() {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			size += info.Size()
		}
	}
	return size
}

// storageFiles are the files of the storage and the directory they are in.
func (a *attempt) storageFiles() (names []string) {
	a.Helper()
	err := filepath.WalkDir(a.dir, func(name string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(name, ".db") {
			names = append(names, name, filepath.Dir(name))
		}
		return err
	})
	if err != nil || len(names) == 0 {
		a.Fatalf("no storage in %s (%v)", a.dir, err)
	}
	return names
}

var registrationAttacks = map[string]attackCode{
	"IY-001": func(a *attempt) {
		a.judge(a.toIssuer("POST", "/closed/register", clientMetadata(nil), jsonType)) // nothing is there
		a.withIssuer("/closed", "")
		a.judge(a.toIssuer("POST", "/closed/register", clientMetadata(nil), jsonType))
		if e := a.toIssuer("GET", "/closed/.well-known/openid-configuration", ""); e.StatusCode != 200 || strings.Contains(e.body, "registration_endpoint") {
			a.Errorf("%d %s", e.StatusCode, e.body)
		}
		a.registeredNone()
	},
	"IY-002": func(a *attempt) {
		a.withIssuer("/invited", "registration token")
		register := func(lines ...string) exchange {
			return a.toIssuer("POST", "/invited/register", clientMetadata(nil), append(lines, jsonType)...)
		}
		token := a.initialToken(siteURL+"/invited", 1)
		if e := register(bearer(token)); e.StatusCode != 201 {
			a.Fatalf("the control: %d %s", e.StatusCode, e.body)
		}
		a.judge(register(bearer(token)), register(bearer(newHandleText())), register(bearer(token+"A")), register())
		key := issuerKey(a.T, siteURL+"/invited")
		a.judge(register(bearer(key.sign(key.header(nil), goodClaims(siteURL+"/invited", nil)))))
		a.withIssuer("/others", "registration token")
		a.judge(register(bearer(a.initialToken(siteURL+"/others", 1))))
	},
	"IY-014": refusedRegistration(
		map[string]any{"redirect_uris": strings.Split(strings.Repeat("https://app.test/cb ", 1000)[:1000*20-1], " ")},
		map[string]any{"redirect_uris": strings.Fields(strings.NewReplacer("A", "https://app.test/cb?", "B", " https://app.test/cc?").Replace(strings.Repeat("AB", 500)))},
	),
	"IY-015": refusedRegistration(map[string]any{"redirect_uris": []string{}}, map[string]any{"redirect_uris": nil}),
	"IY-017": refusedRegistration(map[string]any{"redirect_uris": "https://a.test/cb"}, map[string]any{"redirect_uris": map[string]string{"0": "https://a.test/cb"}}),
	"IY-050": refusedRegistration(
		map[string]any{"jwks": json.RawMessage(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}]}`)},
		map[string]any{"jwks": json.RawMessage(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)},
		map[string]any{"jwks": json.RawMessage(`{"keys":[]}`)},
	),
	"IY-051": refusedRegistration(
		map[string]any{"grant_types": []string{"client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"}},
		map[string]any{"grant_types": []string{"authorization_code", "client_credentials"}},
		map[string]any{"grant_types": []string{"authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"}},
		map[string]any{"grant_types": []string{"password"}}, map[string]any{"grant_types": []string{"implicit"}},
	),
	"IY-052": refusedRegistration(map[string]any{"token_endpoint_auth_method": "none", "grant_types": []string{"client_credentials"}}),
	"IY-054": func(a *attempt) {
		e := a.enrol(clientMetadata(map[string]any{
			"skip_consent": true, "trusted": true, "is_admin": true, "client_id": "web", "client_secret": "x", "enabled": true,
			"pkce_optional": true, "impersonation": true, "refresh_token_always": true, "declared": true, "client_type": "public", "resources": []string{"https://admin.test"},
		}))
		a.judge(e)
		a.must(e)
		id, secret := e.member(a.T, "client_id"), e.member(a.T, "client_secret")
		if id == "web" || secret == "x" || len(secret) < 32 {
			a.Errorf("the client chose its id or secret: %s", e.body)
		}
		kept := a.adminCall("GET", "/oauth/clients/"+id, nil).body
		for _, flag := range []string{"pkce_optional", "impersonation", "refresh_token_always", "https://admin.test", `"declared":true`} {
			if strings.Contains(kept, flag) {
				a.Errorf("the client has %s: %s", flag, kept)
			}
		}
		v := a.visitor("alice").signedIn()
		v.open("/authorize?" + authorizationRequest(id, "scope=openid").Encode())
		if !v.shows("allow") {
			a.Errorf("want the consent page: %d %s", v.shown.StatusCode, v.shown.body)
		}
		if e := a.post("/introspect", url.Values{"token": {"x"}}, basic("web", "x")); e.StatusCode != 401 {
			a.Errorf("web has the secret x now: %d", e.StatusCode)
		}
	},
	"IY-055": func(a *attempt) {
		subject := a.visitor("alice").subject()
		e := a.enrol(clientMetadata(map[string]any{"client_id": subject, "client_name": subject}))
		a.judge(e)
		if e.StatusCode == 201 && (e.member(a.T, "client_id") == subject || strings.Contains(e.member(a.T, "client_id"), ":")) {
			a.Errorf("the client has the id of a person: %s", e.body)
		}
	},
	"IY-057": func(a *attempt) {
		none := b64u(`{"alg":"none"}`) + "." + b64u(`{"software_id":"4NRB1-0XZABZI9E6-5SM3R","redirect_uris":["https://evil.test/cb"]}`) + "."
		foreign := a.keys.good.sign(a.keys.good.header(map[string]any{"typ": "JWT"}), goodClaims("https://good.test", map[string]any{"software_id": "x"}))
		own := issuerKey(a.T, siteURL)
		for _, statement := range []any{none, foreign, own.sign(own.header(nil), goodClaims(siteURL, nil)), "", 1, []string{none}} {
			a.judge(a.enrol(clientMetadata(map[string]any{"software_statement": statement})))
		}
		a.registeredNone()
	},
	"IY-060": func(a *attempt) {
		client := a.registered(clientMetadata(nil))
		other := a.registered(clientMetadata(nil))
		for _, change := range []map[string]any{
			{"client_id": other.id}, {"client_id": "web"}, {}, {"client_id": client.id, "client_secret": "chosen"}, {"client_id": client.id, "client_secret": other.secret},
			{"client_id": client.id, "registration_access_token": "chosen"}, {"client_id": client.id, "token_endpoint_auth_method": "none"},
			{"client_id": client.id, "grant_types": []string{"client_credentials"}},
		} {
			a.judge(a.toIssuer("PUT", "/register/"+client.id, clientMetadata(change), jsonType, bearer(client.manage)))
		}
		if e := a.toIssuer("PUT", "/register/"+other.id, clientMetadata(map[string]any{"client_id": other.id}), jsonType, bearer(client.manage)); e.StatusCode != 401 {
			a.Errorf("with the token of another client: %d", e.StatusCode)
		}
		if e := a.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, basic(client.id, client.secret)); e.StatusCode != 400 {
			a.Errorf("the secret is another one now: %d %s", e.StatusCode, e.body)
		}
	},
	"IY-061": func(a *attempt) {
		client := a.registered(clientMetadata(map[string]any{
			"scope": "openid offline_access read", "grant_types": []string{"authorization_code", "refresh_token"},
		}))
		v := a.visitor("alice")
		redeem := func() exchange {
			code := v.code(client.id, "scope=openid offline_access read")
			form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier}}
			return a.must(a.post("/token", form, basic(client.id, client.secret)))
		}
		tokens := redeem()
		access, refresh := a.secret(tokens, "access_token"), a.secret(tokens, "refresh_token")
		if !a.active(access) || a.toGate("GET", "/api/a", bearer(access)).StatusCode != 200 {
			a.Fatal("the control: the token is not active")
		}
		a.backend.take()
		pending := v.code(client.id, "scope=openid offline_access read")
		a.judge(a.toIssuer("DELETE", "/register/"+client.id, "", bearer(client.manage)))
		if a.active(access) {
			a.Error("the access token is active")
		}
		if e := a.toGate("GET", "/api/a", bearer(access)); e.StatusCode != 401 {
			a.Errorf("the access token at the gate: %d", e.StatusCode)
		}
		for _, form := range []url.Values{
			{"grant_type": {"refresh_token"}, "refresh_token": {refresh}},
			{"grant_type": {"authorization_code"}, "code": {pending}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier}},
		} {
			if e := a.post("/token", form, basic(client.id, client.secret)); e.StatusCode != 401 {
				a.Errorf("%s: %d %s", form.Get("grant_type"), e.StatusCode, e.body)
			}
		}
		for _, method := range []string{"GET", "DELETE"} {
			if e := a.toIssuer(method, "/register/"+client.id, "", bearer(client.manage)); e.StatusCode != 401 {
				a.Errorf("%s: %d %s", method, e.StatusCode, e.body)
			}
		}
	},
	"IY-062": func(a *attempt) {
		const unused = 200
		a.withIssuer("/flooded", "registration open {\nunused 200\n}")
		size := a.storageSize()
		// By what is free for each address, and then by what there may be at all.
		statuses := flood(a, "/flooded/register", 1, 200)
		if statuses[201] != 20 || statuses[429] != 180 {
			a.Errorf("from one address: %v, want 20 clients", statuses)
		}
		statuses = flood(a, "/flooded/register", 100, 100)
		if statuses[201] != unused-20 || statuses[429] != 100*100-(unused-20) {
			a.Errorf("from 100 addresses: %v, want %d clients", statuses, unused-20)
		}
		e := a.toIssuer("POST", "/flooded/register", clientMetadata(map[string]any{"scope": nil}), jsonType)
		a.judge(e)
		if e.StatusCode != 429 || e.Header.Get("Retry-After") == "" {
			a.Errorf("the next one: %d, Retry-After %q", e.StatusCode, e.Header.Get("Retry-After"))
		}
		if grown := a.storageSize() - size; grown > 4<<20 {
			a.Errorf("the storage has grown by %d bytes", grown)
		}
	},
	"IY-063": func(a *attempt) {
		good := clientMetadata(nil)
		for _, body := range []string{
			`{"redirect_uris":["https://app.test/cb"],"redirect_uris":["https://evil.test/cb"]}`,
			`{"redirect_uris":["https://app.test/cb"],"redirect\u005furis":["https://evil.test/cb"]}`,
			`{"redirect_uris":["https://app.test/cb"],"client_name":1}`, `{"redirect_uris":["https://app.test/cb"],"scope":["openid"]}`,
			`{"redirect_uris":["https://app.test/cb"],"grant_types":"authorization_code"}`, `{"redirect_uris":["https://app.test/cb",null]}`,
			`{"redirect_uris":[["https://app.test/cb"]]}`, `{"redirect_uris":{"a":"https://app.test/cb"}}`,
			nested(10_000), good + good, good + "x", good[:len(good)-1], "\ufeff" + good, "[" + good + "]", `"` + "text" + `"`, "null", "",
			`{"redirect_uris":["https://app.test/cb"],}`, `{'redirect_uris':["https://app.test/cb"]}`, "{\"redirect_uris\":[\"https://app.test/cb\"],\"client_name\":\"\xff\"}",
		} {
			a.judge(a.enrol(body))
		}
		for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/jsonp", ""} {
			a.judge(a.toIssuer("POST", "/register", good, "Content-Type: "+contentType))
		}
		a.judge(a.toIssuer("POST", "/register", good), a.enrol(good, "Content-Encoding: gzip"), a.enrol(good, jsonType))
		a.judge(a.enrol(`{"redirect_uris":["https://app.test/cb"],"x":"` + strings.Repeat("a", 10<<20) + `"}`))
		a.registeredNone()
	},
	"IY-064": func(a *attempt) {
		client := a.registered(clientMetadata(nil))
		for range 2 {
			e := a.toIssuer("GET", "/register/"+client.id, "", bearer(client.manage))
			a.judge(e)
			if strings.Contains(e.body, client.secret) || e.has("client_secret") || !strings.Contains(e.Header.Get("Cache-Control"), "no-store") {
				a.Errorf("Cache-Control %q: %s", e.Header.Get("Cache-Control"), e.body)
			}
		}
		updated := a.toIssuer("PUT", "/register/"+client.id, clientMetadata(map[string]any{"client_id": client.id}), jsonType, bearer(client.manage))
		a.judge(updated)
		if strings.Contains(updated.body, client.secret) {
			a.Errorf("the secret is shown again: %s", updated.body)
		}
	},
}
