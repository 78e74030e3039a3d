package clients

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

// FuzzRedirectURI holds two readers against each other. What may be registered
// names, for net/url and for a browser, one and the same scheme, host and port;
// and what is accepted of a request is what was registered, byte for byte, or
// differs from it in the port of a loopback host (RFC 9700 §2.1, RFC 8252 §7.3).
func FuzzRedirectURI(f *testing.F) {
	registered := []string{
		"https://app.test/cb", "https://app.test", "https://app.test:8443/cb?tenant=1", "https://[2001:db8::1]/cb", "http://127.0.0.1/cb", "http://127.0.0.1:8080/cb?x=1",
		"http://[::1]:8080/cb", "http://localhost/", "http://a.localhost/cb", "com.example.app:/cb", "com.example.app:cb", "https://app.test/a/../b", "https://app.test?x", "http://127.0.0.1:/cb",
		"https://%61pp.test/cb", "https://%e2%93%90pp.test/cb", "https://0x7f.1/cb", "https://127.1/cb", "https://0177.0.0.1/cb", "https://127.0.0.1./cb", "https://2130706433/cb", "https://[0:0::1]/cb", "https://1.2.3.4.5/cb", "https://app.test:0443/cb", "https:\t//app.test/", `https://app.test\@evil.test/`,
		"https://a@app.test/", "https:///app.test/", "https:app.test", "a.b://c", "java\nscript.x:alert(1)", "http://[::ffff:127.0.0.1]/cb", "https://app.test/;x@y:z",
		"https://[fe80::1%25eth0]/cb", "https://app.test:443/cb", "https://app..test/cb", "https://-/cb", "https://a_b/cb",
	}
	for _, r := range registered {
		f.Add(r, r)
		f.Add(r, strings.Replace(r, "127.0.0.1", "127.0.0.1:4000", 1))
		f.Add("http://127.0.0.1/cb", r)
	}
	for _, asked := range []string{"http://127.0.0.1:2019/cb", "http://127.0.0.1:1@evil.test/cb", "http://127.0.0.1:00/cb", "http://[::1]:1:2/cb", "http://127.0.0.1:1?/cb", "http://127.0.0.1/cb#"} {
		f.Add("http://127.0.0.1/cb", asked)
	}
	f.Fuzz(func(t *testing.T, registered, asked string) {
		if ValidateRedirectURI(registered) != nil {
			return
		}
		u, err := url.Parse(registered)
		if err != nil {
			t.Fatalf("%q is registered, and net/url says %v", registered, err)
		}
		b := readAsBrowser(registered)
		switch {
		case b.scheme != u.Scheme:
			t.Errorf("%q: net/url reads the scheme %s, a browser %s", registered, u.Scheme, b.scheme)
		case b.special && !b.nowhere && (b.host != asBrowserHost(u.Hostname()) || b.port != u.Port() || b.user):
			t.Errorf("%q: net/url reads host %s and port %q, a browser %+v", registered, u.Hostname(), u.Port(), b)
		}
		client := &Client{Metadata: Metadata{RedirectURIs: []string{registered}}}
		proven, err := client.ProvenRedirectURI(asked, true)
		if err != nil || asked == registered && proven == asked {
			return
		}
		if proven != asked {
			t.Fatalf("asked for %q, proven %q", asked, proven)
		}
		was, is := readAsBrowser(registered), readAsBrowser(asked)
		was.port, is.port = "", ""
		if is != was || was.scheme != "http" || !IsLoopback(was.host) {
			t.Errorf("registered %q, accepted %q: a browser goes to %+v instead of %+v", registered, asked, is, was)
		}
	})
}

// browserURL is how a browser reads a URI.
type browserURL struct {
	scheme, host, port, rest string
	special, user            bool // user: credentials before the host
	nowhere                  bool // no URL for a browser
}

// readAsBrowser reads a URI as the URL standard (WHATWG) tells browsers to, as far
// as it decides where a request goes: white space at the ends and control
// characters go, a backslash is a slash, any number of slashes is two, and the
// host ends at the first slash, question mark or hash.
func readAsBrowser(uri string) (b browserURL) {
	uri = strings.TrimFunc(uri, func(r rune) bool { return r <= 0x20 })
	uri = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(uri)
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return b
	}
	b.scheme, b.rest = strings.ToLower(scheme), rest
	b.special = b.scheme == "http" || b.scheme == "https"
	if !b.special {
		return b
	}
	rest = strings.TrimLeft(rest, `/\`)
	authority := rest
	b.rest = ""
	if n := strings.IndexAny(rest, `/\?#`); n >= 0 {
		authority, b.rest = rest[:n], rest[n:]
	}
	if n := strings.LastIndexByte(authority, '@'); n >= 0 {
		authority, b.user = authority[n+1:], true
	}
	b.host = authority
	if n := strings.LastIndexByte(authority, ':'); n > strings.LastIndexByte(authority, ']') {
		b.host, b.port = authority[:n], authority[n+1:]
	}
	if !strings.HasPrefix(b.host, "[") {
		if b.host, b.nowhere = readHost(b.host); b.nowhere {
			return b
		}
	}
	b.host = asBrowserHost(strings.Trim(b.host, "[]"))
	return b
}

// readHost undoes percent-encoding, maps characters to those of domain names (ⓐ
// is a), and reads addresses in all their spellings.
func readHost(host string) (read string, nowhere bool) {
	unescaped, err := url.PathUnescape(host)
	if err != nil {
		return "", true
	}
	if unescaped, err = idna.New(idna.MapForLookup(), idna.StrictDomainName(false)).ToASCII(unescaped); err != nil || strings.ContainsAny(unescaped, "\x00\t\n\r #/:<>?@[\\]^|%") {
		return "", true
	}
	parts := strings.Split(strings.TrimSuffix(unescaped, "."), ".")
	if _, err := readNumber(parts[len(parts)-1]); err != nil {
		return unescaped, false
	}
	var address uint64
	for n, part := range parts {
		number, err := readNumber(part)
		if err != nil || len(parts) > 4 || n < len(parts)-1 && number > 255 || n == len(parts)-1 && number >= 1<<(8*(5-len(parts))) {
			return "", true
		}
		if n < len(parts)-1 {
			number <<= 8 * (3 - n)
		}
		address |= number
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}).String(), false
}

// readNumber reads a part of an IPv4 address as browsers do: 0x makes it
// hexadecimal, 0 octal.
func readNumber(part string) (uint64, error) {
	switch lower := strings.ToLower(part); {
	case lower == "0x":
		return 0, nil
	case strings.HasPrefix(lower, "0x"):
		return strconv.ParseUint(lower[2:], 16, 64)
	case len(part) > 1 && part[0] == '0':
		return strconv.ParseUint(part, 8, 64)
	}
	return strconv.ParseUint(part, 10, 64)
}

// asBrowserHost brings a host into the one form in which browsers keep it.
func asBrowserHost(host string) string {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.String()
	}
	return strings.ToLower(host)
}
