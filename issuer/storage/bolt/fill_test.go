package bolt

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// The pages of a bucket whose keys grow are nearly full, and those of one whose
// keys are scattered are not parted more often than they have to be.
func TestPagesAreFull(t *testing.T) {
	for name, c := range map[string]struct {
		key  func(n int) string
		used float64 // at least
	}{
		"growing":   {func(n int) string { return fmt.Sprintf("issuer %08d", n) }, 0.9},
		"scattered": {func(n int) string { return fmt.Sprintf("issuer %x", sha256.Sum256(fmt.Append(nil, n))) }, 0.6},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "oauth.db")
			s := open(t, path)
			expiry := time.Now().Add(time.Hour)
			for n := 0; n < 5000; n += 50 {
				err := s.Update(context.Background(), func(tx storage.Tx) error {
					for i := n; i < n+50; i++ {
						if err := tx.Put("kind", c.key(i), make([]byte, 100), expiry); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			inBolt(t, path, func(b *bbolt.Tx) error {
				pages := b.Bucket(kindBucket("kind")).Stats()
				if used := float64(pages.LeafInuse) / float64(pages.LeafAlloc); used < c.used {
					t.Errorf("pages are %.0f %% full, want %.0f %%", 100*used, 100*c.used)
				}
				return nil
			})
		})
	}
}
