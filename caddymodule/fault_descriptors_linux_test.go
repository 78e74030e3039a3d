package caddymodule

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestFaultDescriptors: a server with 256 descriptors has 1,000 clients that say
// nothing. Who is connected is served, and what is revoked is written; who waits is
// served when the others have gone.
func TestFaultDescriptors(t *testing.T) {
	site := newFaultSite(t, 1, "")
	s := site.nodes[0]
	s.descriptors = 256
	p := s.serve(site.text)
	good, revoked := site.accessToken(s), site.accessToken(s)
	site.mustBe(http.StatusOK, good, revoked) // on a connection that is kept

	var silent []net.Conn
	for range 1000 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	eventually(t, "no descriptor is left", func() bool { return strings.Contains(s.log(), "too many open files") })
	site.mustBe(http.StatusOK, good)
	if a, err := site.post("/revoke", url.Values{"token": {revoked}}); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("a revocation: %v, %v", a.Response, err)
	}
	site.mustBe(http.StatusUnauthorized, revoked)

	for _, conn := range silent {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	p.send("GET", "/api/x", "", bearer(good)).want(t, http.StatusOK) // on a new one
	p.kill()
	site.client.CloseIdleConnections()
	s.serve(site.text)
	site.mustBe(http.StatusUnauthorized, revoked)
	site.mustBe(http.StatusOK, good)
	s.adminCall("GET", "/oauth/storage/check", nil).want(t, http.StatusOK)
}
