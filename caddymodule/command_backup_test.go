package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBackupRestore: a backup that is made while the server is written to has all
// of one moment in it, and a server that finds it in the place of its storage goes
// on from there.
func TestBackupRestore(t *testing.T) {
	b := startBackend(t)
	s := newServer(t, b.address)
	p := s.serve(usualCaddyfile)
	secret := s.addClient("early", "api:read")
	good, revoked := s.token("early", secret), s.token("early", secret)
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
	jwks := s.send("GET", "/.well-known/jwks.json", "").body

	writing, written := make(chan struct{}), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-writing:
				written <- nil
				return
			default:
			}
			a, err := s.try("POST", "http://"+s.admin+"/oauth/clients", fmt.Sprintf(`{"client_name": "n%d", "grant_types": ["client_credentials"]}`, n), "Content-Type: application/json")
			if err == nil && a.StatusCode != http.StatusOK {
				err = errors.New(a.body)
			}
			if err != nil {
				written <- err
				return
			}
		}
	}()
	file := filepath.Join(s.dir, "backup.db")
	made := s.run("oauth", "backup", file, "--json", "--address", s.admin)
	close(writing)
	if err := <-written; err != nil {
		t.Error("a write beside the backup:", err)
	}
	info, err := os.Stat(file)
	if made.status != 0 || err != nil {
		t.Fatal(made.stderr, err)
	}
	contains(t, made.stdout, fmt.Sprintf(`"bytes": %d`, info.Size()), `"file": "`+file+`"`)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v: others can read the signing keys", info.Mode().Perm())
	}
	if !strings.Contains(s.log(), `"path":"/oauth/backup"`) {
		t.Error("no audit line tells that the keys were handed out")
	}
	checked := s.run("oauth", "storage", "check", "bolt:"+file)
	if checked.status != 0 {
		t.Error("the backup is damaged:", checked.stderr)
	}
	if beside, _ := filepath.Glob(file + "?*"); len(beside) > 0 {
		t.Errorf("left beside the backup: %v", beside)
	}

	piped := s.run("oauth", "backup", "-", "--address", s.admin)
	if err := os.WriteFile(file+"-piped", []byte(piped.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if ran := s.run("oauth", "storage", "check", "bolt:"+file+"-piped"); piped.status != 0 || ran.status != 0 {
		t.Errorf("the backup in a pipe: %s%s", piped.stderr, ran.stderr)
	}

	s.addClient("late", "api:read")
	p.stop()
	putInPlace(t, s, file)
	p = s.serve(usualCaddyfile)
	s.send("GET", "/api/x", "", bearer(good)).want(t, 200)
	s.send("GET", "/api/x", "", bearer(revoked)).want(t, 401)
	s.tokenRequest("early", secret).want(t, 200)
	s.adminCall("GET", "/oauth/clients/late", nil).want(t, 404)
	if s.send("GET", "/.well-known/jwks.json", "").body != jwks {
		t.Error("the keys are others")
	}
	p.stop()

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range []struct {
		name string
		file []byte
		says string
	}{
		{"truncated", whole[:len(whole)-4096], "is cut off: restore a backup"},
		{"empty", nil, "is empty"},
		{"of another program", bytes.Repeat([]byte("SQLite format 3\x00"), 2048), "is not a database"},
	} {
		t.Run(refused.name, func(t *testing.T) {
			if err := os.WriteFile(file, refused.file, 0o600); err != nil {
				t.Fatal(err)
			}
			ran := s.run("oauth", "storage", "check", "bolt:"+file)
			if ran.status != 1 {
				t.Error("storage check takes it:", ran.stdout)
			}
			contains(t, ran.stdout, "FAULT", refused.says)
			putInPlace(t, s, file)
			if err := os.Remove(s.logFile()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.tryServe(usualCaddyfile); err == nil {
				t.Fatal("the server starts with it")
			}
			contains(t, onlyError(t, s), refused.says)
		})
	}
}

// putInPlace restores a backup as docs/storage.md says.
func putInPlace(t *testing.T, s *server, backup string) {
	t.Helper()
	content, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "caddy", "oauth.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sends makes a backup of what a server is said to send.
func sends(content io.Reader) *backup {
	return &backup{progress: io.Discard, open: func() (io.ReadCloser, error) { return io.NopCloser(content), nil }}
}

// cutOffReader is an answer whose connection is lost.
type cutOffReader struct{}

func (cutOffReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestBackupFile: the name stands for a whole backup or for what was there before,
// and nothing else stays behind.
func TestBackupFile(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  string // content of the file, if any
		partial string // content of a rest, if any
		force   bool
		sent    io.Reader
		says    string
		after   string
	}{
		{name: "new", sent: strings.NewReader("whole"), after: "whole"},
		{name: "there already", before: "old", sent: strings.NewReader("whole"), says: "is there already (--force replaces it)", after: "old"},
		{name: "there already, replaced", before: "old", force: true, sent: strings.NewReader("whole"), after: "whole"},
		{name: "a rest of an interrupted run", partial: "a longer rest", sent: strings.NewReader("whole"), after: "whole"},
		{name: "connection lost", sent: io.MultiReader(strings.NewReader("who"), cutOffReader{}), says: "the backup is not whole"},
		{name: "connection lost, there already", before: "old", force: true, sent: io.MultiReader(strings.NewReader("who"), cutOffReader{}), says: "the backup is not whole", after: "old"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "backup.db")
			for name, content := range map[string]string{path: test.before, path + ".partial": test.partial} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			switch _, err := sends(test.sent).write(path, test.force); {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("error %v, want %q", err, test.says)
			}
			content, err := os.ReadFile(path)
			if string(content) != test.after || (err != nil) != (test.after == "") {
				t.Errorf("the file has %q, %v; want %q", content, err, test.after)
			}
			if info, err := os.Stat(path); test.after == "whole" && (err != nil || info.Mode().Perm() != 0o600) {
				t.Errorf("mode %v, %v; want 0600", info.Mode().Perm(), err)
			}
			if _, err := os.Lstat(path + ".partial"); err == nil {
				t.Error("the partial file stays behind")
			}
		})
	}
}

// appearing is an answer during which something happens to the files.
type appearing struct {
	io.Reader
	happens func()
}

func (a appearing) Read(p []byte) (int, error) {
	a.happens()
	return a.Reader.Read(p)
}

// TestBackupBesideOthers: a file that appears while the backup is made is not
// replaced unasked, and two backups of one name do not become one file of both.
func TestBackupBesideOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.db")
	other := func(name string) func() {
		return func() {
			_ = os.Remove(name)
			if err := os.WriteFile(name, []byte("other"), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := sends(appearing{strings.NewReader("whole"), other(path + ".partial")}).write(path, false); err == nil || !strings.Contains(err.Error(), "is another backup being made?") {
		t.Errorf("error %v", err)
	}
	if content, _ := os.ReadFile(path + ".partial"); string(content) != "other" {
		t.Errorf("the file of the other backup has %q", content)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a backup that is not whole has the name of a whole one")
	}
	if _, err := sends(appearing{strings.NewReader("whole"), other(path)}).write(path, false); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("error %v", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "other" {
		t.Errorf("the file of somebody else has %q", content)
	}
}

// TestDownloadCutOff: a copy that fails in the middle must not look like a whole
// one to its reader; one that fails before the first byte is an error with words.
func TestDownloadCutOff(t *testing.T) {
	admin := &AdminAPI{logger: slog.New(slog.DiscardHandler)}
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := r.URL.Path == "/begun"
		err := admin.writeDownload(w, func(w io.Writer) error {
			if begin {
				_, _ = w.Write(make([]byte, 100_000))
			}
			return errors.New("disk full")
		})
		http.Error(w, err.Error(), http.StatusBadRequest)
	}))
	defer answers.Close()
	for path, want := range map[string]string{"/begun": "", "/not-begun": "disk full\n"} {
		response, err := http.Get(answers.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if want == "" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v after %d bytes, want an answer that is cut off", path, err, len(content))
		}
		if want != "" && string(content) != want {
			t.Errorf("%s: %q, %v; want %q", path, content, err, want)
		}
	}
}

// TestProgress: a command that takes longer than two seconds says how far it is.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lasts, want := range map[time.Duration]string{
			progressEvery - time.Millisecond:   "",
			2*progressEvery - time.Millisecond: "half (2 s)\n",
		} {
			var said bytes.Buffer
			stop := progress(&said, func() string { return "half" })
			time.Sleep(lasts)
			stop()
			if said.String() != want {
				t.Errorf("within %s it says %q, want %q", lasts, said.String(), want)
			}
		}
	})
}
