package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// attackBackend plays the API behind the gate. Unlike backend it also keeps what
// is no request, and does on some paths what an API should not:
//
//	/api/ws       a websocket that echoes
//	/api/fails    answers 500
//	/api/splits   answers with a header value that has a CR in it
//
// Of a request to /api/unfinished only a whole one counts: what has been sent of
// its body when the rest turns out to be broken has been sent.
type attackBackend struct {
	address string

	mu          sync.Mutex
	connections map[*wiretap]bool
	requests    []string
}

// wiretap is a connection and what was read from it since its last request.
type wiretap struct {
	net.Conn
	mu   *sync.Mutex // of the backend
	read bytes.Buffer
}

func (w *wiretap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	w.read.Write(p[:n])
	w.mu.Unlock()
	return n, err
}

// begun is what was read of a request that is not whole. Callers hold mu.
func (w *wiretap) begun() string {
	if strings.HasPrefix(w.read.String(), "POST /api/unfinished ") {
		return ""
	}
	return w.read.String()
}

func startAttackBackend(t *testing.T) *attackBackend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	b := &attackBackend{address: listener.Addr().String(), connections: make(map[*wiretap]bool)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.serve(&wiretap{Conn: conn, mu: &b.mu})
		}
	}()
	return b
}

func (b *attackBackend) serve(conn *wiretap) {
	defer conn.Close()
	b.mu.Lock()
	b.connections[conn] = true
	b.mu.Unlock()
	defer b.forget(conn)
	reader := bufio.NewReader(conn)
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
		b.keep(conn)
		if !respond(conn, reader, request) {
			return
		}
	}
}

// keep moves what was read to the requests: a proxy does not pipeline.
func (b *attackBackend) keep(conn *wiretap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, conn.read.String())
	conn.read.Reset()
}

// forget keeps what is left of a connection that has ended.
func (b *attackBackend) forget(conn *wiretap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begun := conn.begun(); begun != "" {
		b.requests = append(b.requests, begun)
	}
	delete(b.connections, conn)
}

// seen returns the requests since the last take, and what came of others.
func (b *attackBackend) seen() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all = append(all, b.requests...)
	for conn := range b.connections {
		if begun := conn.begun(); begun != "" {
			all = append(all, begun)
		}
	}
	return all
}

// take returns what was seen and forgets it.
func (b *attackBackend) take() []string {
	all := b.seen()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
	for conn := range b.connections {
		conn.read.Reset()
	}
	return all
}

// respond answers a request. It returns false when no other can follow.
func respond(conn net.Conn, reader *bufio.Reader, request *http.Request) bool {
	switch path, _, _ := strings.Cut(request.RequestURI, "?"); {
	case path == "/api/ws" && strings.EqualFold(request.Header.Get("Upgrade"), "websocket"):
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			webSocketAccept(request.Header.Get("Sec-WebSocket-Key")))
		_, _ = io.Copy(conn, reader)
		return false
	case path == "/api/fails":
		fmt.Fprint(conn, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nfail")
		return true
	case path == "/api/splits":
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nX-A: b\rX-Injected: 1\r\nContent-Length: 2\r\n\r\nok")
		return true
	}
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n")
	if request.Method != http.MethodHead {
		fmt.Fprint(conn, "ok")
	}
	return true
}
