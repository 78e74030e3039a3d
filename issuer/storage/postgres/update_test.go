package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

// RFC 6749 §4.1.2: a code is redeemed once, on however many nodes at once.
func TestTwoNodesRedeemOnce(t *testing.T) {
	config := newConfig()
	nodes := []*Storage{opened(t, config), opened(t, config)}
	for round := range 5 {
		code := fmt.Sprint("code ", round)
		if err := put(t.Context(), nodes[0], "code", code, "unused"); err != nil {
			t.Fatal(err)
		}
		redeemed := errors.New("redeemed already")
		var won, refused atomic.Int32
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				<-start
				err := nodes[i%2].Update(t.Context(), func(tx storage.Tx) error {
					value, err := tx.Get("code", code)
					if err != nil {
						return err
					}
					if string(value) != "unused" {
						return redeemed
					}
					return errors.Join(tx.Put("code", code, []byte("redeemed"), time.Time{}),
						tx.Put("token", fmt.Sprint(code, " ", i), nil, time.Time{}))
				})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, redeemed):
					refused.Add(1)
				default:
					t.Errorf("Update: %v", err)
				}
			})
		}
		close(start)
		wg.Wait()
		tokens := 0
		err := nodes[1].View(t.Context(), func(tx storage.Tx) error {
			tokens = 0
			return tx.List("token", code, func(string, []byte) error { tokens++; return nil })
		})
		if won.Load() != 1 || refused.Load() != 49 || tokens != 1 || err != nil {
			t.Errorf("%d redeemed the code, %d were refused, %d tokens, %v; want 1, 49, 1", won.Load(), refused.Load(), tokens, err)
		}
	}
}

// Two who each read what the other writes cannot both be right: a check in one
// flow and its counterpart in another (write skew).
func TestWriteSkew(t *testing.T) {
	s := opened(t, newConfig())
	var read sync.WaitGroup
	read.Add(2)
	first := [2]sync.Once{}
	var kept atomic.Int32
	var wg sync.WaitGroup
	for i, keys := range [][2]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx storage.Tx) error {
				_, err := tx.Get("code", keys[0])
				first[i].Do(func() { read.Done(); read.Wait() })
				if !errors.Is(err, storage.ErrNotFound) {
					return errors.New("the other was first")
				}
				return tx.Put("code", keys[1], nil, time.Time{})
			})
			if err == nil {
				kept.Add(1)
			}
		})
	}
	wg.Wait()
	if kept.Load() != 1 {
		t.Errorf("%d of two that exclude each other were kept, want 1", kept.Load())
	}
}

// interfering is an Update whose function has a record changed behind its back,
// as often as it is told.
func interfering(ctx context.Context, t *testing.T, s, other *Storage, times int, after func(run int)) (runs int, err error) {
	t.Helper()
	err = s.Update(ctx, func(tx storage.Tx) error {
		runs++
		value, err := tx.Get("counter", "a")
		if err != nil {
			return err
		}
		if runs <= times {
			if err := put(context.Background(), other, "counter", "a", fmt.Sprint("interference ", runs)); err != nil {
				t.Errorf("put: %v", err)
			}
		}
		after(runs)
		return tx.Put("counter", "a", append(value, " seen"...), time.Time{})
	})
	return runs, err
}

