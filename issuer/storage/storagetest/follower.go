package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// RunFollower runs the suite of a [storage.Follower]. place makes a new, empty
// place and returns the function that opens one more node there; the suite
// closes what it opened.
func RunFollower(t *testing.T, place func(t *testing.T) func(t *testing.T) storage.Follower) {
	for name, run := range map[string]func(t *testing.T, mine, other storage.Follower){
		"all kinds are told first":                   allKindsFirst,
		"a change is seen within a second":           changeIsSeen,
		"own, unwatched and refused ones are silent": onlyOthersAreTold,
		"in touch means having heard":                inTouchMeansHeard,
		"nothing is missed among many":               nothingIsMissed,
		"a failure is told again":                    failureIsToldAgain,
		"the first watcher hears of those under way": underWayIsHeard,
		"it ends with its context and the storage":   followEnds,
	} {
		t.Run(name, func(t *testing.T) {
			open := place(t)
			mine := opened(t, func(t *testing.T) storage.Storage { return open(t) })
			other := opened(t, func(t *testing.T) storage.Storage { return open(t) })
			run(t, mine.(storage.Follower), other.(storage.Follower))
		})
	}
}

// watcher keeps the records of one kind in memory, as an issuer does.
type watcher struct {
	store storage.Storage

	mu    sync.Mutex
	calls []string // the kinds of each call of Changed
	known map[string]string
	fail  error
}

// follow makes a watcher of the kinds "key" and "revoked", and waits until it
// is in touch.
func follow(t *testing.T, s storage.Follower) *watcher {
	t.Helper()
	w := &watcher{store: s}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Follow(ctx, storage.Watch{Kinds: []string{"key", "revoked"}, Changed: w.changed})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	Eventually(t, "in touch", func() bool { return !s.LastInTouch().IsZero() })
	return w
}

func (w *watcher) changed(ctx context.Context, kinds []string) error {
	known := make(map[string]string)
	err := w.store.View(ctx, func(tx storage.Tx) error {
		return tx.List("revoked", "", func(key string, value []byte) error {
			known[key] = string(value)
			return nil
		})
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprint(kinds))
	if w.fail != nil {
		return w.fail
	}
	if err == nil {
		w.known = known
	}
	return err
}

func (w *watcher) knows(key, value string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	got, ok := w.known[key]
	return ok && got == value
}

func (w *watcher) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *watcher) failWith(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// Eventually waits for something that another goroutine or process brings about.
func Eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, happened)
}

func within(t testing.TB, limit time.Duration, what string, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); <-time.After(2 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// A node must not answer from an index that it has not loaded.
func allKindsFirst(t *testing.T, mine, other storage.Follower) {
	if at := mine.LastInTouch(); !at.IsZero() {
		t.Errorf("LastInTouch = %v before Follow", at)
	}
	put(t, other, "revoked", "a", "1", forever)
	before := time.Now()
	w := follow(t, mine)
	if calls := w.heard(); len(calls) == 0 || calls[0] != "[key revoked]" || !w.knows("a", "1") {
		t.Errorf("Changed was called with %v, want all kinds in their order", calls)
	}
	if at := mine.LastInTouch(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("LastInTouch = %v, want a time since %v", at, before)
	}
}

// RFC 7009 §2: a revoked token is refused; on every node within a second.
func changeIsSeen(t *testing.T, mine, other storage.Follower) {
	w := follow(t, mine)
	for i := range 20 {
		value := fmt.Sprint(i)
		put(t, other, "revoked", "a", value, forever)
		within(t, time.Second, "change "+value, func() bool { return w.knows("a", value) })
	}
	update(t, other, func(tx storage.Tx) error { return tx.Delete("revoked", "a") })
	within(t, time.Second, "removal", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.known) == 0 })
}

