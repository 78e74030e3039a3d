package postgres

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// proxy stands between a storage and the server, and can fail as networks do.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	fault fault
	conns []net.Conn
}

// fault is what a proxy does to a connection on which COMMIT is sent.
type fault int

const (
	none          fault = iota
	cutBefore           // the connection breaks, and COMMIT is not delivered
	cutAfter            // COMMIT is carried out, and the connection breaks before the answer
	swallowAnswer       // COMMIT is carried out, and no answer ever comes
)

func newProxy(t testing.TB, of *postgrestest.Server) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: of.Address()}
	var accepting sync.WaitGroup
	accepting.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		accepting.Wait()
	})
	return p
}

// connection is the connection string through the proxy.
func (p *proxy) connection(t testing.TB, of *postgrestest.Server) string {
	t.Helper()
	u, err := url.Parse(of.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// take returns the fault, once.
func (p *proxy) take() (f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, p.fault = p.fault, none
	return f
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) accept() {
	var relaying sync.WaitGroup
	defer relaying.Wait()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		relaying.Go(func() { p.relay(client, server) })
	}
}

func (p *proxy) relay(client, server net.Conn) {
	answers := make(chan []byte)
	go func() {
		defer close(answers)
		for {
			buffer := make([]byte, 32<<10)
			n, err := server.Read(buffer)
			if n > 0 {
				answers <- buffer[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	var mu sync.Mutex
	deliver := true
	lastAnswer := make(chan struct{}, 1)
	go func() {
		defer client.Close()
		for answer := range answers {
			mu.Lock()
			if deliver {
				_, _ = client.Write(answer)
			}
			mu.Unlock()
			select {
			case lastAnswer <- struct{}{}:
			default:
			}
		}
	}()
	defer server.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		f := none
		if bytes.HasSuffix(buffer[:n], []byte("commit\x00")) {
			f = p.take()
		}
		if f == cutBefore {
			_ = client.Close()
			return
		}
		if f != none {
			mu.Lock()
			deliver = false
			mu.Unlock()
			select { // forget answers of before
			case <-lastAnswer:
			default:
			}
		}
		if _, err := io.Copy(server, strings.NewReader(string(buffer[:n]))); err != nil {
			return
		}
		if f == cutAfter {
			<-lastAnswer
			_ = client.Close()
			return
		}
	}
}
