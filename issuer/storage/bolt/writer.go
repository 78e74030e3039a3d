package bolt

import (
	"context"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// request is one Update on its way through the writer:
//
//	caller: enqueue      writer: begin
//	                     writer: turn <- tx
//	caller: fn(tx)
//	caller: ran <- keep  writer: apply, next request, ..., commit
//	                     writer: result <- err
//
// The function runs in the goroutine of its caller, so that a panic or a
// runtime.Goexit unwinds there and the writer never sees it.
type request struct {
	ctx    context.Context
	turn   chan *tx   // unbuffered: given and taken, or not at all
	ran    chan bool  // whether the writes are to be kept
	result chan error // buffered: the caller may have panicked away
}

// Update implements [storage.Storage].
func (s *Storage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

func (s *Storage) update(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{
		ctx:    ctx,
		turn:   make(chan *tx),
		ran:    make(chan bool, 1),
		result: make(chan error, 1),
	}
	if err := s.enqueue(r); err != nil {
		return err
	}
	select {
	case t := <-r.turn:
		return r.run(t, fn)
	case err := <-r.result: // refused before its turn
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Storage) enqueue(r *request) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return unavailable(s.path, "is closed", nil)
	}
	select {
	case s.queue <- r:
		return nil
	default:
		return storage.ErrBusy
	}
}

// run calls the function and waits for the commit, even where the function
// refused: it may have decided on what a neighbour in the same group wrote, and
// that counts only when the group is durable.
func (r *request) run(t *tx, fn func(*tx) error) error {
	err := r.call(t, fn)
	if failed := <-r.result; failed != nil {
		return failed
	}
	return err
}

func (r *request) call(t *tx, fn func(*tx) error) (err error) {
	keep := false
	defer func() {
		t.ended = true
		r.ran <- keep
	}()
	defer panicOnFault()()
	err = fn(t)
	keep = err == nil
	return err
}

// write is the writer: the only goroutine that changes the file.
func (s *Storage) write() {
	defer close(s.done)
	defer panicOnFault()()
	retry := newRetry()
	defer retry.stop()
	for {
		select {
		case r, open := <-s.queue:
			if !open {
				return
			}
			if err := s.Health(); err != nil {
				r.result <- err
				continue
			}
			if s.commitGroup(r); s.Health() != nil {
				retry.start()
			}
		case <-retry.timer.C:
			if s.repair(); s.Health() != nil {
				retry.start()
			}
		}
	}
}

// commitGroup runs first and whatever waits behind it in one bbolt transaction
// and tells each its result.
func (s *Storage) commitGroup(first *request) {
	b, err := s.beginWrite()
	if err != nil {
		s.degrade(err)
		first.result <- s.Health()
		return
	}
	var group []*request
	changed := false
	for r := first; r != nil; r = s.waiting(len(group)) {
		t := &tx{bolt: b, path: s.path, writable: true}
		keep, taken := r.offer(t)
		if !taken {
			continue
		}
		group = append(group, r)
		if keep && t.changed() {
			changed = true
			if err = t.apply(); err != nil {
				break
			}
		}
	}
	if err = s.finish(b, changed, err); err != nil {
		s.degrade(err)
		err = s.Health()
	}
	for _, r := range group {
		r.result <- err
	}
}

// offer gives the transaction to the caller, unless its context has ended, and
// waits until its function has run.
func (r *request) offer(t *tx) (keep, taken bool) {
	select {
	case r.turn <- t:
		return <-r.ran, true
	case <-r.ctx.Done():
		return false, false
	}
}

// waiting returns the next request, or nil when none waits or the group is full.
// Before it says that none waits, it lets the other goroutines that could run do so:
// on a busy server some of them have a request to make, which would else need a
// commit of its own. On an idle one that takes no time.
func (s *Storage) waiting(group int) *request {
	if group >= s.options.BatchLimit {
		return nil
	}
	if len(s.queue) == 0 {
		runtime.Gosched()
	}
	select {
	case r := <-s.queue: // nil when closed; the writer's loop sees that too
		return r
	default:
		return nil
	}
}

// finish commits what was changed. A group that changed nothing saw only what
// is durable already, and needs no sync.
func (s *Storage) finish(b *bbolt.Tx, changed bool, err error) error {
	if err != nil || !changed {
		s.db.rollback(b)
		return err
	}
	s.unsettled = true
	return s.db.commit(b)
}

// Waiting is how many writes wait for their turn, at most Options.QueueLength.
func (s *Storage) Waiting() int { return len(s.queue) }
