package caddymodule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// stoppedServer is the transport to a server that does not run: the oauth app of
// its configuration runs in this process while a request is served, with neither
// the http app nor an admin endpoint. So what can be done is the same as with a
// running server, and is done by the same code.
type stoppedServer struct{ config, adapter string }

func (s stoppedServer) send(ctx context.Context, method, uri string, body []byte) (json.RawMessage, error) {
	if err := silence(); err != nil {
		return nil, err
	}
	defer func() { _ = caddy.Stop() }() // it always returns nil
	config, err := oauthConfig(s.config, s.adapter)
	if err != nil {
		return nil, err
	}
	release, err := holdStorage(config)
	if errors.Is(err, errServerRuns) {
		return nil, fmt.Errorf("%w: leave --offline out", errServerRuns)
	}
	if err != nil {
		return nil, err
	}
	answer, err := serveOffline(ctx, config, method, uri, body)
	// What was written is durable when it was answered; closing may still say
	// that the medium has failed.
	return answer, cmp.Or(err, release())
}

// holdStorage opens the storage of a configuration where the app will find it. The
// app would open it as well, but Caddy keeps only the text of an app's error.
func holdStorage(config json.RawMessage) (release func() error, err error) {
	configured, err := configuredStorage(config)
	if err != nil {
		return nil, err
	}
	place := configured.Place()
	value, _ := vaults.LoadOrStore(place, new(vault))
	release = func() error {
		_, err := vaults.Delete(place)
		return err
	}
	if _, err := value.(*vault).open(stoppedStorage{configured}, slog.New(slog.DiscardHandler)); err != nil {
		return nil, cmp.Or(err, release())
	}
	return release, nil
}

// serveOffline runs the app and serves one request of the admin API.
func serveOffline(ctx context.Context, config json.RawMessage, method, uri string, body []byte) (json.RawMessage, error) {
	running := &caddy.Config{Admin: noAdmin(), Logging: errorsOnly(), AppsRaw: caddy.ModuleMap{"oauth": config}}
	if err := caddy.Run(running); err != nil {
		return nil, err
	}
	defer func() { _ = silence() }() // stops the app; the log stays as it is
	request, err := http.NewRequestWithContext(ctx, method, uri, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	answer := &bufferedAnswer{header: make(http.Header)}
	admin := &AdminAPI{logger: slog.New(slog.DiscardHandler)}
	if err := admin.serve(answer, request); err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	return answer.body.Bytes(), nil
}

// bufferedAnswer keeps an answer of the admin API, whose status is 200: others are
// errors.
type bufferedAnswer struct {
	header http.Header
	body   bytes.Buffer
}

func (a *bufferedAnswer) Header() http.Header         { return a.header }
func (a *bufferedAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *bufferedAnswer) WriteHeader(int)             {}
