package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

// listener keeps what Follow tells it.
type listener struct {
	mu    sync.Mutex
	calls []string
	touch []error
}

func (l *listener) changed(_ context.Context, kinds []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, fmt.Sprint(kinds))
	return nil
}

func (l *listener) touched(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touch = append(l.touch, err)
}

func (l *listener) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

func (l *listener) troubles() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.touch)
}

// follow follows two kinds until the test ends, and is in touch.
func follow(t *testing.T, s *Storage) *listener {
	t.Helper()
	l := new(listener)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Follow(ctx, storage.Watch{Kinds: []string{"key", "revoked"}, Changed: l.changed, Touch: l.touched})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	storagetest.Eventually(t, "in touch", func() bool { return !s.LastInTouch().IsZero() })
	return l
}

// seenInTime waits for one more call of Changed, a second at most.
func seenInTime(t *testing.T, l *listener, before int, since time.Time) {
	t.Helper()
	storagetest.Eventually(t, "told", func() bool { return len(l.heard()) > before })
	if took := time.Since(since); took > time.Second {
		t.Errorf("a change was told after %v, want a second at most", took)
	}
}

// A notification comes at once: that is what LISTEN is for.
func TestNotified(t *testing.T) {
	config := newConfig()
	s, other := opened(t, config), opened(t, config)
	l := follow(t, s)
	var total time.Duration
	const times = 5
	for range times {
		before, began := len(l.heard()), time.Now()
		if err := put(t.Context(), other, "revoked", "a", ""); err != nil {
			t.Fatal(err)
		}
		seenInTime(t, l, before, began)
		total += time.Since(began)
	}
	if mean := total / times; mean > lookEvery/3 {
		t.Errorf("a change was told after %v in the mean: that is polling", mean)
	}
}

// Notifications that go astray (a pooler in between) delay a change, but not for
// longer than a second.
func TestNotificationsLost(t *testing.T) {
	config := newConfig()
	s, other := opened(t, config), opened(t, config)
	l := follow(t, s)
	admin := beside(t, server.URL())
	for range 3 {
		before, began := len(l.heard()), time.Now()
		// As flush announces it, but for the notification.
		execute(t, admin, other, `INSERT INTO @.change (kind, node) VALUES ('revoked', 'another')`)
		seenInTime(t, l, before, began)
	}
	if troubles := l.troubles(); len(troubles) > 0 {
		t.Errorf("Touch was told %v", troubles)
	}
}

// A session that listens and is killed is made anew, and what happened meanwhile
// is told within a second.
func TestListenerKilled(t *testing.T) {
	config := newConfig()
	s, other := opened(t, config), opened(t, config)
	l := follow(t, s)
	admin := beside(t, server.URL())
	for range 3 {
		before, began := len(l.heard()), time.Now()
		if n := terminate(t, admin, s, "%pg_current_snapshot%"); n != 1 {
			t.Fatalf("%d sessions listened, want 1", n)
		}
		if err := put(t.Context(), other, "revoked", "a", ""); err != nil {
			t.Fatal(err)
		}
		kept := time.Now()
		seenInTime(t, l, before, began)
		storagetest.Eventually(t, "in touch", func() bool { return s.LastInTouch().After(kept) })
	}
	for i, err := range l.troubles() {
		if lost := i%2 == 0; lost != (err != nil) {
			t.Errorf("Touch was told %v, want a cause and nil in turn", l.troubles())
		}
	}
}

// While the database is away the node knows that it does not know.
func TestOutOfTouch(t *testing.T) {
	own := postgrestest.Start(t)
	s := opened(t, Config{Connection: own.URL()})
	l := follow(t, s)
	if err := own.Stop(false); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	storagetest.Eventually(t, "touch lost", func() bool { return len(l.troubles()) == 1 })
	if err := l.troubles()[0]; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Touch was told %v, want ErrUnavailable", err)
	}
	before := len(l.heard())
	if at := s.LastInTouch(); at.After(stopped) {
		t.Errorf("LastInTouch = %v, after the server had stopped", at)
	}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	storagetest.Eventually(t, "in touch again", func() bool { return s.LastInTouch().After(started) })
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("in touch again after %v", took)
	}
	if calls := l.heard()[before:]; len(calls) == 0 || calls[0] != "[key revoked]" {
		t.Errorf("Changed was called with %v, want all kinds: anything may have happened", calls)
	}
	if troubles := l.troubles(); len(troubles) != 2 || troubles[1] != nil {
		t.Errorf("Touch was told %v, want the cause and nil", troubles)
	}
}

// A node that was told "unknown" has not put its own revocation in force; it
// hears of it like the others do, if it was kept.
func TestOwnChangeOfUnknownOutcome(t *testing.T) {
	p := newProxy(t, server)
	config := newConfig()
	config.Connection = p.connection(t, server)
	s := opened(t, config)
	l := follow(t, s)
	before, began := len(l.heard()), time.Now()
	err := s.Update(t.Context(), func(tx storage.Tx) error {
		p.set(cutAfter)
		return tx.Put("revoked", "a", nil, time.Time{})
	})
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("Update = %v, want ErrOutcomeUnknown", err)
	}
	seenInTime(t, l, before, began)
	if calls := l.heard()[before:]; calls[0] != "[key revoked]" {
		t.Errorf("Changed was called with %v, want all kinds", calls)
	}
}
