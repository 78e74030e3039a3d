package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// weight is what a server holds.
type weight struct{ goroutines, descriptors, memory int } // memory in bytes

// What a server may hold after the last reload beyond what it held before the first.
var heavier = weight{goroutines: 10, descriptors: 10, memory: 16 << 20}

var (
	goroutineTotal = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	heapInUse      = regexp.MustCompile(`# HeapInuse = (\d+)`)
)

// weigh asks a server, after a garbage collection, and the system.
func (p *process) weigh() (w weight) {
	p.t.Helper()
	number := func(path string, pattern *regexp.Regexp) int {
		a := p.send("GET", "http://"+p.admin+"/debug/pprof/"+path, "")
		found := pattern.FindStringSubmatch(a.body)
		if found == nil {
			p.t.Fatalf("no %s in %.200s", pattern, a.body)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
	w.memory = number("heap?gc=1&debug=1", heapInUse)
	w.goroutines = number("goroutine?debug=1", goroutineTotal)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	w.descriptors = len(open)
	return w
}

// steadyLoad is 300 requests a second, as far as the machine can: tokens at the
// gate, good and revoked, new tokens, a chain of refresh tokens, and polls of a
// device. Each answer has one right status.
type steadyLoad struct {
	*faultSite
	group          sync.WaitGroup
	stop           chan struct{}
	answered       atomic.Int64
	wrong, cutOffs atomic.Int64
	begun          time.Time
}

func (s *faultSite) steadyLoad(p *server) *steadyLoad {
	s.t.Helper()
	l := &steadyLoad{faultSite: s, stop: make(chan struct{}), begun: time.Now()}
	good, revoked := s.accessToken(p), s.accessToken(p)
	p.send("POST", "/revoke", url.Values{"token": {revoked}}.Encode(), basic("web", appSecret), formType).want(s.t, 200)
	code, err := s.code()
	if err != nil {
		s.t.Fatal(err)
	}
	refresh := s.begin(artefact{"authorization_code", code}, 0).refresh
	form := func(f url.Values) func() (answer, error) {
		return func() (answer, error) {
			return p.try("POST", "/token", f.Encode(), basic("web", appSecret), formType)
		}
	}
	// GETs on connections that are kept, the others on new ones: whether a POST on a
	// kept connection was carried out before that was closed, its client cannot tell.
	gate := func(token string) func() (answer, error) {
		return func() (answer, error) { return s.ask("GET", p.url+"/api/x", "", bearer(token)) }
	}
	for _, kind := range []struct {
		rate, status int // of each second; expected
		ask          func() (answer, error)
	}{
		{100, 200, gate(good)},
		{100, 401, gate(revoked)},
		{50, 200, form(url.Values{"grant_type": {"client_credentials"}})},
		{20, 400, form(url.Values{"grant_type": {deviceGrant}, "device_code": {s.undecidedDevice(p)}})},
		{30, 200, func() (answer, error) {
			a, err := form(artefact{"refresh_token", refresh}.form())()
			if err == nil && a.StatusCode == 200 {
				refresh = a.member(s.t, "refresh_token")
			}
			return a, err
		}},
	} {
		l.group.Go(func() { l.keepAsking(kind.rate, kind.status, kind.ask) })
	}
	return l
}

func (s *faultSite) undecidedDevice(p *server) string {
	s.t.Helper()
	a := p.send("POST", "/device-authorization", "scope=read", basic("web", appSecret), formType)
	a.want(s.t, 200)
	return a.member(s.t, "device_code")
}

func (l *steadyLoad) keepAsking(rate, status int, ask func() (answer, error)) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		switch a, err := ask(); {
		case cutOff(err):
			l.cutOffs.Add(1)
		case err != nil:
			l.wrong.Add(1)
			l.t.Error(err)
		case a.StatusCode != status:
			l.wrong.Add(1)
			l.t.Errorf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
			return
		default:
			l.answered.Add(1)
		}
	}
}

// more waits until some more requests were answered.
func (l *steadyLoad) more(n int64) {
	enough := l.answered.Load() + n
	eventually(l.t, "requests come between reloads", func() bool { return l.answered.Load() >= enough || l.t.Failed() })
}

// end stops the load and says what came of it.
func (l *steadyLoad) end() string {
	close(l.stop)
	l.group.Wait()
	l.client.CloseIdleConnections()
	rate := float64(l.answered.Load()) / time.Since(l.begun).Seconds()
	if l.cutOffs.Load()*10 > l.answered.Load() {
		l.t.Errorf("%d connections were cut off, for %d answers", l.cutOffs.Load(), l.answered.Load())
	}
	return fmt.Sprintf("%d requests at %.0f/s, %d answered wrongly, %d new connections cut off in a handover", l.answered.Load(), rate, l.wrong.Load(), l.cutOffs.Load())
}

