package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPipelining: the identity belongs to the request, not to the connection.
func TestPipelining(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	good, anonymous := s.rawRequest("GET", "/api/good", bearer(token)), s.rawRequest("GET", "/api/anonymous")
	answers := s.raw(t, good+anonymous+good+anonymous, 4)
	if got := statuses(answers); !slices.Equal(got, []int{200, 401, 200, 401}) {
		t.Errorf("statuses %v", got)
	}
	for _, request := range b.take() {
		if strings.Contains(request, "anonymous") {
			t.Errorf("a refused request reached the backend: %q", request)
		}
	}
}

// TestExpectContinue: who has no token is not asked for the body (RFC 9110
// §10.1.1): the first answer is the last one.
func TestExpectContinue(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	head := []string{"Expect: 100-continue", "Content-Length: 1073741824"}
	for _, lines := range [][]string{head, append(slices.Clone(head), bearer("garbage"))} {
		answers := s.raw(t, s.rawRequest("POST", "/api/x", lines...), 1)
		if got := statuses(answers); !slices.Equal(got, []int{401}) {
			t.Errorf("%q: %v, want 401 alone", lines, got)
		}
		b.none(t)
	}
	// One 100 of the gate, one of the backend unless the proxy got tired of waiting for it, and the answer.
	answers := s.raw(t, s.rawRequest("POST", "/api/x", "Connection: close", "Expect: 100-continue", "Content-Length: 4", bearer(s.appToken()))+"body", 9)
	if got := statuses(answers); !slices.Contains(got, 200) {
		t.Errorf("with a token: %v", got)
	}
	if got := b.one(t); !strings.HasSuffix(got, "body") {
		t.Errorf("the body is lost: %q", got)
	}
}

// TestRefusedBody: the body of a refused request is not read to its end.
func TestRefusedBody(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, s.rawRequest("POST", "/api/x", "Content-Length: 104857600")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 401 || !response.Close {
		t.Errorf("status %d, close %t; want 401 and the connection closed", response.StatusCode, response.Close)
	}
	b.none(t)
}

// TestTrailers arrive after the decision; they are dropped.
func TestTrailers(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	chunks := "4\r\nbody\r\n0\r\nX-Auth-Subject: " + evil + "\r\nAuthorization: Bearer " + token + "\r\nX-Sum: 1\r\n\r\n"
	head := []string{"Transfer-Encoding: chunked", "Trailer: X-Auth-Subject, Authorization, X-Sum"}
	s.raw(t, s.rawRequest("POST", "/api/x", append(slices.Clone(head), bearer(token))...)+chunks, 1)[0].want(t, 200)
	got := b.one(t)
	contains(t, got, "4\r\nbody\r\n0\r\n")
	for _, secret := range []string{evil, token, "X-Sum"} {
		if strings.Contains(got, secret) {
			t.Errorf("a trailer reaches the backend: %q", got)
		}
	}
	s.raw(t, s.rawRequest("POST", "/api/x", head...)+chunks, 1)[0].want(t, 401)
	b.none(t)
}

// TestAmbiguousFraming: a request whose end two readers could see in two places
// is refused (RFC 9112 §6.3).
func TestAmbiguousFraming(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	smuggled := "0\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: x\r\nX-Auth-Subject: " + evil + "\r\n\r\n"
	for _, lines := range [][]string{
		{"Transfer-Encoding: xchunked"},
		{"Transfer-Encoding: \x0bchunked"},
		{"Transfer-Encoding : chunked"},
		{"Transfer-Encoding: chunked", "Transfer-Encoding: cow"},
		{"Transfer-Encoding: chunked, identity"},
		{"Content-Length: 3", "Content-Length: 4"},
		{"Content-Length: 3, 4"},
		{"Content-Length: -1"},
		{"Content-Length: +3"},
	} {
		answers := s.raw(t, s.rawRequest("POST", "/api/x", append(lines, bearer(token))...)+smuggled, 1)
		if len(answers) != 1 || (answers[0].StatusCode != 400 && answers[0].StatusCode != 501) {
			t.Errorf("%q: %v, want 400 or 501", lines, statuses(answers))
		}
		b.none(t)
	}
	// Both lengths: chunked wins (RFC 9112 §6.3) and what is passed on has one.
	for _, request := range append(b.take(), func() []string {
		s.raw(t, s.rawRequest("POST", "/api/x", bearer(token), "Content-Length: 6", "Transfer-Encoding: chunked", "Connection: close")+smuggled, 1)
		return b.take()
	}()...) {
		if len(fields(request, "Content-Length"))+len(fields(request, "Transfer-Encoding")) > 1 || strings.Contains(request, "smuggled") {
			t.Errorf("framing that is ambiguous reaches the backend: %q", request)
		}
	}
}
