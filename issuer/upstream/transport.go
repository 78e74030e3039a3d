package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// exchangeTimeout bounds one exchange with the provider in all, redirects
	// and body included.
	exchangeTimeout = 10 * time.Second

	// maxAnswer bounds the body of an answer, in bytes and after decompression.
	maxAnswer = 1 << 20

	// maxRedirects is how many redirects one exchange may follow.
	maxRedirects = 3
)

// newTransport returns a transport of our own: nothing that others do to
// http.DefaultTransport reaches it. It takes the proxy from the environment.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: exchangeTimeout}).DialContext,
		TLSHandshakeTimeout:    exchangeTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
}

// newClient returns the client that every exchange goes through.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     answers{transport},
		CheckRedirect: checkRedirect,
		Timeout:       exchangeTimeout,
	}
}

// withClient makes the OAuth library use client.
func withClient(ctx context.Context, client *http.Client) context.Context {
	return oidc.ClientContext(ctx, client)
}

// checkRedirect follows a redirect to the same origin, and none of a token
// request: it carries the code and the secret.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	sameOrigin := next.URL.Scheme == first.URL.Scheme && next.URL.Host == first.URL.Host
	if first.Method != http.MethodGet || !sameOrigin || len(via) > maxRedirects {
		return errRedirect
	}
	return nil
}

// answers is a transport that returns whole answers only. What is no answer to
// an OAuth request is an error here, before a library could put its body into
// one.
type answers struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(request *http.Request) (*http.Response, error) {
	if !isTrusted(request.URL) {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, errInsecure
	}
	response, err := a.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
		return nil, fmt.Errorf("the answer has the status %d", response.StatusCode)
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode < 300 && kind == "text/html" {
		// A page for people where a program asked: of a proxy, or of maintenance.
		return nil, errors.New("the answer is a web page")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errTooLarge
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
