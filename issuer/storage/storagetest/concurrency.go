package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// together runs n goroutines that start at the same instant.
func together(n int, run func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}

// meeting is a pause inside a transaction that forces a race: whoever comes
// first waits for a second one to come in beside it. In a serializable storage
// none comes, and the first goes on after a moment.
type meeting struct {
	arrived atomic.Int32
	second  chan struct{}
	once    sync.Once
}

func newMeeting() *meeting { return &meeting{second: make(chan struct{})} }

func (m *meeting) wait() {
	if m.arrived.Add(1) >= 2 {
		m.once.Do(func() { close(m.second) })
		return
	}
	select {
	case <-m.second:
	case <-time.After(50 * time.Millisecond):
	}
}

var errRedeemed = errors.New("redeemed already")

// A code is redeemed once, however many requests come at once (RFC 6749 §4.1.2:
// "MUST NOT use the authorization code more than once").
func oneOfManyRedeems(t *testing.T, s storage.Storage) {
	const many = 32
	for _, pauseBeforeRead := range []bool{false, true} {
		put(t, s, "code", "a", "unused", forever)
		m := newMeeting()
		var won, lost atomic.Int32
		together(many, func(int) {
			err := s.Update(context.Background(), func(tx storage.Tx) error {
				if pauseBeforeRead {
					m.wait()
				}
				value, err := tx.Get("code", "a")
				if err != nil {
					return err
				}
				if !pauseBeforeRead {
					m.wait()
				}
				if string(value) != "unused" {
					return errRedeemed
				}
				return tx.Put("code", "a", []byte("redeemed"), forever)
			})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, errRedeemed):
				lost.Add(1)
			default:
				t.Errorf("Update: %v", err)
			}
		})
		if won.Load() != 1 || lost.Load() != many-1 {
			t.Errorf("%d redeemed the code and %d were refused, want 1 and %d", won.Load(), lost.Load(), many-1)
		}
	}
}

// Lost updates: a counter of failed logins that forgets some lets people guess on.
func counterLosesNoStep(t *testing.T, s storage.Storage) {
	const goroutines, steps = 16, 8
	put(t, s, "counter", "a", "0", forever)
	together(goroutines, func(int) {
		for range steps {
			err := s.Update(context.Background(), func(tx storage.Tx) error {
				value, err := tx.Get("counter", "a")
				if err != nil {
					return err
				}
				var n int
				if _, err := fmt.Sscan(string(value), &n); err != nil {
					return err
				}
				return tx.Put("counter", "a", fmt.Append(nil, n+1), forever)
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	want(t, s, "counter", "a", fmt.Sprint(goroutines*steps))
}

// Writes may share a commit; a refused or panicking one must neither lose nor
// spoil those beside it, and each gets its own answer.
func neighboursFailure(t *testing.T, s storage.Storage) {
	const many = 60
	refused := errors.New("refused")
	together(many, func(i int) {
		key := fmt.Sprint(i)
		defer func() {
			if r := recover(); (r != nil) != (i%3 == 2) {
				t.Errorf("%d: recovered %v", i, r)
			}
		}()
		err := s.Update(context.Background(), func(tx storage.Tx) error {
			if err := tx.Put("code", key, []byte(key), forever); err != nil {
				return err
			}
			switch i % 3 {
			case 1:
				return refused
			case 2:
				panic(key)
			}
			return nil
		})
		if i%3 == 0 && err != nil || i%3 == 1 && !errors.Is(err, refused) {
			t.Errorf("%d: Update = %v", i, err)
		}
	})
	for i := range many {
		if key := fmt.Sprint(i); i%3 == 0 {
			want(t, s, "code", key, key)
		} else {
			wantNone(t, s, "code", key)
		}
	}
}

// Introspection reads a token and then its authorization: both from the same
// moment, or a revocation in between shows half.
func viewIsSnapshot(t *testing.T, s storage.Storage) {
	put(t, s, "token", "a", "1", forever)
	put(t, s, "authorization", "a", "1", forever)
	view(t, s, func(tx storage.Tx) error {
		wantIn(t, tx, "token", "a", "1")
		written := make(chan error)
		go func() {
			written <- s.Update(context.Background(), func(tx storage.Tx) error {
				return errors.Join(
					tx.Put("token", "a", []byte("2"), forever),
					tx.Put("authorization", "a", []byte("2"), forever))
			})
		}()
		if err := <-written; err != nil {
			t.Errorf("Update: %v", err)
		}
		wantIn(t, tx, "authorization", "a", "1")
		return nil
	})
	want(t, s, "authorization", "a", "2")
}

// A token that was handed out is known after a restart, and a revocation that
// was confirmed stays.
func outlivesReopening(t *testing.T, open func(*testing.T) storage.Storage) {
	const goroutines, steps = 16, 10
	s := open(t)
	together(goroutines, func(i int) {
		for j := range steps {
			key := fmt.Sprintf("%d-%d", i, j)
			put := func(tx storage.Tx) error {
				return errors.Join(
					tx.Put("code", key, []byte(key), forever),
					tx.Put("code", key+" gone", nil, forever))
			}
			gone := func(tx storage.Tx) error { return tx.Delete("code", key+" gone") }
			if err := errors.Join(s.Update(context.Background(), put), s.Update(context.Background(), gone)); err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	s = opened(t, open)
	for i := range goroutines {
		for j := range steps {
			key := fmt.Sprintf("%d-%d", i, j)
			want(t, s, "code", key, key)
			wantNone(t, s, "code", key+" gone")
		}
	}
}
