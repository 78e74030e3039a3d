package caddymodule

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeKEK writes a key encryption key, as `openssl rand -base64 32` prints it, and
// returns the placeholder for it and its text.
func (s *server) writeKEK(name string, fill byte) (placeholder, text string) {
	s.t.Helper()
	text = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return "{file." + path + "}", text
}

// withKEK is the usual server with an option in its oauth block.
func withKEK(placeholders ...string) string {
	option := ""
	if len(placeholders) > 0 {
		option = "key_encryption_key " + strings.Join(placeholders, " ")
	}
	return strings.Replace(usualCaddyfile, "	oauth {\n", "	oauth {\n		"+option+"\n", 1)
}

// storedFile is the bytes of the storage of a server.
func (s *server) storedFile() []byte {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "caddy", "oauth.db"))
	if err != nil || len(found) != 1 {
		s.t.Fatalf("the storage: %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// TestKeyEncryptionKey: what an operator does with key_encryption_key, from the
// first start on: keys are never on the disk, a wrong key starts nothing and
// changes nothing, one is replaced by a reload, and none is ever shown.
func TestKeyEncryptionKey(t *testing.T) {
	b := startBackend(t)
	s := newServer(t, b.address)
	one, oneText := s.writeKEK("one", 0x5b)
	two, twoText := s.writeKEK("two", 0x6c)
	p := s.serve(withKEK(one))
	token := p.appToken()
	p.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	p.stop()
	before := s.storedFile()
	if bytes.Contains(before, []byte(`"private_key"`)) || !bytes.Contains(before, []byte(`"encrypted_key"`)) || !bytes.Contains(before, []byte(`"encrypted_secret"`)) {
		t.Error("a private key is stored in plaintext")
	}

	said := ""
	for name, options := range map[string][]string{"none": nil, "another": {two}} {
		p, err := s.tryServe(withKEK(options...))
		if err == nil {
			p.stop()
			t.Errorf("%s: the server starts", name)
			continue
		}
		lines := strings.Split(strings.TrimSpace(s.log()), "\n")
		contains(t, lines[len(lines)-1]+err.Error(), "encrypted with a key encryption key that is not given", s.url)
		said += err.Error()
		if !bytes.Equal(s.storedFile(), before) {
			t.Errorf("%s: the storage was changed", name)
		}
	}

	p = s.serve(withKEK(one, two))
	p.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	reload := func(caddyfile string) outcome {
		t.Helper()
		return p.run("reload", "--config", s.writeCaddyfile(caddyfile), "--adapter", "caddyfile", "--address", s.admin)
	}
	s.reloaded = true
	for _, options := range [][]string{{two, one}, {two}} {
		if ran := reload(withKEK(options...)); ran.status != 0 {
			t.Fatalf("%v: %s", options, ran.stderr)
		}
		p.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	}
	ran := reload(withKEK(one))
	if ran.status == 0 {
		t.Error("a reload without the key in use is accepted")
	}
	said += ran.stderr
	p.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	p.send("GET", "/api/x", "", bearer(p.appToken())).want(t, 200)
	config := p.adminCall("GET", "/config/", nil).body
	listed := p.run("oauth", "key", "list", "--address", s.admin)
	contains(t, listed.stdout, "ENCRYPTED", "yes")
	p.stop()

	for _, never := range []string{oneText, twoText} {
		if strings.Contains(p.log()+p.stderr.String()+said+config+listed.stdout, never) {
			t.Error("a key encryption key was shown")
		}
	}
}

// TestKeyEncryptionKeyMistakes: each is refused before the storage is touched, and
// the message does not quote what could be a key.
func TestKeyEncryptionKeyMistakes(t *testing.T) {
	s := newServer(t, "")
	good, text := s.writeKEK("good", 0x5b)
	twin, _ := s.writeKEK("twin", 0x5b)
	short, empty := filepath.Join(s.dir, "short"), filepath.Join(s.dir, "empty")
	for path, content := range map[string]string{short: text[:40], empty: "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		options []string
		says    string
	}{
		{"good", []string{good}, ""},
		{"the key itself", []string{text}, "want a placeholder"},
		{"a key beside a placeholder", []string{text + good}, "want a placeholder"},
		{"no such file", []string{"{file." + s.dir + "/missing}"}, "/missing} is empty or cannot be read"},
		{"an empty file", []string{"{file." + empty + "}"}, "is empty or cannot be read"},
		{"no such variable", []string{"{env.OAUTH_TEST_NO_SUCH_VARIABLE}"}, "is empty or cannot be read"},
		{"a placeholder of a request", []string{"{http.request.header.X}"}, "is empty or cannot be read"},
		{"too short", []string{"{file." + short + "}"}, "32 bytes"},
		{"the same key in two files", []string{good, twin}, "is given twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := (&App{KeyEncryptionKeys: test.options}).keyEncryption()
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it is accepted")
			}
			contains(t, err.Error(), "key_encryption_key: ", test.says)
			if strings.Contains(err.Error(), text[:16]) {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
}
