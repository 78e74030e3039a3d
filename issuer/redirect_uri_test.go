package issuer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// Which redirect URIs a client may be registered with.
func TestRegisteredRedirectURI(t *testing.T) {
	for _, test := range []struct {
		uri, must string
		ok        bool
	}{
		{"https://app.test/cb", "https", true},
		{"https://app.test", "https without a path", true},
		{"https://app.test:8443/cb?tenant=1", "a query is allowed (RFC 6749 section 3.1.2)", true},
		{"https://[2001:db8::1]/cb", "IPv6", true},
		{"http://127.0.0.1/cb", "loopback (RFC 8252 section 7.3)", true},
		{"http://127.0.0.1:8080/cb", "loopback", true},
		{"http://[::1]/cb", "loopback", true},
		{"http://localhost/cb", "loopback by name: not recommended, not forbidden (RFC 8252 section 8.3)", true},
		{"com.example.app:/cb", "private-use scheme (RFC 8252 section 7.1)", true},

		{"", "absolute URI (RFC 6749 section 3.1.2)", false},
		{"/cb", "absolute URI", false},
		{"//app.test/cb", "absolute URI", false},
		{"https:///cb", "a host", false},
		{"https:app.test/cb", "a host", false},
		{"https://app.test/cb#frag", "MUST NOT include a fragment (RFC 6749 section 3.1.2)", false},
		{"https://app.test/cb#", "MUST NOT include a fragment, an empty one too", false},
		{"https://*.app.test/cb", "no wildcards (RFC 9700 section 2.1)", false},
		{"https://app.test/*", "no wildcards", false},
		{"https://user@app.test/cb", "no credentials", false},
		{"https://user:pw@app.test/cb", "no credentials", false},
		{"https://app.test\\@evil.test/cb", "no backslash", false},
		{"https://app.test/c b", "no space", false},
		{"https://app.test/cb\r\nX: y", "no line ends", false},
		{"https://аpp.test/cb", "ASCII only: Cyrillic a", false},
		{"https://app.test/\"<script>", "no markup", false},
		{"http://app.test/cb", "https, or a loopback host (RFC 9700 section 2.6)", false},
		{"http://127.0.0.1.evil.test/cb", "loopback is not a prefix", false},
		{"http://evil.test/127.0.0.1", "loopback is not a path", false},
		{"javascript:alert(1)", "no scheme that runs", false},
		{"JaVaScRiPt:alert(1)", "no scheme that runs", false},
		{"data:text/html,x", "no scheme that runs", false},
		{"vbscript:x", "no scheme that runs", false},
		{"about:blank", "no scheme that runs", false},
		{"file:///etc/passwd", "no scheme of the system", false},
		{"myapp:/cb", "a private-use scheme is a reversed domain (RFC 8252 section 7.1)", false},
		{"com.example.app://cb", "a private-use scheme has no authority (RFC 8252 section 7.1)", false},
	} {
		if err := clients.ValidateRedirectURI(test.uri); (err == nil) != test.ok {
			t.Errorf("%q: error %v: %s", test.uri, err, test.must)
		}
	}
}

