package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// markerField is the header field in which every request of a probe has a name of
// its own, by which it is known when it arrives.
const markerField = "Probe-Request"

// Backend plays the API behind the gate and remembers what reaches it, byte for
// byte: what must not arrive is to be looked for where no parser has tidied up.
type Backend struct {
	listener net.Listener

	mu      sync.Mutex
	arrived map[string][]*arrival // by marker
	conns   map[net.Conn]bool     // nil when closed
}

// arrival is a request that reached the backend.
type arrival struct {
	*http.Request
	raw string // head, body and trailers
}

// Listen opens the backend at an address. It ends with Close.
func Listen(address string) (*Backend, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--backend: %w", err)
	}
	b := &Backend{listener: listener, arrived: make(map[string][]*arrival), conns: make(map[net.Conn]bool)}
	go b.accept()
	return b, nil
}

// Close ends the backend, with the connections that a proxy keeps to it.
func (b *Backend) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		conn.Close()
	}
	b.conns = nil
	b.listener.Close()
}

// keep notes a connection; it returns false when the backend is closed.
func (b *Backend) keep(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.conns[conn] = true
	return true
}

func (b *Backend) drop(conn net.Conn) {
	conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, conn)
}

func (b *Backend) address() string { return b.listener.Addr().String() }

func (b *Backend) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.serve(conn)
	}
}

// serve answers everything with 200. A proxy does not pipeline, so what has been
// read when a request ends is that request.
func (b *Backend) serve(conn net.Conn) {
	defer b.drop(conn)
	if !b.keep(conn) {
		return
	}
	var read bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(conn, &read))
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		marker := request.Header.Get(markerField)
		// It is known from its head on: that alone must not arrive.
		known := b.remember(marker, &arrival{Request: request, raw: read.String()})
		if request.Header.Get("Expect") != "" {
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		_, err = io.Copy(io.Discard, request.Body)
		b.complete(known, read.String())
		if err != nil {
			return
		}
		read.Reset()
		if err := answerOK(conn, request.Method); err != nil || request.Close {
			return
		}
	}
}

// answerOK writes the backend's answer to a method.
func answerOK(to io.Writer, method string) error {
	body := "the backend of caddy oauth probe\n"
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(body))
	if method != http.MethodHead {
		answer += body
	}
	_, err := io.WriteString(to, answer)
	return err
}

func (b *Backend) remember(marker string, a *arrival) *arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived[marker] = append(b.arrived[marker], a)
	return a
}

func (b *Backend) complete(a *arrival, raw string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.raw = raw
}

// with returns the requests that arrived with a marker.
func (b *Backend) with(marker string) []*arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*arrival
	for _, a := range b.arrived[marker] {
		all = append(all, &arrival{a.Request, a.raw})
	}
	return all
}

// head are the lines of the request's head, without the first.
func (a *arrival) head() []string {
	head, _, _ := strings.Cut(a.raw, "\r\n\r\n")
	_, fields, _ := strings.Cut(head, "\r\n")
	return strings.Split(fields, "\r\n")
}

// arrivals are the requests that came of a shot, or nil where nobody can tell.
func (p *probe) arrivals(r *result) []*arrival {
	if p.Backend == nil {
		return nil
	}
	all := p.Backend.with(r.marker)
	if r.inner != "" {
		all = append(all, p.Backend.with(r.inner)...)
	}
	return all
}
