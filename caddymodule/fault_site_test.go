package caddymodule

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// faultCaddyfile is a server under faults: refresh tokens are used once, without
// grace, so that whatever is used twice shows.
const faultCaddyfile = `{
	oauth {
		$STORAGE
		issuer $ISSUER {
			scope read "Read"
			default_resource $ISSUER/api
			refresh_token_grace off
			client web {
				secret_hash $HASH
				grant authorization_code refresh_token client_credentials urn:ietf:params:oauth:grant-type:device_code
				redirect_uri https://app.test/cb
				scope openid offline_access read
			}
		}
	}
}

$GATE {
	oauth_issuer $ISSUER
	oauth_protect /api/* {
		issuer $ISSUER
		resource $ISSUER/api
		scope * read
	}
	respond /api/* ok
}
`

// scaled is how often something is done: as often as the figures of docs/faults.md
// ask for with ./xcaddy.sh test --all, else just often enough to see it work.
func scaled(short, long int) int {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return short
	}
	return long
}

// faultSite is an issuer on one node or several, whose clients go through faults.
type faultSite struct {
	t      testing.TB
	nodes  []*server
	text   string  // the Caddyfile of each node
	person *person // signed in on the first node; has consented to all that is asked

	client       *http.Client
	turn         atomic.Uint64
	acknowledged atomic.Int64 // exchanges and revocations that were answered with 200
	double, lost atomic.Int64 // what must be 0
	refused      atomic.Int64 // answers 503
}

// newFaultSite makes a site whose nodes do not run yet. storage is the directive
// of the Caddyfile, or empty for the default.
func newFaultSite(t testing.TB, nodes int, storage string) *faultSite {
	t.Helper()
	s := &faultSite{t: t}
	for range nodes {
		s.nodes = append(s.nodes, newServer(t, ""))
	}
	s.text = strings.NewReplacer("$STORAGE", storage, "$ISSUER", s.nodes[0].url).Replace(faultCaddyfile)
	transport := &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// enter makes the person known, signs them in and has them consent.
func (s *faultSite) enter() {
	s.t.Helper()
	s.person = s.nodes[0].person()
	codeOf(s.nodes[0], s.person, "openid offline_access read")
}

// ask makes a request on a connection that is kept.
func (s *faultSite) ask(method, address, body string, headers ...string) (answer, error) {
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body == "" {
		request.Body, request.GetBody = nil, nil
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header[name] = append(request.Header[name], value)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	a, err := read(response)
	if err == nil && a.StatusCode == http.StatusServiceUnavailable {
		s.refused.Add(1)
	}
	return a, err
}

// node is one of the nodes, in turn.
func (s *faultSite) node() *server { return s.nodes[s.turn.Add(1)%uint64(len(s.nodes))] }

// post sends a form as the client does.
func (s *faultSite) post(path string, form url.Values) (answer, error) {
	return s.ask("POST", s.node().url+path, form.Encode(), basic("web", appSecret), formType)
}

// gate shows an access token to the gate of a node.
func (s *faultSite) gate(node *server, token string) int {
	a, err := s.ask("GET", node.url+"/api/x", "", bearer(token))
	if err != nil {
		s.t.Error(err)
		return 0
	}
	return a.StatusCode
}

// code gets an authorization code; the person is signed in and has consented.
// The error is io.EOF where the server did not give one.
func (s *faultSite) code() (string, error) {
	first := s.nodes[0].url
	at, err := url.Parse(first)
	if err != nil {
		return "", err
	}
	var cookies []string
	for _, c := range s.person.browser.Jar.Cookies(at) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	a, err := s.ask("GET", first+"/authorize?"+authorizationRequest("web", "scope=openid offline_access read").Encode(), "", "Cookie: "+strings.Join(cookies, "; "))
	if err != nil {
		return "", err
	}
	back, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	code := back.Query().Get("code")
	if code == "" {
		if a.StatusCode != http.StatusServiceUnavailable && back.Query().Get("error") != "temporarily_unavailable" {
			s.t.Errorf("no code: %d %s", a.StatusCode, a.Header.Get("Location"))
		}
		return "", io.EOF
	}
	return code, nil
}

// devices are device codes to which the person has agreed.
func (s *faultSite) devices(n int) []string {
	s.t.Helper()
	codes := make([]string, n)
	for i := range codes {
		a, err := s.post("/device-authorization", url.Values{"scope": {"openid offline_access read"}})
		if err != nil {
			s.t.Fatal(err)
		}
		a.want(s.t, http.StatusOK)
		codes[i] = a.member(s.t, "device_code")
		first := s.nodes[0].url
		s.person.open(first + "/device")
		s.person.press(first+"/device", "continue", "user_code", a.member(s.t, "user_code"))
		s.person.press(first+"/device", "allow")
	}
	return codes
}
