package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// requestTimeout bounds an operation that is done at once. One that reads the whole
// storage may take as long as it likes; the admin endpoint has no timeout either.
const requestTimeout = 30 * time.Second

// transport carries a command's request to the operations of the admin API, and
// their answer back. The commands do not know which one it is.
type transport interface {
	// send returns the answer, a JSON document. body is JSON, or nil. The error
	// is one line for the operator; nothing is known to be done when ctx ends.
	send(ctx context.Context, method, uri string, body []byte) (json.RawMessage, error)
}

// transport is the one that the flags ask for.
func (c *command) transport() (transport, error) {
	if !c.offline {
		return c.endpoint()
	}
	if c.address != "" {
		return nil, errors.New("--offline works without an admin endpoint: leave out --address, or --offline")
	}
	return stoppedServer{c.config, c.adapter}, nil
}

// call does an operation and returns its answer. body may be nil.
func (c *command) call(method, path string, body any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return c.callPatiently(ctx, method, path, body)
}

// callPatiently is call for an operation that may take long.
func (c *command) callPatiently(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	to, err := c.transport()
	if err != nil {
		return nil, err
	}
	if body == nil && method == http.MethodPost {
		body = struct{}{} // a POST is JSON, whatever it says
	}
	var encoded []byte
	if body != nil {
		if encoded, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	return to.send(ctx, method, c.uri(path), encoded)
}

// uri is that of an operation, given with its own query if it has one, about the issuer that --issuer names.
func (c *command) uri(path string) string {
	uri := adminBase + path
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	if c.issuer != "" {
		uri += separator + "issuer=" + url.QueryEscape(c.issuer)
	}
	return uri
}

// adminEndpoint is the transport to a running server.
type adminEndpoint struct{ address string }

// endpoint finds the admin endpoint as "caddy reload" does.
func (c *command) endpoint() (adminEndpoint, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	return adminEndpoint{address}, err
}

func (e adminEndpoint) send(ctx context.Context, method, uri string, body []byte) (json.RawMessage, error) {
	type answer struct {
		data json.RawMessage
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // Caddy's client takes no context
		response, err := e.request(method, uri, body)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err == nil && !json.Valid(data) {
			err = fmt.Errorf("what answers at %s is not Caddy's admin endpoint (--address names another one)", e.address)
		}
		answered <- answer{data, err}
	}()
	select {
	case a := <-answered:
		return a.data, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the admin endpoint at %s did not answer within %s", e.address, requestTimeout)
	}
}

// request makes a request and returns the response, whose body the caller closes.
func (e adminEndpoint) request(method, uri string, body []byte) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	response, err := caddycmd.AdminAPIRequest(e.address, method, uri, nil, reader)
	if err != nil {
		return nil, readable(e.address, err)
	}
	return response, nil
}

// readable makes one plain line of what Caddy's client reports.
func readable(address string, err error) error {
	text := err.Error()
	if strings.Contains(text, "connection refused") || strings.Contains(text, "no such file") {
		return fmt.Errorf("no Caddy answers at the admin endpoint %s; is it running? (--address names another one)", address)
	}
	_, body, found := strings.Cut(text, "caddy responded with error: HTTP ")
	if !found {
		return fmt.Errorf("the admin endpoint %s cannot be asked (--address wants host:port or unix//path): %w", address, err)
	}
	status, encoded, _ := strings.Cut(body, ": ")
	answer := struct {
		Error string `json:"error"`
	}{}
	if json.Unmarshal([]byte(encoded), &answer) != nil || answer.Error == "" {
		if status == "404" { // what Caddy says to a path of no module
			return fmt.Errorf("what answers at %s has no OAuth admin API: it is not Caddy's admin endpoint, or that of a Caddy without this plugin (--address names another one)", address)
		}
		return fmt.Errorf("the server answered with HTTP %s", status)
	}
	return errors.New(answer.Error)
}
