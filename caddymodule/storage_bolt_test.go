//go:build unix

package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStorageOpenToOthers: a file that others may open, as a copy of a backup may be,
// is told of. The file that the server has made is not.
func TestStorageOpenToOthers(t *testing.T) {
	s := start(t, usualCaddyfile, "")
	const says = "other users of this machine may open the OAuth storage"
	for mode, told := range map[os.FileMode]bool{0o600: false, 0o640: true} {
		if err := os.Chmod(filepath.Join(s.dir, "caddy/oauth.db"), mode); err != nil {
			t.Fatal(err)
		}
		before := s.log()
		if err := s.load(usualCaddyfile); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.TrimPrefix(s.log(), before), says) != told {
			t.Errorf("mode %v: told is %t", mode, !told)
		}
	}
}
