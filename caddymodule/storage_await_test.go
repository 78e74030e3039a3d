package caddymodule

import (
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// waits tells whether the server has said that it waits for its storage.
func waits(s *server) bool { return strings.Contains(s.log(), "waiting for the OAuth storage") }

// TestStartAwaitsDatabase: a server that is started before its database serves when
// that has come. Told to end meanwhile, it ends.
func TestStartAwaitsDatabase(t *testing.T) {
	database := postgrestest.Start(t)
	caddyfile := postgresCaddyfile(database.URL())
	if err := database.Stop(false); err != nil {
		t.Fatal(err)
	}
	ended := newServer(t, "127.0.0.1:1")
	run := ended.command("run", "--config", ended.writeCaddyfile(caddyfile), "--adapter", "caddyfile")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	bound := time.AfterFunc(storageWait/2, func() { _ = run.Process.Kill() })
	defer bound.Stop()
	eventually(t, "the server waits", func() bool { return waits(ended) })
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); !run.ProcessState.Exited() {
		t.Errorf("SIGTERM is not heard while the storage is awaited: %v", err)
	}

	s := newServer(t, "127.0.0.1:1")
	served := make(chan error, 1)
	go func() {
		_, err := s.tryServe(caddyfile)
		served <- err
	}()
	eventually(t, "the server waits", func() bool { return waits(s) })
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	s.appToken()
	contains(t, s.log(), "the OAuth storage has come", database.Address())
	if strings.Contains(s.log(), database.Password()) {
		t.Error("the password is in the log")
	}
}

// TestStartAwaitsNothingElse: what does not pass by waiting is said at once, and a
// reload waits for nothing.
func TestStartAwaitsNothingElse(t *testing.T) {
	database := postgrestest.Start(t)
	wrong := postgresCaddyfile(strings.Replace(database.URL(), database.Password(), canary, 1))
	s := newServer(t, "127.0.0.1:1")
	if err := s.load(wrong); err == nil || !strings.Contains(err.Error(), "28P01") || waits(s) || strings.Contains(err.Error(), canary) {
		t.Errorf("with a wrong password: %v, waits %v", err, waits(s))
	}
	startHere(t, s, usualCaddyfile)
	if err := database.Stop(false); err != nil {
		t.Fatal(err)
	}
	if err := s.load(postgresCaddyfile(database.URL())); err == nil || !strings.Contains(err.Error(), "connection refused") || waits(s) {
		t.Errorf("a reload: %v, waits %v", err, waits(s))
	}
	s.appToken()

	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.load(postgresCaddyfile(database.URL())); err != nil {
		t.Fatal(err)
	}
	if err := database.Stop(false); err != nil {
		t.Fatal(err)
	}
	if err := s.load(postgresCaddyfile(database.URL())); err == nil || waits(s) {
		t.Errorf("a reload beside a storage that is open: %v, waits %v", err, waits(s))
	}
}

// TestAwaitStorage: the wait is bounded, and is told once.
func TestAwaitStorage(t *testing.T) {
	starting := fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrStarting)
	for _, test := range []struct {
		what     string
		comes    int // the attempt that has another outcome
		outcome  error
		attempts int
		took     time.Duration
		lines    int
	}{
		{"there already", 1, nil, 1, 0, 0},
		{"not to be had", 1, storage.ErrUnavailable, 1, 0, 0},
		{"comes", 3, nil, 3, 2 * storageRetry, 2},
		{"turns out not to be had", 3, storage.ErrDamaged, 3, 2 * storageRetry, 1},
		{"never comes", 1000, nil, 1 + int(storageWait/storageRetry), storageWait, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			begun, attempts := time.Now(), 0
			err := awaitStorage(slog.New(slog.NewTextHandler(&log, nil)), func() error {
				if attempts++; attempts >= test.comes {
					return test.outcome
				}
				return starting
			})
			want := test.outcome
			if test.comes > test.attempts {
				want = starting
			}
			if took := time.Since(begun); err != want || attempts != test.attempts || took != test.took {
				t.Errorf("%s: %v after %d attempts and %s, want %v, %d, %s", test.what, err, attempts, took, want, test.attempts, test.took)
			}
			if n := strings.Count(log.String(), "\n"); n != test.lines {
				t.Errorf("%s: %d lines, want %d: %s", test.what, n, test.lines, log.String())
			}
		})
	}
}
