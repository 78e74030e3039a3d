package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// FuzzCaddyfile: whatever stands in a Caddyfile, to adapt it ends with a
// configuration or an error and never with a panic; and what it ends with is the
// same after the way through JSON, which is the only thing a server keeps.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		caddyfile, _, _ := strings.Cut(string(text), adaptSeparator)
		f.Add(caddyfile)
	}
	example, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add(usualCaddyfile)
	for _, option := range []string{"oauth", "oauth {\nissuer\n}", "oauth {\nissuer https://a {\nclient\n}\n}", "oauth {\nissuer https://a {\nscope {\n}\n}\n}", "oauth {\nstorage {\n}\n}"} {
		f.Add("{\n" + option + "\n}\n")
	}
	for _, handler := range []string{"oauth_issuer {", "oauth_protect {\nresource\n}", "oauth_protect {\nscope\n}", "oauth_protect * {\nissuer {\n}\n}", `oauth_protect "" {` + "\nclaim a b\n}"} {
		f.Add("http://a.example {\n" + handler + "\n}\n")
	}
	f.Fuzz(func(t *testing.T, caddyfile string) {
		// These make Caddy read what the text names: files and the environment.
		if strings.Contains(caddyfile, "import") || strings.Contains(caddyfile, "{$") || strings.Contains(caddyfile, "tls") || strings.Contains(caddyfile, "pki") {
			return
		}
		adapted, err := adapt(caddyfile)
		if err != nil {
			return
		}
		config := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(adapted, config); err != nil {
			t.Fatalf("adapted to what is no configuration: %v\n%s", err, adapted)
		}
		if raw, has := config.AppsRaw["oauth"]; has && json.Valid(raw) {
			survivesJSON(t, adapted)
		}
	})
}
