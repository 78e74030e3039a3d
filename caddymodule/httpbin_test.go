package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"golang.org/x/net/websocket"
	"golang.org/x/oauth2/clientcredentials"
)

// An API behind the gate is not to notice the gate, and neither is its client:
// what go-httpbin answers directly and through the built binary is compared.

const httpbinCaddyfile = `{
	oauth {
		issuer $GATE {
			scope bin
			client app {
				secret_hash $HASH
				grant client_credentials
				scope bin
				resource $GATE
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect {
		resource $GATE
		scope * bin
		$OPTION
	}
	reverse_proxy $BACKEND
}
`

// Fields of an answer that belong to the server that sends it, not to the API.
var serverFields = []string{"Date", "Server", "Via"}

// Fields of a request that a proxy adds and the gate sets. go-httpbin echoes
// requests, so it is not shown them.
var proxyFields = []string{
	"Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope",
}

// startHTTPBin runs go-httpbin, and /held, which sends its second part only when
// the first has arrived.
func startHTTPBin(t testing.TB) (server *httptest.Server, release chan struct{}) {
	release = make(chan struct{})
	mux := http.NewServeMux()
	bin := httpbin.New(httpbin.WithMaxBodySize(8 << 20))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, name := range proxyFields {
			r.Header.Del(name)
		}
		bin.ServeHTTP(w, r)
	})
	mux.HandleFunc("/held", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "second\n")
	})
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, release
}

