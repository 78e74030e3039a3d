package caddymodule

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildTags are those of xcaddy.sh, so that Caddy is compiled once for both.
const buildTags = "nobadger,nomysql,nopgx"

// binary is Caddy with the module, built once for all tests by the first that
// needs it.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	if os.Getenv(beCaddy) != "" {
		runCaddy()
		return
	}
	status := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
	os.Exit(status)
}

// caddyBinary returns the path of the built ./cmd/caddy.
func caddyBinary(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "oauth-caddy"); binary.err != nil {
			return
		}
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", buildTags,
			"-o", filepath.Join(binary.dir, "caddy"), "./cmd/caddy")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("%w: %s", err, output)
		}
	})
	if binary.err != nil {
		t.Fatal("build ./cmd/caddy:", binary.err)
	}
	return filepath.Join(binary.dir, "caddy")
}

// command makes a run of the built binary, or of the server's own program, whose
// files are all in the server's directory.
func (s *server) command(arguments ...string) *exec.Cmd {
	s.t.Helper()
	program := s.program
	if program == "" {
		program = caddyBinary(s.t)
	}
	c := exec.Command(program, arguments...)
	if s.descriptors > 0 {
		limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, s.descriptors)
		c = exec.Command("sh", append([]string{"-c", limited}, c.Args...)...)
	}
	c.Dir = s.dir
	c.Env = append(environment(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir,
		"CADDY_ADMIN="+s.admin)
	return c
}

// environment is that of the test without what would change Caddy or curl.
func environment() (kept []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch upper := strings.ToUpper(name); {
		case upper == "HOME", upper == "UPSTREAM", strings.HasPrefix(upper, "XDG_"), strings.HasPrefix(upper, "CADDY_"), strings.HasSuffix(upper, "_PROXY"):
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}

// outcome is how a command ended.
type outcome struct {
	status         int
	stdout, stderr string
}

// run runs the binary to its end.
func (s *server) run(arguments ...string) outcome {
	s.t.Helper()
	return runCommand(s.t, s.command(arguments...))
}

func runCommand(t testing.TB, c *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	bound := time.AfterFunc(3*time.Minute, func() { _ = c.Process.Kill() })
	defer bound.Stop()
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// process is a running server of the built binary.
type process struct {
	*server
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{}
}

// startProcess runs a Caddyfile in a process of its own, which ends with the
// test. It returns when the server serves.
func startProcess(t testing.TB, caddyfile, backend string) *process {
	t.Helper()
	return newServer(t, backend).serve(caddyfile)
}

// serve writes the Caddyfile and runs it.
func (s *server) serve(caddyfile string) *process {
	s.t.Helper()
	p, err := s.tryServe(caddyfile)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *server) writeCaddyfile(text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(s.caddyfile(text)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *server) tryServe(caddyfile string) (*process, error) {
	s.t.Helper()
	return s.runServer("--config", s.writeCaddyfile(caddyfile), "--adapter", "caddyfile")
}

// runServer runs "caddy run" until it says that it serves, which it does by
// sending what it was told on its standard input to an address.
func (s *server) runServer(arguments ...string) (*process, error) {
	s.t.Helper()
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	word := rand.Text()
	p := &process{server: s, exited: make(chan struct{})}
	p.cmd = s.command(append([]string{"run", "--pingback", ready.Addr().String()}, arguments...)...)
	p.cmd.Stdin, p.cmd.Stderr = strings.NewReader(word), &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.exited)
		ready.Close()
	}()
	s.t.Cleanup(p.stop)
	_ = ready.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := ready.Accept()
	if err != nil {
		p.stop()
		return p, fmt.Errorf("caddy run does not serve: exit status %d: %s", p.cmd.ProcessState.ExitCode(), p.stderr.String())
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); err != nil || string(said) != word {
		return p, fmt.Errorf("somebody else answers: %q, %v", said, err)
	}
	return p, nil
}

// stop ends the process as a service manager would and waits for its end.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.t.Error("the server did not stop within 10 s of SIGTERM")
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	<-p.exited
}
