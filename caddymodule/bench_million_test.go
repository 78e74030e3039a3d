package caddymodule

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

const (
	million        = 1_000_000
	recordsOfGrant = 3
	// grantors is how many people have granted them.
	grantors = 200_000
	// The refresh tokens of the million are swept, and what is written meanwhile
	// is not.
	tokenLifetime, writtenLifetime = 14 * 24 * time.Hour, 28 * 24 * time.Hour
)

// BenchmarkMillion measures a file with a million grants. A grant is what a person
// has who signed in to a client for offline access: the authorization, its entry
// in the index by person and a refresh token, each with its entry in the expiry
// index; six keys in all, as the issuer writes them. docs/benchmarks.md says how to
// read it.
func BenchmarkMillion(b *testing.B) {
	s := newServer(b, "")
	caddyfile := strings.Replace(issuerCaddyfile, "$AUDIT", "", 1)
	g := s.serve(caddyfile).grantOnce(b)
	subjects := make([]string, grantors)
	for n := range subjects {
		subjects[n] = record.RandomText(16)
	}
	empty := g.copyOf(b)
	for b.Loop() {
		before := g.fileBytes(b)
		begun := time.Now()
		g.fill(b, subjects)
		b.ReportMetric(time.Since(begun).Seconds(), "fill-s")
		grown := g.fileBytes(b) - before
		b.ReportMetric(grown/million, "bytes/grant")
		b.ReportMetric(grown/(recordsOfGrant*million), "bytes/record")
		compareWrites(b, empty, g, subjects)

		if err := g.store.Close(); err != nil {
			b.Fatal(err)
		}
		begun = time.Now()
		p := s.serve(caddyfile)
		b.ReportMetric(time.Since(begun).Seconds(), "start-s")
		b.ReportMetric(p.residentMiB(b), "resident-MiB")
		p.appToken()
		p.stop()
		g.reopen(b)
		g.sweep(b, subjects)
	}
	b.ReportMetric(0, "ns/op")
}

func (g *grantFile) reopen(b *testing.B) {
	var err error
	if g.store, err = bolt.Open(g.path, bolt.Options{}); err != nil {
		b.Fatal(err)
	}
}

// copyOf is a grant in a storage of its own that has nothing else in it.
func (g *grantFile) copyOf(b *testing.B) *grantFile {
	c := *g
	c.path = filepath.Join(b.TempDir(), "empty.db")
	c.reopen(b)
	b.Cleanup(func() { _ = c.store.Close() })
	return &c
}

func (g *grantFile) fileBytes(b *testing.B) float64 {
	info, err := os.Stat(g.path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size())
}

// fill writes the million, many in a transaction to save time.
func (g *grantFile) fill(b *testing.B, subjects []string) {
	const together = 1000
	for n := 0; n < million; n += together {
		err := g.store.Update(b.Context(), func(tx storage.Tx) error {
			for i := n; i < min(n+together, million); i++ {
				if _, err := g.copyRefreshToken(tx, subjects[(i*7919)%grantors], time.Now().Add(tokenLifetime)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// compareWrites has 32 writers write to one file and the other in turn, each in a
// transaction of its own: grants, and then records of which only one is written.
func compareWrites(b *testing.B, empty, full *grantFile, subjects []string) {
	for name, write := range map[string]func(g *grantFile, n int) error{
		"grants":  func(g *grantFile, n int) error { return g.writeOne(b, subjects[n%grantors]) },
		"records": func(g *grantFile, _ int) error { return g.writeRecord(b) },
	} {
		var few, many []float64
		for range 5 {
			few = append(few, empty.writes(b, write, 32, 2*time.Second))
			many = append(many, full.writes(b, write, 32, 2*time.Second))
		}
		b.ReportMetric(median(few), name+"/s-empty")
		b.ReportMetric(median(many), name+"/s-million")
		b.ReportMetric(medianRatio(many, few), name+"-ratio")
	}
}

// writes returns how many times a second so many writers bring something to the disk.
func (g *grantFile) writes(b *testing.B, write func(g *grantFile, n int) error, writers int, d time.Duration) float64 {
	var written atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for w := range writers {
		group.Go(func() {
			for n := w; time.Since(begun) < d; n += writers {
				if err := write(g, n); err != nil {
					b.Error(err)
					return
				}
				written.Add(1)
			}
		})
	}
	group.Wait()
	return float64(written.Load()) / time.Since(begun).Seconds()
}

func (g *grantFile) writeOne(b *testing.B, subject string) error {
	return g.store.Update(b.Context(), func(tx storage.Tx) error {
		_, err := g.copyRefreshToken(tx, subject, time.Now().Add(writtenLifetime))
		return err
	})
}

// writeRecord writes a refresh token without its authorization: one record.
func (g *grantFile) writeRecord(b *testing.B) error {
	key, _ := record.HandleKey(g.issuer, record.NewHandle())
	value := map[string]string{"authorization_id": g.code.Authorization.ID}
	return g.store.Update(b.Context(), func(tx storage.Tx) error {
		return record.Put(tx, "refresh_token", key, value, time.Now().Add(writtenLifetime))
	})
}

// sweep has the refresh tokens of the million swept, as if they had expired, while
// somebody else writes.
func (g *grantFile) sweep(b *testing.B, subjects []string) {
	var waits []time.Duration
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			begun := time.Now()
			if err := g.writeOne(b, subjects[n%grantors]); err != nil {
				b.Error(err)
				return
			}
			waits = append(waits, time.Since(begun))
		}
	})
	begun := time.Now()
	swept, err := g.store.Sweep(b.Context(), begun.Add(tokenLifetime+24*time.Hour))
	took := time.Since(begun)
	close(done)
	group.Wait()
	if err != nil || swept < million {
		b.Fatalf("Sweep = %d, %v, want %d or more", swept, err, million)
	}
	slices.Sort(waits)
	b.ReportMetric(took.Seconds(), "sweep-s")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "sweep-writer-p99-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "sweep-writer-max-ms")
}
