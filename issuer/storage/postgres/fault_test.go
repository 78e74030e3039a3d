package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

// What was acknowledged before a crash is there after it, whole transactions
// only, and the storage comes back without help.
func TestCrash(t *testing.T) {
	own := postgrestest.StartDurable(t)
	// As careless a server as an operator may have: what is acknowledged has to
	// be durable all the same.
	admin := beside(t, own.URL())
	if _, err := admin.Exec(t.Context(), `ALTER ROLE gate SET synchronous_commit = off`); err != nil {
		t.Fatal(err)
	}
	s := opened(t, Config{Connection: own.URL()})
	var acknowledged sync.Map
	var count atomic.Int32
	for round := range 3 {
		crashed := make(chan struct{})
		var wg sync.WaitGroup
		for writer := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-crashed:
						return
					default:
					}
					key := fmt.Sprintf("%d-%d-%d", round, writer, i)
					err := s.Update(context.Background(), func(tx storage.Tx) error {
						return errors.Join(tx.Put("code", key, []byte(key), time.Time{}), tx.Put("token", key, []byte(key), time.Time{}))
					})
					switch {
					case err == nil:
						acknowledged.Store(key, true)
						count.Add(1)
					case !errors.Is(err, storage.ErrUnavailable):
						t.Errorf("Update = %v, want ErrUnavailable", err)
					}
				}
			})
		}
		before := count.Load()
		storagetest.Eventually(t, "writes", func() bool { return count.Load() > before+100 })
		if err := own.Stop(true); err != nil {
			t.Fatal(err)
		}
		close(crashed)
		wg.Wait()
		if err := own.Start(); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		storagetest.Eventually(t, "recovery", func() bool { return put(t.Context(), s, "probe", "a", "") == nil })
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("recovered after %v, want 5 s at most", took)
		}
	}
	kept := make(map[string]int)
	err := s.View(t.Context(), func(tx storage.Tx) error {
		note := func(key string, _ []byte) error { kept[key]++; return nil }
		return errors.Join(tx.List("code", "", note), tx.List("token", "", note))
	})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged.Range(func(key, _ any) bool {
		if kept[key.(string)] != 2 {
			t.Errorf("%s was acknowledged and is lost", key)
		}
		return true
	})
	for key, n := range kept {
		if n != 2 {
			t.Errorf("of %s one half was kept", key)
		}
	}
}

