package postgres

import (
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// Who opens a storage learns whether to try again: a server that starts is worth
// waiting for, a wrong password is not.
func TestOpenWhileStarting(t *testing.T) {
	own := postgrestest.Start(t)
	at := func(change func(*url.URL)) string {
		u, err := url.Parse(own.URL())
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	check := func(what, connection string, starting bool) {
		t.Helper()
		_, err := Open(t.Context(), Config{Connection: connection})
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrStarting) != starting {
			t.Errorf("%s: Open = %v, want ErrUnavailable, ErrStarting %v", what, err, starting)
		}
	}
	check("wrong password", at(func(u *url.URL) { u.User = url.UserPassword("gate", "wrong") }), false)
	check("no such role", at(func(u *url.URL) { u.User = url.UserPassword("nobody", "wrong") }), false)
	check("no such database", at(func(u *url.URL) { u.Path = "/nothing" }), false)
	check("no TLS", at(func(u *url.URL) { u.RawQuery = "sslmode=require" }), false)
	check("no such host", at(func(u *url.URL) { u.Host = "gate.invalid:5432" }), true)
	check("dropped", at(func(u *url.URL) { u.Host = dropping(t) }), true)

	if err := own.Stop(false); err != nil {
		t.Fatal(err)
	}
	check("stopped", own.URL(), true)
	check("stopped, over the socket", own.SocketURL(), true)

	end, err := own.StartRecovery()
	if err != nil {
		t.Fatal(err)
	}
	check("recovering (57P03)", own.URL(), true)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	opened(t, Config{Connection: own.URL()})
}

// dropping is an address where connections are accepted and dropped.
func dropping(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}
