package caddymodule

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkoutCopy copies what a build needs of the checkout to a place where
// xcaddy.sh may write ./caddy.
func checkoutCopy(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "xcaddy.sh", "Caddyfile.example"} {
		text := ofCheckout(t, name)
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tree := range []string{"caddymodule", "issuer", "introspect"} {
		source := os.DirFS(filepath.Join("..", tree))
		err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
				return err
			}
			text, err := fs.ReadFile(source, path)
			if err != nil {
				return err
			}
			target := filepath.Join(root, tree, path)
			if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
				return err
			}
			return os.WriteFile(target, text, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// script runs xcaddy.sh in a copy of the checkout.
func script(t *testing.T, root string, variables []string, arguments ...string) outcome {
	t.Helper()
	c := exec.Command(filepath.Join(root, "xcaddy.sh"), arguments...)
	c.Dir, c.Env = root, append(append(environment(), "HOME="+os.Getenv("HOME")), variables...)
	return runCommand(t, c)
}

// TestXcaddyScriptEquals: what the script builds by hand is what xcaddy builds.
// xcaddy resolves every version anew, for which it may ask the module proxy, so
// this is one of the long tests.
func TestXcaddyScriptEquals(t *testing.T) {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return // ./xcaddy.sh test --all
	}
	standIn, err := filepath.Abs("testdata/xcaddy")
	if err != nil {
		t.Fatal(err)
	}
	built := make(map[string]string)
	for way, variables := range map[string][]string{
		"path": {"XCADDY=path", "PATH=" + standIn + ":" + os.Getenv("PATH")},
		"hand": {"XCADDY=hand"},
	} {
		root := checkoutCopy(t)
		if ran := script(t, root, variables); ran.status != 0 {
			t.Fatalf("XCADDY=%s: %s", way, ran.stderr)
		}
		built[way] = filepath.Join(root, "caddy")
	}
	for _, question := range []string{"build-info", "list-modules"} {
		hand, path := tellsOf(t, built["hand"], question), tellsOf(t, built["path"], question)
		if !slices.Equal(hand, path) {
			t.Errorf("%s differs: by hand only %v, by xcaddy only %v", question, without(hand, path), without(path, hand))
		}
	}
	if modules := tellsOf(t, built["hand"], "list-modules"); !slices.Contains(modules, "http.handlers.oauth_protect") {
		t.Error("the module is not built in")
	}
}

// tellsOf asks a built caddy about itself; of its build info the dependencies
// count, not the places of the copies.
func tellsOf(t *testing.T, caddy, question string) (lines []string) {
	t.Helper()
	ran := runCommand(t, exec.Command(caddy, question))
	if ran.status != 0 {
		t.Fatal(ran.stderr)
	}
	for line := range strings.Lines(ran.stdout) {
		fields := strings.Fields(line)
		if question == "build-info" && (len(fields) < 3 || fields[0] != "dep" || strings.Contains(line, "caddy-oauth-gate")) {
			continue
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return lines
}

func without(all, these []string) (rest []string) {
	for _, one := range all {
		if !slices.Contains(these, one) {
			rest = append(rest, one)
		}
	}
	return rest
}

// TestXcaddyScriptMessages: what the script will not do, it says in one line.
func TestXcaddyScriptMessages(t *testing.T) {
	root := checkoutCopy(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The script's own ports are fixed; a copy of it asks for one that is busy.
	text := strings.ReplaceAll(ofCheckout(t, "xcaddy.sh"), "ensure_port 8080", "ensure_port "+port)
	if err := os.WriteFile(filepath.Join(root, "xcaddy.sh"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	noGo := t.TempDir()
	for _, tool := range []string{"sh", "awk", "dirname", "id", "mkdir", "mktemp", "rm", "cat", "env"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(noGo, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name      string
		variables []string
		arguments []string
		status    int
		says      string
	}{
		{"an unknown word", nil, []string{"biuld"}, 2, "unknown command biuld; ./xcaddy.sh help lists them"},
		{"a word too many", nil, []string{"build", "x"}, 2, "build takes no arguments"},
		{"a busy port", nil, []string{"run"}, 1, "port " + port + " is in use: the example listens on it"},
		{"no go", []string{"PATH=" + noGo}, nil, 1, "go is"},
		{"no such way to build", []string{"XCADDY=magic"}, nil, 1, "XCADDY is path, fetch or hand, not magic"},
		{"no xcaddy on PATH", []string{"XCADDY=path", "PATH=" + filepath.Dir(goProgram(t)) + ":" + noGo}, nil, 1, "XCADDY=path, but no xcaddy is on PATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ran := script(t, root, test.variables, test.arguments...)
			if ran.status != test.status {
				t.Errorf("exit status %d, want %d", ran.status, test.status)
			}
			contains(t, ran.stderr, "xcaddy.sh: ", test.says)
			if strings.Count(ran.stderr, "\n") != 1 {
				t.Errorf("not one line: %s", ran.stderr)
			}
		})
	}
	if ran := script(t, root, nil, "help"); ran.status != 0 || !strings.HasPrefix(ran.stdout, "Usage: ./xcaddy.sh") {
		t.Errorf("help: %d %s", ran.status, ran.stdout)
	}
}

func goProgram(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
