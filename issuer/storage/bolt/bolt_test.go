package bolt

import (
	"path/filepath"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

func TestStorage(t *testing.T) {
	storagetest.Run(t, storagetest.Backend{
		Bubble: true,
		Place: func(t *testing.T) func(*testing.T) storage.Storage {
			path := filepath.Join(t.TempDir(), "oauth.db")
			return func(t *testing.T) storage.Storage { return open(t, path) }
		},
	})
}

// open opens a storage; whoever calls it closes it.
func open(t testing.TB, path string) *Storage {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}
