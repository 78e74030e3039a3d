package caddymodule

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// backend plays the API behind a gate. It keeps each request as the bytes that
// came over the wire, since what must never reach an API has to be looked for
// where no parser has tidied up.
type backend struct {
	address  string
	listener net.Listener

	mu       sync.Mutex
	requests [][]byte
}

func startBackend(t testing.TB) *backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{address: listener.Addr().String(), listener: listener}
	t.Cleanup(func() { listener.Close() })
	go b.accept(t)
	return b
}

func (b *backend) accept(t testing.TB) {
	for {
		conn, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Error("backend:", err)
			return
		}
		go b.serve(conn)
	}
}

// serve answers "ok" to whatever comes. A proxy does not pipeline, so what has
// been read when a request ends is that request.
func (b *backend) serve(conn net.Conn) {
	defer conn.Close()
	var read bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(conn, &read))
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if request.Header.Get("Expect") != "" {
			fmt.Fprint(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		b.mu.Lock()
		b.requests = append(b.requests, bytes.Clone(read.Bytes()))
		b.mu.Unlock()
		read.Reset()
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n")
		if request.Method != http.MethodHead {
			fmt.Fprint(conn, "ok")
		}
	}
}

// take returns the requests since the last take.
func (b *backend) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, r := range b.requests {
		all = append(all, string(r))
	}
	b.requests = nil
	return all
}

// one returns the only request since the last take.
func (b *backend) one(t testing.TB) string {
	t.Helper()
	all := b.take()
	if len(all) != 1 {
		t.Fatalf("%d requests reached the backend, want 1: %q", len(all), all)
	}
	return all[0]
}

// none fails the test if a request reached the backend.
func (b *backend) none(t testing.TB) {
	t.Helper()
	if all := b.take(); len(all) != 0 {
		t.Errorf("a refused request reached the backend: %q", all)
	}
}

// fields returns the lines of a request's head that have a field of that name,
// as an API would see it that compares letters and digits only.
func fields(request, name string) (values []string) {
	head, _, _ := strings.Cut(request, "\r\n\r\n")
	fold := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(s))
	}
	for _, line := range strings.Split(head, "\r\n")[1:] {
		key, value, _ := strings.Cut(line, ":")
		if fold(key) == fold(name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}
