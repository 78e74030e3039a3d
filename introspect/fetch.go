package introspect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// fetchTimeout bounds one exchange with another server in all.
	fetchTimeout = 5 * time.Second

	// requestWait is how long a request waits for such an exchange.
	requestWait = 2 * time.Second
)

// newTransport returns a transport that goes where the URL says: no proxy from
// the environment, and no compression, so that the size limit is that of what
// comes over the wire.
func newTransport() http.RoundTripper {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    fetchTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}

// newClient returns a client that follows no redirect: a document is what its
// own URL answers, and no answer may send us elsewhere.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = newTransport()
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkURL returns an error unless text is a URL that may be trusted with keys
// and tokens: https, or http to this very machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("the URL cannot be parsed")
	}
	if u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not an absolute URL without user and fragment", u.Redacted())
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q is not an https URL", u.Redacted())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// statusError is an answer that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("answered %d", int(e)) }

// fetch sends request and returns the body of a 200 answer, of at most limit
// bytes, and its media type.
func fetch(client *http.Client, request *http.Request, limit int64) (body []byte, kind string, err error) {
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, "", statusError(response.StatusCode)
	}
	body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, "", err
	}
	if int64(len(body)) > limit {
		return nil, "", fmt.Errorf("answered more than %d bytes", limit)
	}
	kind, _, _ = mime.ParseMediaType(response.Header.Get("Content-Type"))
	return body, kind, nil
}

// fetchDocument gets metadata or a key set. Its media type is not asked for: many
// are published as plain files, and the strict reader decides.
func fetchDocument(ctx context.Context, client *http.Client, location string) ([]byte, error) {
	if err := checkURL(location); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	body, _, err := fetch(client, request, maxKeySetBytes)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", location, err)
	}
	return body, nil
}
