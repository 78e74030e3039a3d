package probe

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

// Target is the route under attack and the way there. Requests are written as
// they are: net/http would tidy up what an attack consists of.
type Target struct {
	url     *url.URL
	address string      // host:port to connect to
	tls     *tls.Config // nil for http

	patience   time.Duration // for a first answer
	afterwards time.Duration // for what may come after it
}

// answer is as much of one as a probe looks at.
type answer struct {
	status int
	header http.Header
	body   string // at most maxBody bytes
}

const maxBody = 64 << 10

// NewTarget reads a URL, to which GET with a good token must succeed. resolve,
// which may be empty, is HOST:ADDRESS, where HOST is that of the URL and ADDRESS
// an IP address or a name to connect to instead, with or without a port. With
// insecure the certificate of the server is not verified.
func NewTarget(text, resolve string, insecure bool) (*Target, error) {
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
	t := &Target{url: u, address: net.JoinHostPort(u.Hostname(), port), patience: 10 * time.Second, afterwards: time.Second}
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
func (t *Target) exchange(ctx context.Context, s *shot) ([]answer, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("no connection to %s: %w", t.address, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(t.patience))
	// Who refuses early may close before all is written, and has answered then.
	_, _ = io.WriteString(conn, s.text)
	return t.readAnswers(conn, s), nil
}

func (t *Target) dial(ctx context.Context) (net.Conn, error) {
	ctx, end := context.WithTimeout(ctx, t.patience)
	defer end()
	if t.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", t.address)
	}
	return (&tls.Dialer{Config: t.tls}).DialContext(ctx, "tcp", t.address)
}

// readAnswers reads final answers: the first, or all that come.
func (t *Target) readAnswers(conn net.Conn, s *shot) (answers []answer) {
	reader := bufio.NewReader(conn)
	method := s.method
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return answers
		}
		if response.StatusCode < http.StatusOK && response.StatusCode != http.StatusSwitchingProtocols {
			answers = append(answers, answer{status: response.StatusCode, header: response.Header})
			continue
		}
		var body bytes.Buffer
		_, err = io.Copy(&body, io.LimitReader(response.Body, maxBody))
		response.Body.Close()
		answers = append(answers, answer{response.StatusCode, response.Header, body.String()})
		if err != nil || !s.toEnd || response.Close || response.StatusCode == http.StatusSwitchingProtocols {
			return answers
		}
		method = http.MethodGet // of whatever hides behind the first
		_ = conn.SetDeadline(time.Now().Add(t.afterwards))
	}
}

// final is the first answer that is not interim, or nil.
func (r *result) final() *answer {
	for n := range r.answers {
		if status := r.answers[n].status; status >= http.StatusOK || status == http.StatusSwitchingProtocols {
			return &r.answers[n]
		}
	}
	return nil
}