// backTo judges that the server comes to hold no more than before.
func (p *process) backTo(before weight) string {
	p.t.Helper()
	now := p.weigh()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); now = p.weigh() {
		if now.goroutines <= before.goroutines+heavier.goroutines && now.descriptors <= before.descriptors+heavier.descriptors && now.memory <= before.memory+heavier.memory {
			return fmt.Sprintf("goroutines %d to %d, descriptors %d to %d, heap %.1f to %.1f MiB", before.goroutines, now.goroutines,
				before.descriptors, now.descriptors, float64(before.memory)/(1<<20), float64(now.memory)/(1<<20))
		}
	}
	p.t.Errorf("the server holds %+v, and held %+v", now, before)
	return ""
}

// reload replaces the configuration of a running server; the answer is Caddy's.
func (p *process) reload(caddyfile string) answer {
	p.t.Helper()
	adapted, err := adapt(p.caddyfile(caddyfile))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.send("POST", "http://"+p.admin+"/load", string(adapted), "Content-Type: application/json", "Cache-Control: must-revalidate")
}

// TestFaultReload: a server is reloaded under load, each time with another change.
// No request is answered wrongly, and nothing of an old configuration is left.
func TestFaultReload(t *testing.T) {
	site := newFaultSite(t, 1, "")
	p := site.nodes[0].serve(site.text)
	p.reloaded = true // new connections may be cut off while a listener is handed over
	site.enter()
	variants := [][2]string{
		{"", ""},
		{`scope read "Read"`, `scope read "Look"`},
		{"refresh_token_grace off", "refresh_token_grace off\n\t\t\taccess_token_lifetime 10m"},
		{"resource $GATE/api", "resource $GATE/api\n\t\tstream_grace 1s"},
		{"refresh_token_grace off", "refresh_token_grace off\n\t\t\tclient other {\n\t\t\t\tsecret_hash $HASH\n\t\t\t\tgrant client_credentials\n\t\t\t\tscope read\n\t\t\t}"},
		{"level DEBUG", "level INFO"},
	}
	load := site.steadyLoad(p.server)
	reload := func(n int) {
		load.more(int64(scaled(90, 180)))
		v := variants[n%len(variants)]
		text := site.text
		if v[0] != "" {
			text = strings.Replace(text, v[0], v[1], 1)
		}
		p.reload(text).want(t, 200)
		if n%10 == 9 {
			p.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, 200)
		}
	}
	for n := range 2 {
		reload(n) // what is there once, and what the load itself takes
	}
	before := p.weigh()
	rounds := scaled(5, 100)
	for n := range rounds {
		reload(n)
	}
	said := load.end()
	t.Logf("%d reloads: %s; %s", rounds, said, p.backTo(before))
}

// TestFaultFailingReload: configurations that fail, each at another step, are
// loaded under load. The old one goes on, and nothing of the others is left.
func TestFaultFailingReload(t *testing.T) {
	site := newFaultSite(t, 1, "")
	p := site.nodes[0].serve(site.text)
	p.reloaded = true
	site.enter()
	foreign := filepath.Join(p.dir, "foreign")
	if err := os.WriteFile(foreign, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(p.dir, "locked")
	other, err := bolt.Open(locked, bolt.Options{}) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	adapted, err := adapt(p.caddyfile(site.text))
	if err != nil {
		t.Fatal(err)
	}
	var broken []string
	for _, change := range [][2]string{
		{"{", ""}, // no JSON
		{`"handler":"oauth_protect"`, `"handler":"oauth_protect","unknown":1`},
		{`"apps":{`, `"apps":{"oauth_nobody":{},`},
		{`"publish_metadata":true,"resource":"` + p.url, `"publish_metadata":true,"resource":"nowhere`},
		{`"apps":{`, `"apps":{"tls":{"certificates":{"load_files":[{"certificate":"/nowhere","key":"/nowhere"}]}},`},
		{`"oauth":{`, `"oauth":{"storage":{"module":"bolt","path":"` + foreign + `"},`},
		{`"oauth":{`, `"oauth":{"storage":{"module":"bolt","path":"` + locked + `"},`}, // waited for
	} {
		text := strings.Replace(string(adapted), change[0], change[1], 1)
		if text == string(adapted) {
			t.Fatalf("nothing to change: %s", change[0])
		}
		broken = append(broken, text)
	}
	load := site.steadyLoad(p.server)
	fail := func(n int) {
		load.more(int64(scaled(30, 60)))
		a := p.send("POST", "http://"+p.admin+"/load", broken[n%len(broken)], "Content-Type: application/json")
		if a.StatusCode/100 == 2 {
			t.Errorf("broken configuration %d loads", n%len(broken))
		}
	}
	for n := range len(broken) {
		fail(n)
	}
	before := p.weigh()
	rounds := scaled(3, 50)
	for n := range rounds {
		fail(n)
	}
	said := load.end()
	t.Logf("%d failing reloads: %s; %s", rounds, said, p.backTo(before))
	p.send("GET", "/.well-known/jwks.json", "").want(t, http.StatusOK)
}
