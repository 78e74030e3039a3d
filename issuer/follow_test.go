package issuer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// sharedStorage is a storage that other nodes use as well. The test says what
// they did and whether this node hears of it; storagetest holds the real ones to
// that contract.
type sharedStorage struct {
	storage.Storage
	mu      sync.Mutex
	watch   storage.Watch
	touched time.Time
	follows chan struct{}
}

func (s *sharedStorage) Follow(ctx context.Context, watch storage.Watch) error {
	s.watch = watch
	close(s.follows)
	<-ctx.Done()
	return ctx.Err()
}

func (s *sharedStorage) LastInTouch() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched
}

// hears lets this node hear of everything that others did.
func (s *sharedStorage) hears(t *testing.T) {
	t.Helper()
	begun := time.Now()
	if err := s.watch.Changed(t.Context(), s.watch.Kinds); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = begun
}

// secondNode is an issuer on the fixture's records with a memory of its own.
func secondNode(t *testing.T, f *fixture) (*Issuer, *sharedStorage) {
	t.Helper()
	shared := &sharedStorage{Storage: f.store, follows: make(chan struct{})}
	state := NewState(shared)
	node, err := New(t.Context(), f.config, state)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		state.Follow(ctx, f.config.Logger)
	}()
	t.Cleanup(func() { stop(); <-done })
	<-shared.follows
	return node, shared
}

// TestNodesHearOfEachOther: a revocation and a new key of one node are in force on
// the other as soon as it hears of them.
func TestNodesHearOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		other, shared := secondNode(t, f)
		shared.hears(t)
		token := f.issue(asSvc, "")
		if _, err := other.Introspect(t.Context(), token); err != nil {
			t.Fatal("a token of the other node:", err)
		}
		if _, err := f.RevokeToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		shared.hears(t)
		if _, err := other.Introspect(t.Context(), token); !errors.Is(err, introspect.ErrInactive) {
			t.Error("revoked on the other node:", err)
		}
		if err := f.RotateKeys(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // until the new key signs
		young := f.issue(asSvc, "")
		if _, err := other.Introspect(t.Context(), young); !errors.Is(err, introspect.ErrInactive) {
			t.Error("a key that was not heard of yet:", err)
		}
		shared.hears(t)
		if _, err := other.Introspect(t.Context(), young); err != nil {
			t.Error("a token by a key that the other node made:", err)
		}
	})
}

// TestOutOfTouch: a node that cannot hear what others revoke refuses what could
// have been revoked, from OutOfTouch on, and accepts it again when it hears.
func TestOutOfTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		other, shared := secondNode(t, f)
		token := f.issue(asSvc, "")
		judge := func(when string, want error) {
			t.Helper()
			if _, err := other.Introspect(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		judge("just opened", nil)
		time.Sleep(OutOfTouch)
		judge("never heard anything", introspect.ErrUnavailable)
		shared.hears(t)
		judge("heard", nil)
		time.Sleep(OutOfTouch - time.Millisecond)
		judge("not out of touch yet", nil)
		time.Sleep(time.Millisecond)
		judge("out of touch", introspect.ErrUnavailable)
		if _, err := f.Introspect(t.Context(), token); err != nil {
			t.Error("a node alone is always in touch:", err)
		}
		shared.hears(t)
		judge("heard again", nil)
	})
}