// redirectAttacks are spellings of https://app.test/cb that some parser takes
// for it. None is it, character for character (RFC 9700 §2.1: MUST be exact).
var redirectAttacks = map[string]string{
	"trailing slash": "https://app.test/cb/", "scheme case": "HTTPS://app.test/cb", "host case": "https://APP.test/cb", "path case": "https://app.test/CB",
	"default port": "https://app.test:443/cb", "other port": "https://app.test:8443/cb", "empty port": "https://app.test:/cb", "http": "http://app.test/cb",
	"extra query": "https://app.test/cb?x=1", "empty query": "https://app.test/cb?", "ampersand": "https://app.test/cb&x=1",
	"fragment": "https://app.test/cb#frag", "empty fragment": "https://app.test/cb#",
	"dot segments": "https://app.test/cb/../evil", "dot": "https://app.test/./cb", "semicolon": "https://app.test/cb/..;/evil",
	"encoded slash": "https://app.test/cb%2f..%2fevil", "encoded dots": "https://app.test/cb/%2e%2e/evil", "double encoding": "https://app.test/%2563b",
	"encoded letter": "https://app.test/%63b", "CRLF": "https://app.test/cb%0d%0aSet-Cookie:a=b", "raw CRLF": "https://app.test/cb\r\nSet-Cookie:a=b",
	"zero byte": "https://app.test/cb\x00", "leading space": " https://app.test/cb", "trailing space": "https://app.test/cb ", "tab": "https://app.test\t/cb",
	"trailing dot": "https://app.test./cb", "suffix host": "https://app.test.evil.test/cb", "prefix host": "https://evilapp.test/cb", "hyphen": "https://evil-app.test/cb",
	"subdomain": "https://sub.app.test/cb", "parent": "https://test/cb", "userinfo": "https://app.test@evil.test/cb", "password": "https://app.test:pw@evil.test/cb",
	"two at": "https://a@b@evil.test/cb", "userinfo before": "https://evil@app.test/cb", "query before at": "https://evil.test?@app.test/cb",
	"fragment before at": "https://evil.test#@app.test/cb", "backslash at": `https://evil.test\@app.test/cb`, "backslashes": `https:\\app.test\cb`,
	"no slashes": "https:app.test/cb", "one slash": "https:/evil.test/cb", "three slashes": "https:///evil.test/cb", "scheme-relative": "//app.test/cb",
	"path": "/cb", "bare path": "cb", "other": "https://evil.test/cb", "in a path": "https://evil.test/https://app.test/cb",
	"in a query": "https://evil.test/?https://app.test/cb", "Cyrillic a": "https://аpp.test/cb", "punycode": "https://xn--pp-6kc.test/cb",
	"ideographic stop": "https://app。test/cb", "fullwidth slash": "https://app.test／cb", "circled a": "https://ⓐpp.test/cb",
	"IPv4 in IPv6": "https://[::ffff:1.2.3.4]/cb", "decimal IP": "https://2130706433/cb", "javascript": "JaVaScRiPt:alert(1)", "javascript comment": "javascript://app.test/cb%0aalert(1)",
	"data": "data:text/html,<script>1</script>", "vbscript": "vbscript:x", "file": "file:///cb", "about": "about:blank", "blob": "blob:https://app.test/cb",
	"wildcard": "https://*.test/cb", "wildcard path": "https://app.test/*", "appended": "https://app.test/cb https://evil.test/", "invisible": "https://app.test/cb\u200b",
}

// nativeAttacks: for http://127.0.0.1/cb the port is free and nothing else (RFC
// 8252 §7.3).
var nativeAttacks = map[string]string{
	"other path": "http://127.0.0.1:51234/other", "query": "http://127.0.0.1:51234/cb?x=1", "fragment": "http://127.0.0.1:51234/cb#x", "empty query": "http://127.0.0.1:51234/cb?",
	"port zero": "http://127.0.0.1:0/cb", "port too large": "http://127.0.0.1:99999/cb", "empty port": "http://127.0.0.1:/cb", "leading zero": "http://127.0.0.1:080/cb",
	"signed port": "http://127.0.0.1:+80/cb", "negative port": "http://127.0.0.1:-80/cb", "port with letters": "http://127.0.0.1:80a/cb", "two ports": "http://127.0.0.1:80:81/cb",
	"short form": "http://127.1:51234/cb", "other loopback": "http://127.0.0.2:51234/cb", "octal": "http://0177.0.0.1:51234/cb", "decimal": "http://2130706433:51234/cb",
	"all addresses": "http://0.0.0.0:51234/cb", "IPv6": "http://[::1]:51234/cb", "name": "http://localhost:51234/cb", "https": "https://127.0.0.1:51234/cb",
	"scheme case": "HTTP://127.0.0.1:51234/cb", "userinfo": "http://127.0.0.1:51234@evil.test/cb", "userinfo before": "http://evil@127.0.0.1:51234/cb",
	"suffix host": "http://127.0.0.1.evil.test:51234/cb", "backslash": `http://127.0.0.1:51234\@evil.test/cb`, "zero byte": "http://127.0.0.1:51234\x00/cb",
	"private-use with authority": "com.example.app://cb", "private-use scheme longer": "com.example.app2:/cb", "private-use case": "COM.example.app:/cb", "private-use path": "com.example.app:/cb/x",
}

