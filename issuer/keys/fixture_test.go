package keys

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

const testIssuer = "https://auth.test"

// testPolicy has times that differ from each other, so that none can stand in
// for another.
func testPolicy() Policy {
	return Policy{Algorithm: ES256, RotateEvery: 24 * time.Hour, PublishAhead: 10 * time.Minute, MaxLifetime: time.Hour}
}

// openStorage opens a file in dir; it is closed with the test.
func openStorage(t testing.TB, dir string) storage.Storage {
	t.Helper()
	store, err := bolt.Open(filepath.Join(dir, "oauth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func openRing(t testing.TB, store storage.Storage, policy Policy) *Ring {
	t.Helper()
	ring := NewRing(store, testIssuer)
	if err := ring.Open(t.Context(), policy); err != nil {
		t.Fatalf("Open: %v", err)
	}
	return ring
}

func maintain(t testing.TB, ring *Ring) {
	t.Helper()
	if err := ring.Maintain(t.Context()); err != nil {
		t.Fatalf("Maintain: %v", err)
	}
}

func rotate(t testing.TB, ring *Ring, immediately bool) {
	t.Helper()
	if err := ring.Rotate(t.Context(), immediately); err != nil {
		t.Fatalf("Rotate: %v", err)
	}
}

// signsWith returns the kid of a token that the ring signs now.
func signsWith(t testing.TB, ring *Ring) string {
	t.Helper()
	token, err := ring.Sign("at+jwt", []byte(`{}`))
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	encoded, _, _ := strings.Cut(token, ".")
	header, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var named struct {
		ID string `json:"kid"`
	}
	if err := json.Unmarshal(header, &named); err != nil {
		t.Fatal(err)
	}
	return named.ID
}

// published returns the kids of the JWKS in its order.
func published(t testing.TB, ring *Ring) []string {
	t.Helper()
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(ring.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, k := range set.Keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// rewrite changes every stored key of the issuer behind the ring's back.
func rewrite(t testing.TB, store storage.Storage, change func(*record)) {
	t.Helper()
	err := store.Update(t.Context(), func(tx storage.Tx) error {
		records, err := list(tx, testIssuer)
		if err != nil {
			return err
		}
		for _, r := range records {
			name := recordKey(testIssuer, r.ID)
			change(&r)
			value, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := tx.Put(Kind, name, value, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// failingStorage fails while failing is set.
type failingStorage struct {
	storage.Storage
	failing atomic.Bool
}

func (s *failingStorage) View(ctx context.Context, fn func(storage.Tx) error) error {
	if s.failing.Load() {
		return storage.ErrUnavailable
	}
	return s.Storage.View(ctx, fn)
}

func (s *failingStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if s.failing.Load() {
		return storage.ErrUnavailable
	}
	return s.Storage.Update(ctx, fn)
}

// meeting holds everybody back until as many as were announced have come.
type meeting struct {
	mu      sync.Mutex
	missing int
	met     chan struct{}
}

func (m *meeting) announce(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missing, m.met = n, make(chan struct{})
}

func (m *meeting) attend() {
	m.mu.Lock()
	m.missing--
	if m.missing == 0 {
		close(m.met)
	}
	met := m.met
	m.mu.Unlock()
	<-met
}

// meetingStorage holds every Update back until the others have come: all of them
// have decided on what they had read before.
type meetingStorage struct {
	storage.Storage
	*meeting
}

func (s *meetingStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	s.attend()
	return s.Storage.Update(ctx, fn)
}
