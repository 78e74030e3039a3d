package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// BenchmarkUpdate compares one durable write through the group commit with
// bbolt's own two ways, at several degrees of concurrency.
func BenchmarkUpdate(b *testing.B) {
	value := make([]byte, 400)
	for _, goroutines := range []int{1, 32, 128} {
		s := open(b, filepath.Join(b.TempDir(), "oauth.db"))
		b.Run(fmt.Sprintf("group/%d", goroutines), func(b *testing.B) {
			expiry := time.Now().Add(time.Hour)
			spread(b, goroutines, func(i int64) error {
				return s.Update(context.Background(), func(tx storage.Tx) error {
					return tx.Put("code", fmt.Sprintf("%016d", i), value, expiry)
				})
			})
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		bare, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
		if err != nil {
			b.Fatal(err)
		}
		for name, update := range map[string]func(func(*bbolt.Tx) error) error{
			"bbolt.Update": bare.Update, "bbolt.Batch": bare.Batch,
		} {
			b.Run(fmt.Sprintf("%s/%d", name, goroutines), func(b *testing.B) {
				spread(b, goroutines, func(i int64) error {
					return update(func(tx *bbolt.Tx) error {
						bucket, err := tx.CreateBucketIfNotExists([]byte("code"))
						if err != nil {
							return err
						}
						return bucket.Put(fmt.Appendf(nil, "%016d", i), value)
					})
				})
			})
		}
		if err := bare.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// spread shares b.N calls among goroutines.
func spread(b *testing.B, goroutines int, call func(i int64) error) {
	var next atomic.Int64
	done := make(chan error, goroutines)
	b.ResetTimer()
	for range goroutines {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					done <- nil
					return
				}
				if err := call(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range goroutines {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkView(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "oauth.db"))
	defer s.Close()
	err := s.Update(context.Background(), func(tx storage.Tx) error {
		for i := range 10_000 {
			if err := tx.Put("code", fmt.Sprintf("%016d", i), make([]byte, 400), time.Now().Add(time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				key := fmt.Sprintf("%016d", i%10_000)
				err := s.View(context.Background(), func(tx storage.Tx) error {
					_, err := tx.Get("code", key)
					return err
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("List 10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			err := s.View(context.Background(), func(tx storage.Tx) error {
				return tx.List("code", "", func(string, []byte) error { return nil })
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpen is what a start costs with a million refresh tokens, 1 GB, which
// are all looked at.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "oauth.db")
	s := open(b, path)
	const many, together = 1_000_000, 20_000
	expiry := time.Now().Add(time.Hour)
	for i := 0; i < many; i += together {
		err := s.Update(context.Background(), func(tx storage.Tx) error {
			for j := range together {
				spread := uint64(i+j) * 0x9E3779B97F4A7C15 // as hashes are
				if err := tx.Put("refresh_token", fmt.Sprintf("https://issuer.example %x", spread), make([]byte, 432), expiry); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for {
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		if !b.Loop() {
			return
		}
		s = open(b, path)
	}
}