// A damaged record is "cannot tell" to Get, List and Export, and the next Put
// heals it; a sweep does not decide on it.
func TestDamagedRecord(t *testing.T) {
	for name, damage := range map[string]string{
		"flipped bit":    `UPDATE @.record SET envelope = set_byte(envelope, 15, get_byte(envelope, 15) # 1) WHERE key = 'a'`,
		"another record": `UPDATE @.record SET envelope = (SELECT envelope FROM @.record WHERE key = 'b') WHERE key = 'a'`,
		"cut off":        `UPDATE @.record SET envelope = substr(envelope, 1, 5) WHERE key = 'a'`,
		"empty":          `UPDATE @.record SET envelope = '' WHERE key = 'a'`,
	} {
		s := opened(t, newConfig())
		soon := time.Now().Add(time.Hour)
		fill := func() {
			err := s.Update(t.Context(), func(tx storage.Tx) error {
				return errors.Join(tx.Put("code", "a", []byte("user=alice"), soon), tx.Put("code", "b", []byte("user=bob"), soon))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		fill()
		if n := execute(t, beside(t, server.URL()), s, damage); n != 1 {
			t.Fatalf("%s: %d rows", name, n)
		}
		nothing := func(string, []byte) error { return nil }
		for what, err := range map[string]error{
			"Get":    func() error { _, err := get(t.Context(), s, "code", "a"); return err }(),
			"List":   s.View(t.Context(), func(tx storage.Tx) error { return tx.List("code", "", nothing) }),
			"Export": s.Export(t.Context(), func(storage.Record) error { return nil }),
		} {
			if !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("%s: %s = %v, want ErrDamaged", name, what, err)
			}
		}
		if n, err := s.Sweep(t.Context(), time.Now().Add(2*time.Hour)); n != 1 || err != nil {
			t.Errorf("%s: Sweep = %d, %v; want the sound record", name, n, err)
		}
		fill()
		if value, err := get(t.Context(), s, "code", "a"); value != "user=alice" || err != nil {
			t.Errorf("%s: Get after a Put = %q, %v", name, value, err)
		}
	}
}

// The column of the index is not what counts: a record whose column is wrong
// neither lives longer nor is swept.
func TestDamagedExpiryColumn(t *testing.T) {
	s := opened(t, newConfig())
	admin := beside(t, server.URL())
	if err := put(t.Context(), s, "code", "a", "1"); err != nil {
		t.Fatal(err)
	}
	execute(t, admin, s, `UPDATE @.record SET expiry = 1`)
	if n, err := s.Sweep(t.Context(), time.Now()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v; want nothing", n, err)
	}
	if value, err := get(t.Context(), s, "code", "a"); value != "1" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

// One node sweeps, and nobody waits for it: not the other node's sweep, nor who
// writes the very records.
func TestSweepBesideOthers(t *testing.T) {
	config := newConfig()
	s, other := opened(t, config), opened(t, config)
	past := time.Now().Add(-time.Hour)
	err := s.Update(t.Context(), func(tx storage.Tx) (err error) {
		for i := range 3 * sweepBatch {
			err = errors.Join(err, tx.Put("code", fmt.Sprintf("%05d", i), nil, past))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin := beside(t, server.URL())

	// Another node is at it.
	execute(t, admin, s, `SELECT pg_advisory_lock($1)`, s.lockID("sweep"))
	if n, err := s.Sweep(t.Context(), time.Now()); n != 0 || err != nil {
		t.Errorf("Sweep beside a sweep = %d, %v; want 0", n, err)
	}
	execute(t, admin, s, `SELECT pg_advisory_unlock_all()`)

	// A writer holds some of the rows, which are left.
	execute(t, admin, s, `BEGIN`)
	execute(t, admin, s, `UPDATE @.record SET envelope = envelope WHERE key < '00010'`)
	began := time.Now()
	var wg sync.WaitGroup
	var deleted atomic.Int32
	for _, node := range []*Storage{s, other} {
		wg.Go(func() {
			n, err := node.Sweep(t.Context(), time.Now())
			if err != nil {
				t.Errorf("Sweep: %v", err)
			}
			deleted.Add(int32(n))
		})
	}
	for i := range 20 {
		// Renewed while it may be swept: the Put decides.
		if err := put(t.Context(), other, "code", fmt.Sprintf("%05d", 1000+i), "renewed"); err != nil {
			t.Errorf("Update beside a sweep: %v", err)
		}
	}
	wg.Wait()
	if took := time.Since(began); took > config.withDefaults().LockTimeout {
		t.Errorf("took %v: somebody has waited", took)
	}
	execute(t, admin, s, `COMMIT`)
	rest, err := s.Sweep(t.Context(), time.Now())
	if rest < 10 || err != nil {
		t.Errorf("Sweep = %d, %v; want the 10 rows that were held", rest, err)
	}
	live := 0
	err = s.View(t.Context(), func(tx storage.Tx) error {
		live = 0
		return tx.List("code", "", func(string, []byte) error { live++; return nil })
	})
	if live != 20 || err != nil {
		t.Errorf("%d records are left, %v; want the 20 that were renewed", live, err)
	}
}

// A sweep also forgets the changes that everybody has heard of.
func TestSweepPrunesChanges(t *testing.T) {
	s := opened(t, newConfig())
	admin := beside(t, server.URL())
	execute(t, admin, s, `INSERT INTO @.change (kind, node, at) VALUES ('key', 'a', now() - interval '2 hours'), ('key', 'b', now())`)
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := execute(t, admin, s, `DELETE FROM @.change`); n != 1 {
		t.Errorf("%d changes are left, want the one of now", n)
	}
}

// Each class of failure has one meaning to the issuer, and the words of the
// server stay for the log.
func TestFailures(t *testing.T) {
	p := newPlace(&pgx.ConnConfig{Config: pgconn.Config{Host: "db", Port: 5432, Database: "gate", Password: "canary"}}, "oauth_gate")
	answer := func(severity, code string) error {
		return fmt.Errorf("query: %w", &pgconn.PgError{SeverityUnlocalized: severity, Code: code, Message: "said\nso canary"})
	}
	for name, c := range map[string]struct {
		err            error
		kind           error
		conflict, lost bool
	}{
		"serialization failure": {answer("ERROR", "40001"), storage.ErrBusy, true, false},
		"deadlock":              {answer("ERROR", "40P01"), storage.ErrBusy, true, false},
		"lock timeout":          {answer("ERROR", "55P03"), storage.ErrBusy, false, false},
		"statement timeout":     {answer("ERROR", "57014"), storage.ErrUnavailable, false, false},
		"disk full":             {answer("ERROR", "53100"), storage.ErrUnavailable, false, false},
		"page damaged":          {answer("ERROR", "XX001"), storage.ErrDamaged, false, false},
		"index damaged":         {answer("ERROR", "XX002"), storage.ErrDamaged, false, false},
		"shutdown":              {answer("FATAL", "57P01"), storage.ErrUnavailable, false, true},
		"idle in transaction":   {answer("FATAL", "25P03"), storage.ErrUnavailable, false, false},
		"fatal conflict":        {answer("FATAL", "40001"), storage.ErrBusy, false, false},
		"connection reset":      {errors.New("reset"), storage.ErrUnavailable, false, true},
		"timeout":               {context.DeadlineExceeded, storage.ErrUnavailable, false, false},
	} {
		f := p.failure(c.err)
		if !errors.Is(f, c.kind) || f.conflict() != c.conflict || f.lost != c.lost {
			t.Errorf("%s: %v, conflict %v, lost %v; want %v, %v, %v", name, f, f.conflict(), f.lost, c.kind, c.conflict, c.lost)
		}
	}
	want := "storage: not available: PostgreSQL database gate at db:5432, schema oauth_gate: query: : said so *** (SQLSTATE 53100)"
	if got := p.failure(answer("ERROR", "53100")).Error(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