// Whoever reloads for each code that somebody redeems does nothing else.
func onlyOthersAreTold(t *testing.T, mine, other storage.Follower) {
	w := follow(t, mine)
	first := len(w.heard())
	put(t, mine, "revoked", "own", "1", forever)
	put(t, other, "code", "unwatched", "1", forever)
	refused := errors.New("refused")
	err := other.Update(context.Background(), func(tx storage.Tx) error {
		return errors.Join(tx.Put("revoked", "refused", nil, forever), refused)
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	update(t, other, func(tx storage.Tx) error {
		return errors.Join(tx.Put("code", "a", nil, forever), tx.Put("key", "b", nil, forever))
	})
	Eventually(t, "told", func() bool { return len(w.heard()) > first })
	// In order: whatever else was to be told would have been told by then.
	if calls := w.heard()[first:]; len(calls) != 1 || calls[0] != "[key]" {
		t.Errorf("Changed was called with %v, want [key] once", calls)
	}
}

// LastInTouch is what a gateway decides on whether it may still say yes.
func inTouchMeansHeard(t *testing.T, mine, other storage.Follower) {
	w := follow(t, mine)
	for i := range 10 {
		value := fmt.Sprint(i)
		put(t, other, "revoked", "a", value, forever)
		kept := time.Now()
		Eventually(t, "in touch", func() bool { return mine.LastInTouch().After(kept) })
		if !w.knows("a", value) {
			t.Fatalf("in touch since the change %s, which was not told", value)
		}
	}
}

// Transactions end in another order than they begin: who counts or looks at the
// clock misses some.
func nothingIsMissed(t *testing.T, mine, other storage.Follower) {
	w := follow(t, mine)
	const many = 24
	together(many, func(i int) {
		err := other.Update(context.Background(), func(tx storage.Tx) error {
			if _, err := tx.Get("revoked", fmt.Sprint(i)); !errors.Is(err, storage.ErrNotFound) {
				return fmt.Errorf("get: %w", err)
			}
			pass(time.Duration(i*7%many) * 3 * time.Millisecond)
			return tx.Put("revoked", fmt.Sprint(i), nil, forever)
		})
		if err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	kept := time.Now()
	Eventually(t, "in touch", func() bool { return mine.LastInTouch().After(kept) })
	for i := range many {
		if !w.knows(fmt.Sprint(i), "") {
			t.Errorf("change %d was missed", i)
		}
	}
}

// An index that could not be loaded is no knowledge.
func failureIsToldAgain(t *testing.T, mine, other storage.Follower) {
	w := follow(t, mine)
	w.failWith(errors.New("cannot load"))
	put(t, other, "revoked", "a", "1", forever)
	kept := time.Now()
	first := len(w.heard())
	Eventually(t, "told twice", func() bool { return len(w.heard()) >= first+2 })
	if at := mine.LastInTouch(); at.After(kept) {
		t.Errorf("LastInTouch = %v, although what was kept before %v could not be loaded", at, kept)
	}
	w.failWith(nil)
	Eventually(t, "told again", func() bool { return w.knows("a", "1") })
	Eventually(t, "in touch", func() bool { return mine.LastInTouch().After(kept) })
}

// A transaction that began when nobody watched its kind yet is told all the same.
func underWayIsHeard(t *testing.T, mine, other storage.Follower) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	ended := make(chan error)
	go func() {
		ended <- other.Update(context.Background(), func(tx storage.Tx) error {
			_, err := tx.Get("revoked", "a")
			once.Do(func() { close(begun) })
			<-goOn
			if !errors.Is(err, storage.ErrNotFound) {
				return fmt.Errorf("get: %w", err)
			}
			return tx.Put("revoked", "a", []byte("1"), forever)
		})
	}()
	<-begun
	go func() {
		// Time for a follower that does not wait for the transaction.
		pass(300 * time.Millisecond)
		close(goOn)
	}()
	w := follow(t, mine)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "change", func() bool { return w.knows("a", "1") })
}

// A goroutine that outlives a reload goes on for ever.
func followEnds(t *testing.T, mine, other storage.Follower) {
	nothing := storage.Watch{Kinds: []string{"key"}, Changed: func(context.Context, []string) error { return nil }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- mine.Follow(ctx, nothing) }()
	Eventually(t, "in touch", func() bool { return !mine.LastInTouch().IsZero() })
	if err := mine.Follow(ctx, nothing); err == nil || ctx.Err() != nil {
		t.Errorf("a second Follow = %v, want an error", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want context.Canceled", err)
	}
	go func() { ended <- mine.Follow(context.Background(), nothing) }()
	at := mine.LastInTouch()
	Eventually(t, "in touch again", func() bool { return mine.LastInTouch().After(at) })
	if err := mine.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Follow after Close = %v, want ErrUnavailable", err)
	}
	if err := mine.Follow(context.Background(), nothing); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Follow of a closed storage = %v, want ErrUnavailable", err)
	}
}
