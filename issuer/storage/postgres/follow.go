package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	// lookEvery is how often a follower looks for changes, notified or not. It
	// decides how late a change is seen whose notification went astray, and how
	// fresh LastInTouch is.
	lookEvery = 500 * time.Millisecond
	// lookTimeout bounds a look: one that takes longer has lost touch.
	lookTimeout = 2 * time.Second
	// Pauses between attempts to connect again; the first one is made at once.
	firstReconnect = 100 * time.Millisecond
	maxReconnect   = 200 * time.Millisecond
)

// following is what a Storage knows about the other nodes.
type following struct {
	mu      sync.Mutex
	node    string    // the name under which this node announces its changes
	doubted bool      // a transaction of this node had an unknown outcome
	active  bool      // Follow runs
	touch   time.Time // LastInTouch
}

// identity is the name under which this node announces its changes now.
func (f *following) identity() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.node
}

// doubt is called when it is not known whether a transaction was, or yet will
// be, committed. Under a new name, this node hears of its own old changes; those
// it has passed over already are made good by telling all kinds once.
func (f *following) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.node = rand.Text()
	f.doubted = true
}

// beginLook returns whose changes to pass over, and whether there was a doubt
// since the last look.
func (f *following) beginLook() (node string, doubted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	doubted, f.doubted = f.doubted, false
	return f.node, doubted
}

func (f *following) inTouch(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.After(f.touch) {
		f.touch = at
	}
}

// activate admits one Follow at a time.
func (f *following) activate(active bool) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = f.active != active
	f.active = active
	return changed
}

// LastInTouch implements [storage.Follower].
func (s *Storage) LastInTouch() time.Time {
	s.follow.mu.Lock()
	defer s.follow.mu.Unlock()
	return s.follow.touch
}

// Follow implements [storage.Follower]. It has a connection of its own, so that
// it goes on when transactions have taken all others.
func (s *Storage) Follow(ctx context.Context, watch storage.Watch) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if !s.follow.activate(true) {
		return errors.New("storage/postgres: Follow runs already")
	}
	defer s.follow.activate(false)

	open, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	f := &follower{storage: s, watch: watch}
	for wait := time.Duration(0); ; {
		looked, err := f.session(open)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case open.Err() != nil:
			return s.place.unavailable("was closed")
		}
		f.report(s.place.failure(err))
		if looked {
			wait = 0
		}
		_ = pause(open, wait)
		wait = min(max(2*wait, firstReconnect), maxReconnect)
	}
}

// follower is one Follow.
type follower struct {
	storage  *Storage
	watch    storage.Watch
	untold   []string // kinds that Changed has yet to hear of
	snapshot string   // what was visible at the last look of this session
	notified bool     // since the last look began
	troubled bool     // Touch was told so
}

// session follows over one connection until that breaks. What happened between
// two sessions is not known, and the server may be another one: each tells all
// kinds first.
func (f *follower) session(ctx context.Context) (looked bool, err error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	f.snapshot = ""
	for {
		if err := f.look(ctx, conn); err != nil {
			return looked, err
		}
		looked = true
		if err := f.wait(ctx, conn); err != nil {
			return looked, err
		}
	}
}

// connect makes a session that hears notifications and in which every node
// announces changes to the watched kinds.
func (f *follower) connect(ctx context.Context) (*pgx.Conn, error) {
	s := f.storage
	config := s.pool.Config().ConnConfig
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { f.notified = true }
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout+s.config.LockTimeout+grace)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	err = s.config.prepareSession(ctx, conn)
	if err == nil {
		_, err = conn.Exec(ctx, `LISTEN `+s.channel())
	}
	if err == nil {
		err = f.register(ctx, conn)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// register makes the kinds watched ones. The lock waits for the transactions
// that began before and would not announce them.
func (f *follower) register(ctx context.Context, conn *pgx.Conn) error {
	var missing bool
	if err := conn.QueryRow(ctx, f.storage.sql.unwatched, f.watch.Kinds).Scan(&missing); err != nil || !missing {
		return err
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, f.storage.sql.lockWatched); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, f.storage.sql.watch, f.watch.Kinds)
		return err
	})
}

// look asks what has changed and tells it. An error means that the session is
// broken; one of Changed does not.
func (f *follower) look(ctx context.Context, conn *pgx.Conn) error {
	began := time.Now()
	f.notified = false
	node, doubted := f.storage.follow.beginLook()
	if f.snapshot == "" || doubted {
		f.untold = slices.Clone(f.watch.Kinds)
	}
	var changed []string
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	since := f.snapshot
	if since == "" {
		since = "1:1:" // nothing was visible
	}
	if err := conn.QueryRow(bounded, f.storage.sql.changes, since, node).Scan(&f.snapshot, &changed); err != nil {
		return err
	}
	for _, kind := range f.watch.Kinds {
		if slices.Contains(changed, kind) && !slices.Contains(f.untold, kind) {
			f.untold = append(f.untold, kind)
		}
	}
	if err := f.tell(ctx); err != nil {
		f.report(err)
		return nil
	}
	f.storage.follow.inTouch(began)
	f.report(nil)
	return nil
}

// tell calls Changed if there is something to tell.
func (f *follower) tell(ctx context.Context) error {
	if len(f.untold) == 0 {
		return nil
	}
	var kinds []string
	for _, kind := range f.watch.Kinds {
		if slices.Contains(f.untold, kind) {
			kinds = append(kinds, kind)
		}
	}
	if err := f.watch.Changed(ctx, kinds); err != nil {
		return err
	}
	f.untold = nil
	return nil
}

// wait returns when a notification comes, or it is time for a look anyway.
func (f *follower) wait(ctx context.Context, conn *pgx.Conn) error {
	if f.notified {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	if err := conn.PgConn().WaitForNotification(bounded); err != nil && (ctx.Err() != nil || bounded.Err() == nil) {
		return err
	}
	return nil
}

// report tells Touch what is new to it.
func (f *follower) report(err error) {
	if troubled := err != nil; troubled != f.troubled {
		f.troubled = troubled
		if f.watch.Touch != nil {
			f.watch.Touch(err)
		}
	}
}
