package keys

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

// openPostgres opens the database once more, as another node does.
func openPostgres(t *testing.T, server *postgrestest.Server, schema string) *postgres.Storage {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{Connection: server.URL(), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// followRing keeps a ring true to what other nodes do, as the issuer's State does,
// and returns when it is in touch.
func followRing(t *testing.T, store *postgres.Storage, ring *Ring) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = store.Follow(ctx, storage.Watch{
			Kinds:   []string{Kind},
			Changed: func(ctx context.Context, _ []string) error { return ring.Reload(ctx) },
			Touch:   func(error) {},
		})
	}()
	t.Cleanup(func() { stop(); <-ended })
	storagetest.Eventually(t, "in touch", func() bool { return !store.LastInTouch().IsZero() })
}

// TestPostgres: what the tests of one process show of two nodes is so with two
// connections to a real database.
func TestPostgres(t *testing.T) {
	server := postgrestest.Start(t)

	t.Run("by age at once", func(t *testing.T) {
		meet := new(meeting)
		stores := []*meetingStorage{{openPostgres(t, server, "age"), meet}, {openPostgres(t, server, "age"), meet}}
		meet.announce(1)
		first := openRing(t, stores[0], testPolicy())
		rotateByAge(t, stores[0], first, openRing(t, stores[1], testPolicy()))
	})

	t.Run("first start at once", func(t *testing.T) {
		meet := new(meeting)
		meet.announce(2)
		rings := make(chan *Ring, 2)
		for range 2 {
			store := &meetingStorage{openPostgres(t, server, "start"), meet}
			go func() {
				ring := NewRing(store, testIssuer)
				if err := ring.Open(t.Context(), testPolicy()); err != nil {
					t.Error(err)
				}
				rings <- ring
			}()
		}
		if a, b := published(t, <-rings), published(t, <-rings); len(a) != 1 || !slices.Equal(a, b) {
			t.Errorf("the nodes made %v and %v", a, b)
		}
	})

	t.Run("revoked within a second", func(t *testing.T) {
		encryption := testEncryption(t, 1)
		one, two := openPostgres(t, server, "revoke"), openPostgres(t, server, "revoke")
		here, there := mustOpenEncrypted(t, one, encryption), mustOpenEncrypted(t, two, encryption)
		withdrawn := make(chan time.Time, 1)
		there.NotifyWithdrawn(func() { withdrawn <- time.Now() })
		followRing(t, two, there)
		kid := signsWith(t, here)
		revoke(t, here, kid)
		revoked := time.Now()
		select {
		case at := <-withdrawn:
			if took := at.Sub(revoked); took > time.Second {
				t.Errorf("the other node was told after %s, want a second at most", took)
			}
		case <-time.After(time.Minute):
			t.Fatal("the other node was never told")
		}
		if _, _, ok := there.Public(kid); ok || !bytes.Equal(here.JWKS(), there.JWKS()) || signsWith(t, there) != signsWith(t, here) {
			t.Errorf("the other node has %v, this one %v", published(t, there), published(t, here))
		}
	})

	t.Run("encrypted while others make keys", func(t *testing.T) {
		one, two := openPostgres(t, server, "encrypt"), openPostgres(t, server, "encrypt")
		plain := openRing(t, two, testPolicy())
		overtaken := &overtakingStorage{Storage: one, between: func() { rotate(t, plain, false) }}
		if n, err := Reencrypt(t.Context(), overtaken, testEncryption(t, 1), StoredKeys()); err != nil || n != 2 {
			t.Fatalf("rewritten %d, %v; want both keys", n, err)
		}
		if again := mustOpenEncrypted(t, one, testEncryption(t, 1)); !bytes.Equal(again.JWKS(), plain.JWKS()) {
			t.Errorf("the keys are %v, were %v", published(t, again), published(t, plain))
		}
	})
}
