package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// probeTarget is the route under attack and the way there. Requests are written
// as they are: net/http would tidy up what an attack consists of.
type probeTarget struct {
	url     *url.URL
	address string      // host:port to connect to
	tls     *tls.Config // nil for http
}

// probeAnswer is an answer as far as a probe looks at it.
type probeAnswer struct {
	status int
	header http.Header
	body   string // at most maxProbeBody bytes
}

const (
	maxProbeBody    = 64 << 10
	probePatience   = 10 * time.Second // for a first answer
	probeAfterwards = time.Second      // for what may come after it
)

// newProbeTarget reads a URL. resolve, which may be empty, is HOST:ADDRESS, where
// ADDRESS is an IP address or a name, with or without a port.
func newProbeTarget(text, resolve string, insecure bool) (*probeTarget, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want the URL of a request, such as https://api.example.com/orders/7")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	t := &probeTarget{url: u, address: net.JoinHostPort(u.Hostname(), port)}
	if u.Scheme == "https" {
		t.tls = &tls.Config{
			ServerName: u.Hostname(), NextProtos: []string{"http/1.1"},
			InsecureSkipVerify: insecure, //nolint:gosec // G402: --insecure, which the operator has to ask for
		}
	}
	if resolve == "" {
		return t, nil
	}
	address, ok := strings.CutPrefix(resolve, u.Hostname()+":")
	if !ok || address == "" {
		return nil, fmt.Errorf("--resolve %s: want %s:ADDRESS, the host of the URL and where to connect to instead", resolve, u.Hostname())
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), port)
	}
	t.address = address
	return t, nil
}

// exchange sends a shot on a connection of its own and reads what comes back. The
// error says why there was no connection; that it ended early is an answer, too.
func (t *probeTarget) exchange(ctx context.Context, s *shot) ([]probeAnswer, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("no connection to %s: %w", t.address, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(probePatience))
	// Who refuses early may close before all is written, and has answered then.
	_, _ = io.WriteString(conn, s.text)
	return readAnswers(conn, s), nil
}

func (t *probeTarget) dial(ctx context.Context) (net.Conn, error) {
	ctx, end := context.WithTimeout(ctx, probePatience)
	defer end()
	if t.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", t.address)
	}
	return (&tls.Dialer{Config: t.tls}).DialContext(ctx, "tcp", t.address)
}

// readAnswers reads final answers: the first, or all that come.
func readAnswers(conn net.Conn, s *shot) (answers []probeAnswer) {
	reader := bufio.NewReader(conn)
	method := s.method
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return answers
		}
		if response.StatusCode < http.StatusOK && response.StatusCode != http.StatusSwitchingProtocols {
			answers = append(answers, probeAnswer{status: response.StatusCode, header: response.Header})
			continue
		}
		var body bytes.Buffer
		_, err = io.Copy(&body, io.LimitReader(response.Body, maxProbeBody))
		response.Body.Close()
		answers = append(answers, probeAnswer{response.StatusCode, response.Header, body.String()})
		if err != nil || !s.toEnd || response.Close || response.StatusCode == http.StatusSwitchingProtocols {
			return answers
		}
		method = http.MethodGet // of whatever hides behind the first
		_ = conn.SetDeadline(time.Now().Add(probeAfterwards))
	}
}

// final is the first answer that is not interim, or nil.
func (r *shotResult) final() *probeAnswer {
	for n := range r.answers {
		if status := r.answers[n].status; status >= http.StatusOK || status == http.StatusSwitchingProtocols {
			return &r.answers[n]
		}
	}
	return nil
}
