package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// BenchmarkDurableWrites compares durable writes with those of a file on the same
// disk, through the same contract: 32 writers, each with one record in a
// transaction of its own. The two take turns of two seconds.
func BenchmarkDurableWrites(b *testing.B) {
	const turns, turn = 5, 2 * time.Second
	file, err := bolt.Open(filepath.Join(b.TempDir(), "oauth.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	server := postgrestest.StartDurable(b)
	for _, connections := range []int{10, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s, err := Open(b.Context(), Config{Connection: server.URL(), Connections: connections})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for b.Loop() {
				var here, there, ratios []float64
				for range turns {
					h, t := writes(b, file, turn), writes(b, s, turn)
					here, there, ratios = append(here, h), append(there, t), append(ratios, t/h)
				}
				b.ReportMetric(median(here), "bolt-commits/s")
				b.ReportMetric(median(there), "postgres-commits/s")
				b.ReportMetric(median(ratios), "postgres/bolt")
			}
		})
	}
}

// writes is how many writes a second 32 writers get through.
func writes(b *testing.B, s storage.Storage, during time.Duration) float64 {
	value, expiry := make([]byte, 400), time.Now().Add(time.Hour)
	begun := time.Now()
	var done atomic.Int64
	var writers sync.WaitGroup
	for writer := range 32 {
		writers.Go(func() {
			for time.Since(begun) < during {
				key := fmt.Sprintf("%d %d", time.Now().UnixNano(), writer) // keys grow with time, as the issuer's do
				err := s.Update(context.Background(), func(tx storage.Tx) error { return tx.Put("code", key, value, expiry) })
				if err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	writers.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}

func median(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
