package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStorageSpecPlaceholders: a password with characters that mean something in a
// URL stays a password there, and a secret's file may end its line.
func TestStorageSpecPlaceholders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("p@ss/w:rd?#{x}+ %\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OAUTH_TEST_URL", "postgres://gate:a%20b@db/gate")
	t.Setenv("OAUTH_TEST_PATH", "/a b/oauth.db")
	for _, test := range []struct{ spec, want string }{
		{"postgres://gate:{file." + file + "}@db/gate", "postgres://gate:p%40ss%2Fw%3Ard%3F%23%7Bx%7D%2B%20%25@db/gate"},
		{"{env.OAUTH_TEST_URL}", "postgres://gate:a%20b@db/gate"},
		{"bolt:{env.OAUTH_TEST_PATH}", "bolt:/a b/oauth.db"},
		{"bolt:/a", "bolt:/a"},
	} {
		if got, err := storageSpec(test.spec).resolve(); string(got) != test.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", test.spec, got, err, test.want)
		}
	}
	for _, unknown := range []string{"{env.OAUTH_TEST_NONE}", "{file.nowhere}", "{secret}"} {
		if _, err := storageSpec("postgres://gate:" + unknown + "@db/gate").resolve(); err == nil || !strings.Contains(err.Error(), unknown) {
			t.Errorf("%s: %v, want an error that names it", unknown, err)
		}
	}
}