func TestHTTPBin(t *testing.T) {
	bin, release := startHTTPBin(t)
	p := startProcess(t, strings.Replace(httpbinCaddyfile, "\n\t\t$OPTION", "", 1), bin.Listener.Addr().String())
	config := clientcredentials.Config{ClientID: "app", ClientSecret: appSecret, TokenURL: p.url + "/token", Scopes: []string{"bin"}}
	through, direct := config.Client(t.Context()), new(http.Client)
	for _, client := range []*http.Client{through, direct} {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		client.Timeout = 20 * time.Second
	}
	compare := func(t *testing.T, request binRequest) {
		want, got := request.send(t, direct, bin.URL, p.url), request.send(t, through, p.url, p.url)
		if got.StatusCode != want.StatusCode {
			t.Errorf("status %d, directly %d: %s", got.StatusCode, want.StatusCode, got.body)
		}
		if got.ContentLength != want.ContentLength || !slices.Equal(got.TransferEncoding, want.TransferEncoding) {
			t.Errorf("length %d %v, directly %d %v", got.ContentLength, got.TransferEncoding, want.ContentLength, want.TransferEncoding)
		}
		for _, name := range serverFields {
			got.Header.Del(name)
			want.Header.Del(name)
		}
		for what, pair := range map[string][2]string{
			"header":  {fmt.Sprint(got.Header), fmt.Sprint(want.Header)},
			"trailer": {fmt.Sprint(got.Trailer), fmt.Sprint(want.Trailer)},
			"body":    {got.body, want.body},
		} {
			if a, b := variable.ReplaceAllString(pair[0], ""), variable.ReplaceAllString(pair[1], ""); a != b {
				t.Errorf("%s\n%.2000s\ndirectly\n%.2000s", what, a, b)
			}
		}
	}
	for _, request := range binRequests() {
		t.Run(request.method+" "+request.path, func(t *testing.T) { compare(t, request) })
	}
	t.Run("answers are not held back", func(t *testing.T) {
		response, err := through.Get(p.url + "/held")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		first := make([]byte, len("first\n"))
		if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "first\n" {
			t.Fatalf("%q, %v", first, err)
		}
		close(release)
		if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "second\n" {
			t.Fatalf("%q, %v", rest, err)
		}
	})
	t.Run("websocket", func(t *testing.T) {
		token, err := config.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dial, err := websocket.NewConfig(strings.Replace(p.url, "http", "ws", 1)+"/websocket/echo", p.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := websocket.DialConfig(dial); err == nil {
			t.Error("a websocket opens without a token")
		}
		dial.Header.Set("Authorization", "Bearer "+token.AccessToken)
		socket, err := websocket.DialConfig(dial)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		for _, message := range []string{"hello", strings.Repeat("x", 5000)} {
			var back string
			if err := websocket.Message.Send(socket, message); err != nil {
				t.Fatal(err)
			}
			if err := websocket.Message.Receive(socket, &back); err != nil || back != message {
				t.Fatalf("%.20q, %v", back, err)
			}
		}
	})
	t.Run("tokens verify with another library", func(t *testing.T) {
		token, err := config.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		verifyElsewhere(t, p.server, token.AccessToken)
	})
}

// TestHTTPBinForwardToken: with forward_token the API gets the Authorization
// field as the client sent it.
func TestHTTPBinForwardToken(t *testing.T) {
	bin, _ := startHTTPBin(t)
	p := startProcess(t, strings.Replace(httpbinCaddyfile, "$OPTION", "forward_token", 1), bin.Listener.Addr().String())
	token := p.appToken()
	a := p.send("GET", "/bearer", "", bearer(token))
	a.want(t, 200)
	if got := a.member(t, "token"); got != token {
		t.Errorf("the API got %s", got)
	}
	// Not the gate's challenge but the API's own.
	a = p.send("GET", "/basic-auth/user/password", "", bearer(token))
	a.want(t, 401)
	contains(t, a.Header.Get("WWW-Authenticate"), `Basic realm="Fake Realm"`)
}

// binRequest is a request to go-httpbin.
type binRequest struct {
	method, path string
	body         []byte
	chunked      bool
	header       http.Header
}

func binRequests() []binRequest {
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // 1.6 MB
	text, form := http.Header{"Content-Type": {"text/plain"}}, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	requests := []binRequest{
		{method: "GET", path: "/range/1000", header: http.Header{"Range": {"bytes=10-19"}}},
		{method: "GET", path: "/range/1000", header: http.Header{"Range": {"bytes=5000-"}}},
		{method: "GET", path: "/etag/abc", header: http.Header{"If-None-Match": {`"abc"`}}},
		{method: "GET", path: "/cache", header: http.Header{"If-Modified-Since": {"Sat, 01 Jan 2022 00:00:00 GMT"}}},
		{method: "GET", path: "/cookies", header: http.Header{"Cookie": {"a=1; b=2"}}},
		{method: "GET", path: "/headers", header: http.Header{"X-Two": {"1", "2"}, "Accept-Language": {"fr, en;q=0.5"}, "User-Agent": {"test"}}},
		{method: "GET", path: "/gzip", header: http.Header{"Accept-Encoding": {"gzip"}}},
		{method: "GET", path: "/deflate", header: http.Header{"Accept-Encoding": {"deflate"}}},
		{method: "POST", path: "/post", body: big, header: text},
		{method: "POST", path: "/post", body: big, header: text, chunked: true},
		{method: "POST", path: "/post", body: []byte("a=1&b=2&a=3"), header: form},
		{method: "POST", path: "/post", body: []byte{}, header: text},
		{method: "PUT", path: "/put?q=%2F", body: []byte(`{"a": [1, 2]}`), header: http.Header{"Content-Type": {"application/json"}}},
		{method: "PATCH", path: "/patch", body: []byte("patch"), header: text},
		{method: "DELETE", path: "/delete", body: []byte("x"), header: text},
		{method: "POST", path: "/status/201", body: []byte("x"), header: text},
		{method: "HEAD", path: "/head"}, {method: "HEAD", path: "/bytes/2000?seed=1"}, {method: "OPTIONS", path: "/anything"},
		{method: "POST", path: "/get"},
	}
	for _, path := range []string{
		"/get?a=1&a=2&b=%20", "/anything/with/a/path?x=y", "/json", "/html", "/xml", "/robots.txt", "/encoding/utf8", "/image/png", "/deny", "/links/3/0",
		"/status/204", "/status/404", "/status/418", "/status/500", "/status/503", "/redirect/3", "/relative-redirect/2", "/absolute-redirect/2",
		"/redirect-to?url=%2Fget&status_code=307", "/cookies/set?a=b", "/cookies/delete?a=", "/response-headers?X-A=1&X-A=2&Content-Type=text/plain",
		"/cache/60", "/base64/aGVsbG8=", "/bytes/1500000?seed=1", "/stream-bytes/200000?seed=1&chunk_size=1000", "/stream/5", "/drip?duration=50ms&numbytes=5&delay=0",
		"/sse?count=3&duration=30ms&delay=0", "/delay/0.05", "/trailers?X-Sum=1&X-Other=two", "/basic-auth/user/password", "/digest-auth/auth/user/password",
		"/user-agent", "/nowhere", "/get/",
	} {
		requests = append(requests, binRequest{method: "GET", path: path})
	}
	return requests
}

// send sends the request to one of the two servers, naming the same host to
// both.
func (b binRequest) send(t *testing.T, client *http.Client, base, host string) answer {
	t.Helper()
	var body io.Reader
	if b.body != nil {
		body = bytes.NewReader(b.body)
		if b.chunked {
			body = io.NopCloser(body) // of unknown length
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), b.method, base+b.path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = strings.TrimPrefix(host, "http://")
	maps.Copy(request.Header, b.header)
	if request.Header.Get("Accept-Encoding") == "" {
		request.Header.Set("Accept-Encoding", "identity") // or the client would ask for gzip and undo it
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(text)}
}

// Times and random words differ from one request to the next.
var variable = regexp.MustCompile(`"timestamp":\s*\d+|nonce=\w+|opaque=\w+|dur=[0-9.]+`)

// verifyElsewhere verifies a token as a resource server does that shares no code
// with this one: metadata, JWKS, signature, claims.
func verifyElsewhere(t *testing.T, s *server, token string) {
	t.Helper()
	a := s.send("GET", "/.well-known/oauth-authorization-server", "")
	a.want(t, 200)
	if got := a.member(t, "issuer"); got != s.url {
		t.Errorf("issuer %s", got)
	}
	jwksURL, err := url.Parse(a.member(t, "jwks_uri"))
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.send("GET", jwksURL.String(), "").body), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	matching := set.Key(parsed.Headers[0].KeyID)
	if len(matching) != 1 || matching[0].Use != "sig" || matching[0].Algorithm != "ES256" || !matching[0].IsPublic() {
		t.Fatalf("keys for %s: %v", parsed.Headers[0].KeyID, matching)
	}
	var claims jwt.Claims
	var more struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	if err := parsed.Claims(matching[0].Key, &claims, &more); err != nil {
		t.Fatal(err)
	}
	expected := jwt.Expected{Issuer: s.url, Subject: "app", AnyAudience: jwt.Audience{s.url}, Time: time.Now()}
	if err := claims.Validate(expected); err != nil {
		t.Error(err)
	}
	if parsed.Headers[0].ExtraHeaders["typ"] != "at+jwt" || claims.ID == "" || more.ClientID != "app" || more.Scope != "bin" {
		t.Errorf("header %v, claims %v %v", parsed.Headers[0], claims, more)
	}
}