// A transaction that others came in between runs again, on what is true by then;
// not for ever, and not when nobody waits for it any more.
func TestConflicts(t *testing.T) {
	config := newConfig()
	s, other := opened(t, config), opened(t, config)
	if err := put(t.Context(), s, "counter", "a", ""); err != nil {
		t.Fatal(err)
	}
	ignore := func(int) {}

	runs, err := interfering(t.Context(), t, s, other, 2, ignore)
	value, _ := get(t.Context(), s, "counter", "a")
	if runs != 3 || err != nil || value != "interference 2 seen" {
		t.Errorf("%d runs, %v, %q; want 3 runs that end on what was true last", runs, err, value)
	}
	// Once it has its turn, others that conflict with it still can be first.
	runs, err = interfering(t.Context(), t, s, other, hopeful+2, ignore)
	if runs != hopeful+3 || err != nil {
		t.Errorf("%d runs, %v; want %d", runs, err, hopeful+3)
	}
	runs, err = interfering(t.Context(), t, s, other, maxAttempts, ignore)
	if runs != maxAttempts || !errors.Is(err, storage.ErrBusy) {
		t.Errorf("%d runs, %v; want ErrBusy after %d", runs, err, maxAttempts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs, err = interfering(ctx, t, s, other, maxAttempts, func(run int) {
		if run == 2 {
			cancel()
		}
	})
	if runs != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d runs, %v; want context.Canceled after 2", runs, err)
	}
}

// A function may take an error of the storage for an answer ("no such code");
// what it made of a failed statement is not kept and not returned.
func TestSwallowedFailure(t *testing.T) {
	s := opened(t, newConfig())
	admin := beside(t, server.URL())
	wrong := errors.New("no such code")
	for _, answer := range []error{nil, wrong} {
		runs := 0
		err := s.Update(t.Context(), func(tx storage.Tx) error {
			if runs++; runs == 1 {
				terminate(t, admin, s, "BEGIN%")
			}
			if _, err := tx.Get("code", "a"); err == nil {
				t.Error("Get = nil")
			} else if !errors.Is(err, storage.ErrNotFound) && runs > 1 {
				t.Errorf("Get = %v in the second run", err)
			}
			if runs == 1 {
				if err := tx.Put("code", "never", nil, time.Time{}); err == nil {
					t.Error("Put = nil after the failure")
				}
			}
			return answer
		})
		if runs != 2 || err != answer {
			t.Errorf("%d runs, %v; want the answer of the second", runs, err)
		}
	}
	if _, err := get(t.Context(), s, "code", "never"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

// A connection that broke before COMMIT was sent has left nothing behind: the
// transaction runs again, and nobody notices.
func TestConnectionLostBefore(t *testing.T) {
	p := newProxy(t, server)
	config := newConfig()
	config.Connection = p.connection(t, server)
	s := opened(t, config)
	runs := 0
	err := s.Update(t.Context(), func(tx storage.Tx) error {
		if runs++; runs == 1 {
			p.cut()
		}
		return tx.Put("code", "a", nil, time.Time{})
	})
	if runs != 2 || err != nil {
		t.Errorf("%d runs, %v; want 2", runs, err)
	}
	runs = 0
	err = s.Update(t.Context(), func(tx storage.Tx) error { runs++; p.cut(); return tx.Put("code", "a", nil, time.Time{}) })
	if runs != maxLost || !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("%d runs, %v; want ErrUnavailable after %d", runs, err, maxLost)
	}
}

// A connection that breaks during COMMIT: nobody knows, so nobody may say that
// it was kept, nor that it was not, nor do it again.
func TestOutcomeUnknown(t *testing.T) {
	p := newProxy(t, server)
	config := newConfig()
	config.Connection = p.connection(t, server)
	config.StatementTimeout = 200 * time.Millisecond
	s := opened(t, config)
	for name, c := range map[string]struct {
		fault fault
		kept  bool
	}{
		"COMMIT was not delivered": {cutBefore, false},
		"the answer was lost":      {cutAfter, true},
		"the answer never comes":   {swallowAnswer, true},
	} {
		runs := 0
		began := time.Now()
		err := s.Update(t.Context(), func(tx storage.Tx) error {
			runs++
			p.set(c.fault)
			return tx.Put("code", name, nil, time.Time{})
		})
		if runs != 1 || !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %d runs, %v; want ErrOutcomeUnknown and ErrUnavailable after 1", name, runs, err)
		}
		if took := time.Since(began); took > config.StatementTimeout+2*grace {
			t.Errorf("%s: took %v", name, took)
		}
		_, err = get(t.Context(), s, "code", name)
		if kept := err == nil; kept != c.kept {
			t.Errorf("%s: the record is there: %v (%v); the test does not test what it says", name, kept, err)
		}
	}
}

// Where there was nothing to write there is nothing to be unsure of.
func TestLostCommitOfNothing(t *testing.T) {
	p := newProxy(t, server)
	config := newConfig()
	config.Connection = p.connection(t, server)
	s := opened(t, config)
	runs := 0
	err := s.Update(t.Context(), func(tx storage.Tx) error {
		if runs++; runs == 1 {
			p.set(cutAfter)
		}
		return nil
	})
	if runs != 2 || err != nil {
		t.Errorf("%d runs, %v; want 2", runs, err)
	}
}

// Limits answer at once or in time, with what becomes a 503.
func TestLimits(t *testing.T) {
	config := newConfig()
	config.Connections, config.QueueLength = 2, 1
	config.WaitTimeout = 300 * time.Millisecond
	s := opened(t, config)
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range config.Connections {
		wg.Go(func() {
			if err := s.View(context.Background(), func(storage.Tx) error { held <- struct{}{}; <-release; return nil }); err != nil {
				t.Errorf("View: %v", err)
			}
		})
	}
	<-held
	<-held
	nothing := func(storage.Tx) error { t.Error("ran"); return nil }
	wg.Go(func() {
		if err := s.Update(context.Background(), nothing); !errors.Is(err, storage.ErrBusy) {
			t.Errorf("Update = %v, want ErrBusy when no connection was free in time", err)
		}
	})
	storagetest.Eventually(t, "queue full", func() bool { return s.queued.Load() == 3 })
	began := time.Now()
	if err := s.Update(context.Background(), nothing); !errors.Is(err, storage.ErrBusy) || time.Since(began) > config.WaitTimeout/2 {
		t.Errorf("Update = %v after %v, want ErrBusy at once", err, time.Since(began))
	}
	storagetest.Eventually(t, "given up", func() bool { return s.queued.Load() == 2 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.View(ctx, nothing); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("View = %v, want the error of its context", err)
	}
	close(release)
	wg.Wait()
}

// A statement or a lock that takes too long does not take the request with it.
func TestTimeouts(t *testing.T) {
	for name, c := range map[string]struct {
		statement, lock time.Duration
		want            error
	}{
		"statement": {100 * time.Millisecond, time.Minute, storage.ErrUnavailable},
		"lock":      {time.Minute, 100 * time.Millisecond, storage.ErrBusy},
	} {
		config := newConfig()
		config.StatementTimeout, config.LockTimeout = c.statement, c.lock
		s := opened(t, config)
		admin := beside(t, server.URL())
		execute(t, admin, s, `BEGIN`)
		execute(t, admin, s, `LOCK TABLE @.record IN ACCESS EXCLUSIVE MODE`)
		began := time.Now()
		for what, err := range map[string]error{
			"Get": func() error { _, err := get(t.Context(), s, "code", "a"); return err }(),
			"Put": put(t.Context(), s, "code", "a", ""),
		} {
			if !errors.Is(err, c.want) || errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("%s timeout: %s = %v, want %v", name, what, err, c.want)
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s timeout: took %v", name, took)
		}
		execute(t, admin, s, `ROLLBACK`)
		if err := put(t.Context(), s, "code", "a", ""); err != nil {
			t.Errorf("%s timeout: afterwards: %v", name, err)
		}
	}
}

// Who closes waits for who writes.
func TestCloseWaits(t *testing.T) {
	config := newConfig()
	s := open(t, config)
	begun, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- s.Update(context.Background(), func(tx storage.Tx) error {
			close(begun)
			storagetest.Eventually(t, "closing", func() bool { s.gate.RLock(); defer s.gate.RUnlock(); return s.closed })
			return tx.Put("code", "a", nil, time.Time{})
		})
	}()
	<-begun
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Update: %v", err)
		}
	case <-time.After(time.Second):
		t.Error("Close returned before the Update that it had to wait for")
		<-ended
	}
	if _, err := get(t.Context(), opened(t, config), "code", "a"); err != nil {
		t.Errorf("Get: %v", err)
	}
}
