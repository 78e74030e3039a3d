package caddymodule

import (
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mixedLoadLasts is for how long TestMixedLoad goes on: as OAUTH_TEST_LOAD says
// ("30m"), or by default no longer than it takes to see it work.
func mixedLoadLasts(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OAUTH_TEST_LOAD")
	if text == "" {
		return time.Duration(scaled(1, 60)) * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("OAUTH_TEST_LOAD: ", err)
	}
	return d
}

// TestMixedLoad is everything at once, in this process, where the race detector
// sees it: all grants, the gate, garbage, revocations, reloads, new keys. Each
// answer is the one expected, what was acknowledged holds, and the process does not
// grow.
func TestMixedLoad(t *testing.T) {
	site := newFaultSite(t, 1, "")
	site.text = strings.Replace(site.text, "grant authorization_code", "grant urn:ietf:params:oauth:grant-type:token-exchange authorization_code", 1)
	node := site.nodes[0]
	startHere(t, node, site.text)
	node.reloaded = true // it will be
	site.enter()
	variants := [][2]string{
		{"", ""},
		{`scope read "Read"`, `scope read "Look"`},
		{"refresh_token_grace off", "refresh_token_grace off\n\t\t\taccess_token_lifetime 10m"},
		{"resource $GATE/api", "resource $GATE/api\n\t\tstream_grace 1s"},
	}
	load := site.steadyLoad(node)
	load.alsoMixed(node)
	end := time.Now().Add(mixedLoadLasts(t))
	rounds, reloads := 0, 0
	var devices []string // approved, and left over by the round before
	var before, after weight
	for ; rounds < 2 || time.Now().Before(end); rounds++ {
		if len(devices) == 0 {
			devices = site.devices(1)
		}
		chains := site.load(8, devices)
		for range 3 {
			load.more(100)
			v := variants[reloads%len(variants)]
			if err := node.load(strings.Replace(site.text, v[0], v[1], 1)); err != nil {
				t.Fatal("reload: ", err)
			}
			reloads++
		}
		node.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, http.StatusOK)
		chains.end()
		chains.judgeAll()
		if t.Failed() {
			break
		}
		devices = chains.devices
		if after = weighHere(); rounds == 1 {
			before = after // what is there once is there by now
		}
	}
	said := load.end()
	t.Logf("%d rounds, %d reloads: %s; %d exchanges acknowledged, %d good twice, %d lost; heap %d MiB after two rounds, %d MiB at the end, goroutines %d and %d",
		rounds, reloads, said, site.acknowledged.Load(), site.double.Load(), site.lost.Load(), before.memory>>20, after.memory>>20, before.goroutines, after.goroutines)
	if after.memory > before.memory+64<<20 || after.goroutines > before.goroutines+100 {
		t.Errorf("the process holds %+v, and held %+v", after, before)
	}
}

// alsoMixed adds what steadyLoad leaves out.
func (l *steadyLoad) alsoMixed(node *server) {
	l.t.Helper()
	code, err := l.code()
	if err != nil {
		l.t.Fatal(err)
	}
	token := l.begin(artefact{"authorization_code", code}, 0).access[0]
	post := func(path string, form url.Values, headers ...string) func() (answer, error) {
		return func() (answer, error) {
			return node.try("POST", path, form.Encode(), append(headers, formType)...)
		}
	}
	get := func(path string, headers ...string) func() (answer, error) {
		return func() (answer, error) { return l.ask("GET", node.url+path, "", headers...) }
	}
	garbage := 0
	for _, kind := range []struct {
		rate, status int // of each second; expected
		ask          func() (answer, error)
	}{
		{20, 200, post("/introspect", url.Values{"token": {token}}, basic("web", appSecret))},
		{20, 200, post("/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"actor_token":        {l.accessToken(node)}, "actor_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		}, basic("web", appSecret))},
		{10, 401, post("/token", url.Values{"grant_type": {"client_credentials"}}, basic("web", "wrong"))},
		{10, 400, post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {"nothing"}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {strings.Repeat("v", 43)}}, basic("web", appSecret))},
		{10, 200, get("/userinfo", bearer(token))},
		{10, 200, get("/.well-known/openid-configuration")},
		{10, 200, get("/.well-known/jwks.json")},
		{50, 401, func() (answer, error) {
			garbage++
			return get("/api/x", bearer(token[:len(token)-20]+strconv.Itoa(10_000_000+garbage)+"AAAAAAAAAAAA"))()
		}},
	} {
		l.group.Go(func() { l.keepAsking(kind.rate, kind.status, kind.ask) })
	}
}

// weighHere weighs this process, after a garbage collection.
func weighHere() weight {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return weight{goroutines: runtime.NumGoroutine(), memory: int(m.HeapInuse)}
}
