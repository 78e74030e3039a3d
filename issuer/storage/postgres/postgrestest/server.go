// Package postgrestest runs PostgreSQL servers of their own for tests: the real
// one, in a temporary directory, on a free port of the loopback interface.
package postgrestest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// superuser is the role that owns everything on the server.
const superuser = "gate"

// ready is what a server says when it accepts connections.
const ready = "database system is ready to accept connections"

// startTimeout is how long a server may take to start or to stop.
const startTimeout = 60 * time.Second

// Server is a PostgreSQL server. It is not safe for use by several goroutines.
type Server struct {
	directory string
	password  string
	port      int
	durable   bool
	running   *process
}

// process is a run of the server.
type process struct {
	command *exec.Cmd
	ended   chan struct{}

	mu      sync.Mutex
	log     bytes.Buffer
	awaited string        // in a line to come
	said    chan struct{} // closed when it has come; nil while nobody waits
}

// Start starts a server that lasts as long as the test. It trades durability
// for speed: what it has may be lost when it is stopped immediately. Where
// PostgreSQL is not installed the test fails.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, false)
}

// StartDurable is Start for tests that crash the server: it syncs.
func StartDurable(t testing.TB) *Server {
	t.Helper()
	return start(t, true)
}

func start(t testing.TB, durable bool) *Server {
	t.Helper()
	s, err := Launch(durable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// Launch makes and starts a server, for a TestMain; Close removes it. If the
// test process dies before, the server stops by itself (on Linux).
func Launch(durable bool) (*Server, error) {
	directory, err := os.MkdirTemp("", "postgrestest")
	if err != nil {
		return nil, err
	}
	s := &Server{directory: directory, password: rand.Text(), durable: durable}
	if err := s.initialise(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// initialise makes the database cluster. Over TCP a password is asked for.
func (s *Server) initialise() error {
	if err := giveAway(s.directory); err != nil {
		return err
	}
	passwordFile := filepath.Join(s.directory, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := giveAway(passwordFile); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	command, err := program(ctx, "initdb", "--pgdata="+s.data(), "--username="+superuser, "--pwfile="+passwordFile,
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.directory, "data") }

// Start starts the server again after a Stop, at the same address, and returns
// when it accepts connections.
func (s *Server) Start() error { return s.startUntil(ready) }

// StartRecovery starts the server again after a Stop, so that it refuses every
// connection because it recovers (SQLSTATE 57P03), and returns the function that
// lets it accept them.
func (s *Server) StartRecovery() (end func() error, err error) {
	signal := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return nil, err
	}
	if err := giveAway(signal); err != nil {
		return nil, err
	}
	if err := s.startUntil("consistent recovery state reached", "-c", "hot_standby=off"); err != nil {
		return nil, err
	}
	return s.promote, nil
}

// promote ends a recovery and returns when connections are accepted.
func (s *Server) promote() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	command, err := program(ctx, "pg_ctl", "promote", "--wait", "--pgdata="+s.data())
	if err != nil {
		return err
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_ctl promote: %w\n%s", err, output)
	}
	return s.running.await(ready)
}

// startUntil runs the server, with more options, until it says what is awaited.
func (s *Server) startUntil(awaited string, options ...string) error {
	if s.running != nil {
		return errors.New("the server runs already")
	}
	const attempts = 5 // another process may take a port that was free
	var err error
	for range attempts {
		fixed := s.port != 0
		if !fixed {
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.run(awaited, options...); err == nil || fixed {
			return err
		}
		s.port = 0
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) run(awaited string, options ...string) error {
	arguments := []string{"-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.directory,
		"-c", "shared_buffers=32MB", "-c", "lc_messages=C", "-c", "restart_after_crash=on"}
	if !s.durable {
		arguments = append(arguments, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	command, err := program(context.Background(), "postgres", append(arguments, options...)...)
	if err != nil {
		return err
	}
	output, err := command.StderrPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	p := &process{command: command, ended: make(chan struct{})}
	go p.read(output)
	if err := p.await(awaited); err != nil {
		_ = command.Process.Kill()
		<-p.ended
		return err
	}
	s.running = p
	return nil
}

// await returns when the server has said something.
func (p *process) await(what string) error {
	said := make(chan struct{})
	p.mu.Lock()
	if strings.Contains(p.log.String(), what) {
		close(said)
	} else {
		p.awaited, p.said = what, said
	}
	p.mu.Unlock()
	select {
	case <-said:
		return nil
	case <-p.ended:
	case <-time.After(startTimeout):
	}
	return fmt.Errorf("PostgreSQL did not say %q:\n%s", what, p.text())
}

// read keeps what the server says until it ends.
func (p *process) read(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		p.note(lines.Text())
	}
	_, _ = io.Copy(io.Discard, output) // after a line too long for the scanner
	_ = p.command.Wait()               // how it ended does not matter
	close(p.ended)
}

func (p *process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.WriteString(line + "\n")
	if p.said != nil && strings.Contains(line, p.awaited) {
		close(p.said)
		p.said = nil
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Log returns what the server has said since it was started.
func (s *Server) Log() string {
	if s.running == nil {
		return ""
	}
	return s.running.text()
}

// Stop stops the server and returns when it has ended. Immediately is as good
// as a crash: no connection is told, nothing is written, and the next Start
// recovers from the log (pg_ctl stop -m immediate). Otherwise connections are
// closed and transactions rolled back (-m fast).
func (s *Server) Stop(immediately bool) error {
	if s.running == nil {
		return nil
	}
	signal := syscall.SIGINT
	if immediately {
		signal = syscall.SIGQUIT
	}
	p := s.running
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		_ = p.command.Process.Kill()
		<-p.ended
		return fmt.Errorf("PostgreSQL did not stop:\n%s", p.text())
	}
	s.running = nil
	return nil
}

// Close stops the server and removes it.
func (s *Server) Close() error {
	return errors.Join(s.Stop(true), os.RemoveAll(s.directory))
}

// URL is the connection string of the superuser, over TCP with a password. It
// stays the same when the server is stopped and started.
func (s *Server) URL() string {
	return s.url(url.UserPassword(superuser, s.password), net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), "sslmode=disable")
}

// SocketURL is the connection string over the Unix socket, without a password.
func (s *Server) SocketURL() string {
	return s.url(url.User(superuser), "", url.Values{"host": {s.directory}, "port": {strconv.Itoa(s.port)}}.Encode())
}

func (s *Server) url(user *url.Userinfo, host, query string) string {
	return (&url.URL{Scheme: "postgres", User: user, Host: host, Path: "/postgres", RawQuery: query}).String()
}

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Password is that of URL.
func (s *Server) Password() string { return s.password }