func TestRedirectURIIsExact(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	v.code() // consented: a redirect would carry a code
	refused := func(client string, attacks map[string]string) {
		for name, uri := range attacks {
			for _, prompt := range []string{"", "none"} {
				t.Run(client+" "+name, func(t *testing.T) {
					v.t = t
					p := v.authorize(authorization("client_id", client, "redirect_uri", uri, "prompt", prompt))
					p.expectStatus(http.StatusBadRequest, "RFC 9700 section 2.1: redirect URIs MUST be compared exactly")
					if p.Header().Get("Location") != "" || strings.Contains(p.Body.String(), `href="`+uri) || len(p.forms) > 0 {
						t.Errorf("the page sends on: %v %s", p.Header(), p.Body)
					}
				})
			}
		}
	}
	refused("web", redirectAttacks)
	refused("native", nativeAttacks)
}

func TestLoopbackPortIsFree(t *testing.T) {
	f := newFixture(t, withPeople)
	v := f.signedIn(f.person(fixtureProfile))
	for _, uri := range []string{"http://127.0.0.1/cb", "http://127.0.0.1:51234/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "com.example.app:/cb"} {
		code := v.code("client_id", "native", "redirect_uri", uri)
		form := redeemForm(code, "redirect_uri", uri, "client_id", "native")
		expect(t, f.post("/token", form), http.StatusOK, "")
	}
	code := v.code("client_id", "native", "redirect_uri", "http://127.0.0.1:5001/cb")
	w := f.post("/token", redeemForm(code, "redirect_uri", "http://127.0.0.1:5002/cb", "client_id", "native"))
	expect(t, w, http.StatusBadRequest, oauth.InvalidGrant) // RFC 6749 section 4.1.3: MUST be identical to that of the request
}

// FuzzRedirectURI: what is accepted is one that is registered, byte for byte,
// but for the digits of a loopback port.
func FuzzRedirectURI(f *testing.F) {
	for _, uri := range redirectAttacks {
		f.Add(uri)
	}
	for _, uri := range nativeAttacks {
		f.Add(uri)
	}
	registered := []string{"https://app.test/cb", "http://127.0.0.1/cb", "http://[::1]:8080/cb?x=1", "com.example.app:/cb"}
	for _, uri := range registered {
		f.Add(uri)
	}
	client := &clients.Client{Metadata: clients.Metadata{RedirectURIs: registered}}
	f.Fuzz(func(t *testing.T, uri string) {
		proven, err := client.ProvenRedirectURI(uri, true)
		if err != nil {
			return
		}
		if proven != uri {
			t.Fatalf("asked for %q, proven %q", uri, proven)
		}
		for _, r := range registered {
			if uri == r {
				return
			}
		}
		for _, around := range [][2]string{{"http://127.0.0.1", "/cb"}, {"http://[::1]", "/cb?x=1"}} {
			rest, before := strings.CutPrefix(uri, around[0])
			port, after := strings.CutSuffix(rest, around[1])
			if before && after && (port == "" || port[0] == ':' && strings.Trim(port[1:], "0123456789") == "" && len(port) > 1) {
				return
			}
		}
		t.Fatalf("%q is accepted and not registered", uri)
	})
}
